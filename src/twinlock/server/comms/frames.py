"""WebSocket frames (RFC 6455), without I/O: bytes in, events out.

The server's side only: frames of the peer must be masked, ours never are. That makes one encoded frame good for
every subscriber. No extension is ever negotiated, so a reserved bit is an error.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from twinlock.errors import TwinlockError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL_MAX = 125
_MOST_FRAGMENTS = 1000
"""Of a message. Programs that cut messages make pieces of some kilobytes; smaller ones only cost us time."""


class Opcode(IntEnum):
    """The kinds of frames (RFC 6455, section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection ends (RFC 6455, section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    UNSUPPORTED = 1003
    POLICY = 1008
    TOO_BIG = 1009


class FrameError(TwinlockError):
    """The peer broke the framing; the connection ends with `close_code`."""

    code = "comms.frame"
    fault = "peer"

    def __init__(self, close_code: CloseCode, message: str, **numbers: int) -> None:
        super().__init__(message, numbers=numbers)
        self.close_code = close_code


@dataclass(frozen=True, slots=True)
class Event:
    """One complete message (TEXT) or control frame; `data` is unmasked."""

    opcode: Opcode
    data: bytes


def accept_key(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept answer to a Sec-WebSocket-Key (RFC 6455, section 4.2.2).

    >>> accept_key(b"dGhlIHNhbXBsZSBub25jZQ==")
    b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def encode(opcode: Opcode, payload: bytes = b"") -> bytes:
    """One unmasked, unfragmented frame.

    >>> encode(Opcode.TEXT, b"hi").hex()
    '81026869'
    """
    return head(opcode, len(payload)) + payload


def head(opcode: Opcode, size: int) -> bytes:
    """What comes before a payload of so many bytes."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def encode_close(code: CloseCode, reason: str = "") -> bytes:
    """A close frame with its code and a short reason."""
    return encode(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode()[: _CONTROL_MAX - 2])


def unmask(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated 4-byte mask; its own inverse."""
    size = len(data)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


class FrameReader:
    """Cuts the incoming bytes into events.

    limit: the largest message, in bytes, over all its fragments; may be changed at any time. Never holds more
    than one message and one read of bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._fragments: bytearray | None = None
        self._pieces = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes. Raises FrameError; the reader is of no use afterwards."""
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            event = self._assemble(*frame)
            if event is not None:
                yield event

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise FrameError(CloseCode.PROTOCOL, "reserved bits are set")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FrameError(CloseCode.PROTOCOL, f"unknown opcode {first & 0x0F}") from None
        if not second & 0x80:
            raise FrameError(CloseCode.PROTOCOL, "frame of a client is not masked")
        size, head = second & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if len(buffer) < head:
                return None
            size = int.from_bytes(buffer[2:head], "big")
        final = bool(first & 0x80)
        self._check_size(opcode, final, size)
        end = head + 4 + size
        if len(buffer) < end:
            return None
        payload = unmask(bytes(buffer[head + 4 : end]), bytes(buffer[head : head + 4]))
        del buffer[:end]
        return final, opcode, payload

    def _check_size(self, opcode: Opcode, final: bool, size: int) -> None:
        if opcode >= Opcode.CLOSE:
            if size > _CONTROL_MAX or not final:
                raise FrameError(CloseCode.PROTOCOL, "control frame is fragmented or too long")
            return
        total = size + len(self._fragments or b"")
        if total > self.limit:
            raise FrameError(CloseCode.TOO_BIG, f"message above {self.limit} bytes", size=total, limit=self.limit)

    def _assemble(self, final: bool, opcode: Opcode, payload: bytes) -> Event | None:
        if opcode >= Opcode.CLOSE:
            return Event(opcode, payload)
        if opcode is Opcode.BINARY:
            raise FrameError(CloseCode.UNSUPPORTED, "messages are text")
        if (opcode is Opcode.CONTINUATION) != (self._fragments is not None):
            raise FrameError(CloseCode.PROTOCOL, "fragments out of order")
        if final and self._fragments is None:
            return Event(Opcode.TEXT, payload)
        held = self._fragments = bytearray() if self._fragments is None else self._fragments
        held += payload
        self._pieces += 1
        if self._pieces > _MOST_FRAGMENTS:
            raise FrameError(CloseCode.POLICY, f"message in more than {_MOST_FRAGMENTS} pieces", pieces=self._pieces)
        if not final:
            return None
        self._fragments, self._pieces = None, 0
        return Event(Opcode.TEXT, bytes(held))
