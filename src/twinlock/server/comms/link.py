"""One WebSocket connection: frames in order, deadlines, and an outgoing queue that cannot grow without bound.

Whoever does not read is not answered: while bytes wait for a peer, its next request does too; what it answers to us is
taken at once. A long frame, such as the snapshot of a big book, is the same bytes for all who wait for it, and is
handed to the transport in portions.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Protocol, cast

from twinlock.protocol.constants import PING_MS, PONG_WAIT_MS, READ_DEADLINE_MS
from twinlock.protocol.limits import MAX_FRAME, MAX_FRAME_BEFORE_CONNECT, MAX_SEND_QUEUE
from twinlock.seams import Clock
from twinlock.server.comms.frames import CloseCode, Event, FrameError, FrameReader, Opcode, encode, encode_close
from twinlock.server.comms.meters import PeerMeter

# A little under the protocol's 18 s: a client drops a link that shows it nothing for 20 s.
PING_PERIOD_S = PING_MS / 1000 - 2
PONG_WAIT_S = PONG_WAIT_MS / 1000
READ_WAIT_S = READ_DEADLINE_MS / 1000
WRITE_WAIT_S = 5.0
LONG_WAIT_S = 30.0
"""How long a peer may take to read a long frame."""
MAX_SEND_BYTES = 4 * 2**20
"""Bytes of a link's own that may wait when more is sent to it: an answer, or what we ask it."""
PORTION = 2**16
"""Bytes that a transport is given at a time of a long frame; it copies what it cannot send at once."""
# Messages read but not yet handled; above it we stop reading, and TCP makes the peer wait.
INBOX_HIGH, INBOX_LOW = 64, 16

_PING = encode(Opcode.PING)
_numbers = itertools.count(1)


class LinkOwner(Protocol):
    """Who handles the messages of a link (the hub)."""

    async def handle(self, link: Link, data: bytes) -> None:
        """Handle one message; never raises."""
        ...

    def settles(self, link: Link, data: bytes, /) -> bool:
        """Take a message that answers what the link was asked; False for any other, which is left alone."""
        ...

    def opened(self, link: Link) -> None: ...

    def closed(self, link: Link) -> None: ...


class Leavable(Protocol):
    """Anything that a link must leave when it closes."""

    def discard(self, link: Link) -> None: ...


