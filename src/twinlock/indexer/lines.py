"""The lines that a session says: results, errors and refusals as JSON-RPC of both versions, and their padding. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.errors import TwinlockError
from twinlock.indexer.daemon import DaemonError, DaemonGoneError
from twinlock.indexer.methods import DAEMON_ERROR, INTERNAL_ERROR, RpcError

_encode = msgspec.json.Encoder().encode
_RESULT, _ERROR = b'{"jsonrpc":"2.0","result":%b,"id":%b}\n', b'{"jsonrpc":"2.0","error":%b,"id":%b}\n'
_RESULT_1, _ERROR_1 = b'{"result":%b,"error":null,"id":%b}\n', b'{"result":null,"error":%b,"id":%b}\n'
_HERE = b"\0"

LARGE_BODY = 1 << 16
"""Bytes of a result from which on it is not copied any more."""

_UNPADDED, _LEAST_PADDED = 1024, 1024
"""Bytes of a session that are not padded, and the smallest size of a packet after them."""


class Large(tuple[bytes | memoryview, ...]):
    """A line in pieces."""

    __slots__ = ()


Line = bytes | Large
"""A line, complete or in pieces."""


def body_of(result: Any) -> bytes | memoryview:
    """A result as JSON; what is JSON already is not copied."""
    return memoryview(result) if isinstance(result, msgspec.Raw) else _encode(result)


def result_line(modern: bool | None, body: bytes | memoryview, request_id: Any) -> Line:
    """The answer with that result. modern: JSON-RPC 2.0."""
    shape = _RESULT if modern else _RESULT_1
    if len(body) < LARGE_BODY:
        return shape % (body, _encode(request_id))
    head, _, tail = (shape % (_HERE, _encode(request_id))).partition(_HERE)
    return Large((head, body, tail))


def error_line(modern: bool | None, number: int, message: str, request_id: Any) -> bytes:
    """The answer with that error; in JSON-RPC 2.0 also where it is not known what the other side speaks."""
    body = _encode({"code": number, "message": message})
    return (_ERROR if modern is not False else _ERROR_1) % (body, _encode(request_id))


def told(error: TwinlockError) -> tuple[int, str]:
    """(number, message) of what the other side is told of an error."""
    if isinstance(error, RpcError):
        return error.number, str(error)
    if isinstance(error, DaemonError):
        refused = {"code": error.number, "message": str(error)}
        return DAEMON_ERROR, f"daemon error: DaemonError({refused})"
    if isinstance(error, DaemonGoneError):
        return DAEMON_ERROR, f"daemon error: {error}"
    return INTERNAL_ERROR, str(error)


def whole(line: Line) -> bytes:
    """The line in one piece, without its end."""
    return (line if isinstance(line, bytes) else b"".join(line)).rstrip(b"\n")


def padded(packet: bytes, before: int, most: int) -> bytes:
    """A packet of whole lines with spaces in its last one, so that its size is a power of two: whoever looks at an
    encrypted connection could tell answers by their sizes. before: bytes sent earlier. most: bytes of a packet.

    >>> packet = b'{"id":1,"result":null}\\n'
    >>> len(padded(packet, 2000, 9000)), padded(packet, 2000, 9000)[-3:], padded(packet, 0, 9000) == packet
    (1024, b' }\\n', True)
    """
    size = min(most, max(_LEAST_PADDED, 1 << (len(packet) - 1).bit_length()))
    if before < _UNPADDED or size <= len(packet):
        return packet
    return b"%b%b%b" % (packet[:-2], b" " * (size - len(packet)), packet[-2:])
