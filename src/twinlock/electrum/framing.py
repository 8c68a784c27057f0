r"""The Electrum wire, bytes to messages and back: one JSON-RPC value per line. No input or output happens here.

Reading is in two steps, so that every limit is checked before the work that it limits: `LineDecoder` cuts a
stream into lines and never holds more than its limit; `decode_replies` and `decode_requests` turn one line into
messages whose payloads are still raw JSON, which the caller then decodes into the type that it expects.

>>> decoder = LineDecoder(limit=100)
>>> decoder.feed(b'{"id":1,"result"')
[]
>>> decoder.feed(b':null}\r\n\n{"id":2')
[b'{"id":1,"result":null}']
>>> [reply.id for reply in decode_replies(b'{"jsonrpc":"2.0","id":1,"result":null}')]
[1]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from .errors import FrameError

REPLY_LIMIT = 1 << 24
"""Bytes of one line that a client reads. Servers send at most 8,100,000 (the custom's default), some pad each
reply with spaces to the next power of two, and AuxPoW chains allow 10,000,000: 2^24 = 16,777,216 holds them all."""

REQUEST_LIMIT = 1_000_000
"""Bytes of one line that a server reads: a transaction of 400,000 weight units has at most 400,000 bytes, 800,000
hex digits, and the rest of its request is shorter than 200,000 bytes."""

BATCH_LIMIT = 345
"""Members of one batch. The strictest public servers refuse more than this."""


_ENTRY_BYTES = 64
"""An object in a reply's result is an entry with a transaction's ID, so longer than this, or one of a few a member."""


class LineDecoder:
    """Cuts a byte stream into lines; `\\n` and `\\r\\n` end one, empty lines are skipped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0

    @property
    def held(self) -> int:
        """Bytes of the line that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends. Raises FrameError for one longer than the limit."""
        self._buffer += data
        lines: list[bytes] = []
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._scanned))) >= 0:
            self._check(end - start)
            if line := bytes(self._buffer[start:end].rstrip(b"\r")):
                lines.append(line)
            start = end + 1
        del self._buffer[:start]
        self._scanned = len(self._buffer)
        self._check(len(self._buffer))
        return lines

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise _too_large("a line", size, self._limit)


class ErrorBody(msgspec.Struct, frozen=True):
    """The `error` member of a reply."""

    code: int = -32603
    message: str = ""


class Reply(msgspec.Struct, frozen=True):
    """A server's answer to the request of the same id: `result` is raw JSON unless `error` is set."""

    id: int | str | None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorBody | None = None


class Note(msgspec.Struct, frozen=True):
    """A server's notification. `params` is raw JSON of a list."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"[]")


Id = int | float | str | bool | None
"""What a client calls its request: any scalar."""


class Request(msgspec.Struct, frozen=True):
    """A client's request; one whose id is UNSET is a notification and gets no reply."""

    method: str
    params: list[Any] | dict[str, Any] = []
    id: Id | msgspec.UnsetType = msgspec.UNSET


class _Named(msgspec.Struct):
    id: Id = None


BROKEN = ""
"""The method of what is JSON, but no request; its id is there, where it has one."""


class _Wire(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"[]")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorBody | str | None = None


_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

_encoder = msgspec.json.Encoder()
_wire = msgspec.json.Decoder(_Wire)
_wires = msgspec.json.Decoder(Annotated[list[_Wire], msgspec.Meta(max_length=BATCH_LIMIT)])
_request = msgspec.json.Decoder(Request)
_named = msgspec.json.Decoder(_Named)
_raws = msgspec.json.Decoder(list[msgspec.Raw])


def encode_request(request_id: int, method: str, params: Sequence[object]) -> bytes:
    """One request as a line."""
    return _encoder.encode(_call(request_id, method, params)) + b"\n"


def encode_batch(requests: Sequence[tuple[int, str, Sequence[object]]]) -> bytes:
    """Several requests, each (id, method, params), as one batch line. At most `BATCH_LIMIT` of them."""
    return _encoder.encode([_call(*request) for request in requests]) + b"\n"


def encode_reply(request_id: Id, result: object) -> bytes:
    """A successful reply as a line."""
    return _encoder.encode({"jsonrpc": "2.0", "id": request_id, "result": result}) + b"\n"


def encode_error(request_id: Id, code: int, message: str) -> bytes:
    """A failed reply as a line."""
    error = {"code": code, "message": message}
    return _encoder.encode({"jsonrpc": "2.0", "id": request_id, "error": error}) + b"\n"


def encode_note(method: str, params: Sequence[object]) -> bytes:
    """A notification as a line."""
    return _encoder.encode({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"


def decode_replies(line: bytes) -> list[Reply | Note]:
    """What a server's line holds: one reply or notification, or the members of a batch.

    Raises FrameError, also for more members than any batch of ours has.
    """
    batch = line.lstrip()[:1] == b"["
    # Counted before they are parsed: a line of the allowed size could hold millions of empty ones.
    if batch and (objects := line.count(b"{")) > 4 * BATCH_LIMIT + len(line) // _ENTRY_BYTES:
        raise _too_large("a batch", objects, BATCH_LIMIT)
    try:
        wires = _wires.decode(line) if batch else [_wire.decode(line)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FrameError(f"not a JSON-RPC message: {error}") from error
    return [_reply_or_note(wire) for wire in wires]


def decode_requests(line: bytes, limit: int = BATCH_LIMIT) -> tuple[list[Request], bool]:
    """The requests of a client's line, and whether they came as a batch. Raises FrameError.

    The number of members is checked before any of them is looked into. What is no request stands in the list as one
    whose method is `BROKEN`: the client learns which one it was, and it does not take others with it.
    """
    members = batch_members(line, limit)
    return ([decode_request(line)], False) if members is None else ([decode_request(raw) for raw in members], True)


def batch_members(line: bytes, limit: int = BATCH_LIMIT) -> list[msgspec.Raw] | None:
    """The members of a client's batch, not yet looked into, for `decode_request`; None for a line that is no batch.

    Decoded, a request may take many times its bytes: who answers one after the other holds one at a time. Raises
    FrameError.
    """
    if line.lstrip()[:1] != b"[":
        return None
    try:
        members = _raws.decode(line)
    except _UNREADABLE as error:
        raise FrameError(f"not a JSON-RPC request: {error}") from error
    if not 0 < len(members) <= limit:
        raise _too_large("a batch", len(members), limit)
    return members


def decode_request(raw: bytes | msgspec.Raw) -> Request:
    """One request. Raises FrameError for what is not JSON."""
    try:
        try:
            return _request.decode(raw)
        except msgspec.ValidationError:
            return Request(BROKEN, id=_named.decode(raw).id)
    except msgspec.ValidationError:
        return Request(BROKEN, id=None)
    except _UNREADABLE as error:
        raise FrameError(f"not a JSON-RPC request: {error}") from error


def _too_large(what: str, size: int, limit: int) -> FrameError:
    return FrameError(f"{what} of {size}, the limit is 1 to {limit}", numbers={"size": size, "limit": limit})


def _call(request_id: int, method: str, params: Sequence[object]) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def _reply_or_note(wire: _Wire) -> Reply | Note:
    if wire.method is not None:
        return Note(wire.method, wire.params)
    error = ErrorBody(message=wire.error) if isinstance(wire.error, str) else wire.error
    return Reply(wire.id, wire.result, error)
