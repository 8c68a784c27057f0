"""The envelope around every message, one JSON object per WebSocket text frame (protocol section 1.4).

>>> frame = request(7, "config")
>>> frame
b'{"type":1,"route":"config","id":7,"payload":null,"sig":""}'
>>> decode_frame(frame).route
'config'
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

import msgspec

from twinlock.protocol import wire
from twinlock.protocol.codes import ErrorCode, RpcError

T = TypeVar("T")


class MessageType(IntEnum):
    """What an envelope carries."""

    REQUEST = 1
    RESPONSE = 2
    NOTIFICATION = 3


class Message(msgspec.Struct, frozen=True):
    """A decoded envelope. `payload` is the undecoded JSON, b"" when absent; `id` is 0 in notifications."""

    type: MessageType
    route: str
    id: int
    payload: bytes


class WireError(wire.Payload, kw_only=True, frozen=True):
    """The error member of a response. `code` is usually an `ErrorCode`."""

    code: wire.I64
    message: str


class FrameError(RpcError):
    """A frame that cannot be dispatched. Answer it with an error response bearing `reply_id`."""

    def __init__(self, rpc_code: ErrorCode, message: str, reply_id: int = 1) -> None:
        super().__init__(rpc_code, message, fix="Send a message as the protocol's envelope describes it.")
        self.reply_id = reply_id


class _Envelope(wire.Payload, frozen=True):
    type: int = 0
    route: str = ""
    id: wire.WIDE = 0
    payload: msgspec.Raw = msgspec.Raw(b"")
    sig: msgspec.Raw = msgspec.Raw(b"")
    """Always there, and used by no route."""


class _Outcome(wire.Payload, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: WireError | None = None


_TYPES = {int(kind): kind for kind in MessageType}


def decode_frame(frame: bytes | str) -> Message:
    """Parse one frame.

    Raises `FrameError`: code 1 (answered with id 1) for bytes that are not an envelope and for requests and
    responses without an id, code 46 for an unknown type.
    """
    try:
        envelope = wire.decode(frame, _Envelope)
    except wire.DecodeError as error:
        raise FrameError(ErrorCode.PARSE, f"not a message: {error}") from None
    if envelope.id > wire.U64_MAX:
        raise FrameError(ErrorCode.PARSE, "not a message: the id does not fit 64 bits")
    kind = _TYPES.get(envelope.type)
    if kind is None:
        raise FrameError(ErrorCode.UNKNOWN_MESSAGE_TYPE, f"unknown message type {envelope.type}", envelope.id or 1)
    if envelope.id == 0 and kind is not MessageType.NOTIFICATION:
        raise FrameError(ErrorCode.PARSE, "the id of a request or response must not be 0")
    return Message(kind, envelope.route, envelope.id, bytes(envelope.payload))


def decode_payload(payload: bytes, kind: type[T]) -> T:
    """Parse the payload of a request or notification. Raises `RpcError` with code 1."""
    try:
        return wire.decode(payload or b"null", kind)
    except wire.DecodeError as error:
        raise RpcError(ErrorCode.PARSE, f"bad payload: {error}", fix=error.fix) from None


def decode_result(payload: bytes, kind: type[T]) -> T:
    """Parse the payload of a response into its result.

    Raises `RpcError`: the peer's own code if it answered an error, code 1 if the payload is null or not of the
    expected type.
    """
    outcome = decode_payload(payload, _Outcome)
    if outcome.error is not None:
        raise RpcError(outcome.error.code, outcome.error.message)
    return decode_payload(bytes(outcome.result), kind)


def request(id_: int, route: str, payload: object = None) -> bytes:
    """The frame of a request; `payload` None is sent as null."""
    return b'{"type":1,"route":%b,"id":%d,"payload":%b,"sig":""}' % (wire.encode(route), id_, wire.encode(payload))


def response(id_: int, result: object) -> bytes:
    """The frame of a success."""
    before, after = around_result(id_)
    return b"%b%b%b" % (before, wire.encode(result), after)


def around_result(id_: int) -> tuple[bytes, bytes]:
    """What stands before and after the result in the frame of a success."""
    return b'{"type":2,"id":%d,"payload":{"result":' % id_, b'},"sig":""}'


def error_response(id_: int, error: RpcError) -> bytes:
    """The frame of a refusal. Only the code and the message travel."""
    body = wire.encode(WireError(code=int(error.rpc_code), message=str(error)))
    return b'{"type":2,"id":%d,"payload":{"result":null,"error":%b},"sig":""}' % (id_, body)


def notification(route: str, payload: object) -> bytes:
    """The frame of a notification."""
    return b'{"type":3,"route":%b,"payload":%b,"sig":""}' % (wire.encode(route), wire.encode(payload))