class Link(asyncio.Protocol):
    """A connected peer.

    address: the peer's IP address. account: its account ID once `connect` succeeded, else None.
    """

    def __init__(self, owner: LinkOwner, address: str, clock: Clock) -> None:
        self.number = next(_numbers)
        self.address = address
        self.account: bytes | None = None
        self.strikes = 0
        self.meter = PeerMeter()
        self.is_open = False
        self.memberships: set[Leavable] = set()
        self.owner = owner
        self._clock = clock
        self._reader = FrameReader(MAX_FRAME_BEFORE_CONNECT)
        self._transport: asyncio.Transport | None = None
        self._inbox: deque[bytes] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._outbox: deque[bytes | memoryview] = deque()
        self._held = 0
        self._long_since: float | None = None
        self._flush_due = False
        self._paused_since: float | None = None
        self._reading = True
        now = clock.monotonic()
        self.last_tick = now
        self._deadline = now + READ_WAIT_S
        self._next_ping = now + PING_PERIOD_S

    def authenticate(self, account: bytes) -> None:
        """The link now speaks for an account and may send larger frames."""
        self.account = account
        self._reader.limit = MAX_FRAME

    def send_frame(self, frame: bytes) -> None:
        """Queue one encoded frame. Several frames of one turn of the loop become one write."""
        if self._held > MAX_SEND_BYTES:
            self.abort()
        self.queue(frame)
        self._held += len(frame)
        self._flush_soon()

    def send_long(self, pieces: Iterable[bytes]) -> None:
        """Queue one encoded frame in pieces, which others may share: none is copied before the peer reads."""
        for piece in pieces:
            self.queue(piece)
        if self.is_open and self._long_since is None:
            self._long_since = self._clock.monotonic()
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self.is_open and not self._flush_due and self._paused_since is None:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def queue(self, frame: bytes) -> None:
        """Queue one encoded frame for whoever flushes next; frames leave in the order in which they were queued."""
        if self.is_open:
            self._outbox.append(frame)
            if len(self._outbox) >= MAX_SEND_QUEUE:
                self.abort()

    def flush(self) -> None:
        """Write what is queued, unless the peer has yet to read what was written."""
        self._flush_due = False
        if self._paused_since is None and self.is_open:
            self._write_queued()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Say goodbye and close once what was queued is out; who is amid a long frame would not hear it in time."""
        if self._long_since is not None:
            self.abort()
        if not self.is_open or self._transport is None:
            return
        self._outbox.append(encode_close(code, reason))
        self._write_all()
        self._lost()
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection; what was queued is lost."""
        if self._transport is not None:
            self._lost()
            self._transport.abort()

    def tick(self, now: float) -> None:
        """Ping, and cut the peers that are silent or do not read. Called about once a second."""
        self.last_tick = now
        if now >= self._deadline:
            self.close(CloseCode.GOING_AWAY, "no sign of life")
        elif self._slow(now):
            self.abort()
        elif now >= self._next_ping:
            # Never a payload: the Go client answers every ping with an empty pong (section 12, trap 13).
            self._next_ping = now + PING_PERIOD_S
            self.send_frame(_PING)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything that asyncio.Transport does, but do not descend from it.
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True
        self.owner.opened(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._lost()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._paused_since = self._clock.monotonic()

    def resume_writing(self) -> None:
        self._paused_since = None
        self._write_queued()

    def data_received(self, data: bytes) -> None:
        if not self.is_open:
            return
        try:
            for event in self._reader.feed(data):
                self._take(event)
        except FrameError as error:
            self.close(error.close_code, str(error))

    def _take(self, event: Event) -> None:
        match event.opcode:
            case Opcode.TEXT if self._behind and self.owner.settles(self, event.data):
                pass
            case Opcode.TEXT:
                self._inbox.append(event.data)
                self._throttle()
                self._start_pump()
            case Opcode.PING:
                self.send_frame(encode(Opcode.PONG, event.data))
            case Opcode.PONG:
                self._deadline = self._clock.monotonic() + PONG_WAIT_S
            case Opcode.CLOSE:
                self.close(CloseCode.NORMAL)

    def _start_pump(self) -> None:
        if self._pump is None and self._inbox and not self._behind:
            self._pump = asyncio.get_running_loop().create_task(self._handle_inbox())

    async def _handle_inbox(self) -> None:
        """Handle what was read, strictly in order, then end: an idle link has no task, nor has one that is behind."""
        while self._inbox and self.is_open and not self._behind:
            await self.owner.handle(self, self._inbox.popleft())
            self._deadline = self._clock.monotonic() + READ_WAIT_S
            self._throttle()
        if self._inbox:
            self._inbox = deque(data for data in self._inbox if not self.owner.settles(self, data))
        self._pump = None

    def _throttle(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._reading and len(self._inbox) >= INBOX_HIGH:
            self._reading = False
            self._transport.pause_reading()
        elif not self._reading and len(self._inbox) <= INBOX_LOW:
            self._reading = True
            self._transport.resume_reading()

    @property
    def _behind(self) -> bool:
        """Whether the peer has much to read before it is answered again."""
        return self._paused_since is not None or self._long_since is not None or self._held > PORTION

    def _slow(self, now: float) -> bool:
        paused, long = self._paused_since, self._long_since
        return (paused is not None and now - paused > WRITE_WAIT_S) or (long is not None and now - long > LONG_WAIT_S)

    def _write_queued(self) -> None:
        """All that is queued; of what holds a long frame as much as the peer reads."""
        transport = self._transport
        while self._long_since is not None and self._paused_since is None:
            if transport is None or transport.is_closing():
                return
            transport.write(self._portion())
        if self._paused_since is None:
            self._write_all()
            self._start_pump()

    def _write_all(self) -> None:
        if self._outbox and self._transport is not None:
            data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
            self._outbox.clear()
            self._held = 0
            self._transport.write(data)

    def _portion(self) -> bytes:
        """The next bytes of what is queued. With the last of them there is no long frame any more."""
        portion = bytearray()
        while self._outbox and len(portion) < PORTION:
            piece, room = self._outbox.popleft(), PORTION - len(portion)
            portion += piece[:room]
            if len(piece) > room:
                self._outbox.appendleft(memoryview(piece)[room:])
        if not self._outbox:
            self._long_since, self._held = None, 0
        return bytes(portion)

    def _lost(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self._outbox.clear()
        self._held, self._long_since = 0, None
        self._inbox.clear()
        for membership in tuple(self.memberships):
            membership.discard(self)
        self.owner.closed(self)
