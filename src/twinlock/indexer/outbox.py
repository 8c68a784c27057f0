"""Outbox: what a session says. Gathered, padded where it is encrypted, and written in one go."""

from __future__ import annotations

import asyncio

from twinlock.indexer.lines import LARGE_BODY, Line, padded


class Outbox:
    """waiting: bytes that were said and not sent. sent: bytes so far. max_send: bytes of a packet, if it is padded."""

    def __init__(self, max_send: int) -> None:
        self.waiting = self.sent = 0
        self._lines: list[bytes | memoryview] = []
        self._max_send = max_send
        self._transport: asyncio.Transport | None = None
        self._padding = False

    def open(self, transport: asyncio.Transport) -> None:
        """Write there from now on."""
        self._transport = transport
        self._padding = transport.get_extra_info("sslcontext") is not None

    def close(self) -> None:
        """Write nothing any more."""
        self._transport = None
        self._lines.clear()

    def say(self, line: Line) -> None:
        """Put a line in."""
        if isinstance(line, bytes):
            self._lines.append(line)
            self.waiting += len(line)
        else:
            self._lines += line
            self.waiting += sum(map(len, line))

    def flush(self) -> bool:
        """Send everything; whether there was anything."""
        if self._transport is None or not self._lines:
            return False
        if self.waiting < LARGE_BODY or self._padding:
            data = b"".join(self._lines)
            if self._padding:
                data = padded(data, self.sent, self._max_send)
            self.sent += len(data)
            self._transport.write(data)
        else:
            self.sent += self.waiting
            self._transport.writelines(self._lines)
        self._lines = []
        self.waiting = 0
        return True

    @property
    def unread(self) -> int:
        """Bytes that were sent and not taken by the other side."""
        return self._transport.get_write_buffer_size() if self._transport else 0
