"""Session: one object a wallet connection; the seed's ElectrumX. With its table the only room that knows the wire.

All requests of a received chunk are answered in one go and leave in one write; those that ask the node answer
when it does. A session that does not read is not read from either.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable
from typing import Any, cast

import msgspec
import structlog

from twinlock.electrum.errors import FrameError
from twinlock.electrum.framing import LineDecoder, batch_members, decode_request
from twinlock.indexer.costs import Account, Address, address_of
from twinlock.indexer.lines import Large, Line, whole
from twinlock.indexer.methods import (
    EXCESSIVE,
    INVALID_REQUEST,
    PARSE_ERROR,
    RpcError,
    Version,
)
from twinlock.indexer.outbox import Outbox
from twinlock.indexer.responder import LATE, Responder
from twinlock.indexer.shared import Shared
from twinlock.indexer.subscriptions import Subscriptions

log = structlog.get_logger("indexer.sessions")
_TURN_SECONDS = 0.005
"""How long one session is answered before others have their turn."""

_TURN_BYTES = 1 << 18
"""How much is said in one go before it is looked whether the other side reads."""

_UNREAD = 4
"""So many times the largest answer may wait for a session that does not read; then it is ended."""

_MOST_OWED = 5.0
"""How much may be owed before it is charged without an answer."""

_COPIES = 2
"""How often a request is in memory while it is answered: as it came, and as the node is asked."""


class Session(asyncio.Protocol):
    """One wallet's connection. `cost` is what it has used up lately; `group` is the network that it comes from."""

    def __init__(self, shared: Shared, number: int) -> None:
        self.shared = shared
        self.number = number
        self.env, self.view, self.daemon = shared.env, shared.view, shared.daemon
        self.version: Version = ()
        self.client_name = ""
        self.group = ""
        self.address: Address | None = None
        self.account: Account | None = None
        self.logged = False
        self.last_heard = self.started = shared.clock.monotonic()
        self.stuck_since: float | None = None
        self.requests = self.received = 0
        self.owed = 0.0  # costs since the last charge
        self._responder = Responder(self)
        self._lines = LineDecoder(self.env.max_recv)
        self._transport: asyncio.Transport | None = None
        self.subscriptions = Subscriptions(self, shared.watchers)
        self._waiting: deque[bytes] = deque()
        self._out = Outbox(self.env.max_send)
        self._pending = self._unheard = 0  # bytes of requests that are being answered, and with those that wait
        self._gathered = 0  # bytes of answers that wait for others of their batch
        self._closing = False
        self._slowed = False
        self._reading = True
        self._free = asyncio.Event()
        self._allowed = self.env.initial_concurrent
        self._unpaid = 0  # bytes received since the last charge
        self._asked: dict[asyncio.Task[None], tuple[float, int]] = {}  # answers that are awaited; since when, bytes
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._out.open(self._transport)
        group = self.shared.group_of(peer)
        self.group = group.name
        self.address = address_of(peer)
        if len(self.shared.sessions) < self.env.max_sessions and self.shared.bans.allows(self.address):
            self.account = self.shared.costs.open(group)
        if self.account is None:
            self.abort()
            return
        self.shared.sessions.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self.shared.sessions.discard(self)
        self.shared.header_sessions.discard(self)
        if self.account:
            self.shared.costs.close(self.account)
        self.subscriptions.end()
        for task in (*self._tasks, *self._asked):
            task.cancel()
        self.shared.unread.note(self, 0)
        self.shared.unheard.note(self, 0)
        # What refers to itself in a circle is not forgotten at once; what is large in it has to be.
        self._lines = LineDecoder(0)
        self._waiting.clear()
        self._out.close()

    def data_received(self, data: bytes) -> None:
        self.last_heard = self.shared.clock.monotonic()
        self.received += len(data)
        self._unpaid += len(data)
        try:
            self._waiting += self._lines.feed(data)
        except FrameError as error:
            self._out.say(self._responder.error(None, INVALID_REQUEST, str(error)))
            self._closing = True
        self.resume()

    @property
    def _blocked(self) -> bool:
        """Whether nothing may be answered now."""
        shared = self.shared
        return self._slowed or self.stuck_since is not None or (shared.held and not shared.refusing)

    def resume(self) -> None:
        """Answer what waits, but not for long in one go: others wait too."""
        end = self.shared.clock.monotonic() + _TURN_SECONDS
        if not self._blocked:
            self._free.set()
        while self._waiting and not (self._blocked or self._closing) and len(self._asked) < self._allowed:
            self._line(self._waiting.popleft())
            if self.owed > _MOST_OWED:
                self._pay()
            if self._out.waiting > _TURN_BYTES:
                self.flush()
            if self._waiting and self.shared.clock.monotonic() > end:
                asyncio.get_running_loop().call_soon(self.resume)
                break
        self.flush()
        self._read(not self._waiting and not self._slowed and self.stuck_since is None)
        unheard = self._lines.held + self._pending + sum(map(len, self._waiting))
        if unheard != self._unheard:
            self._unheard = unheard
            self.shared.unheard.note(self, unheard)

    def _pay(self) -> None:
        """Charge what refused requests cost; those that are answered are charged with their answers."""
        try:
            self.charge(0)
        except RpcError as error:
            self._out.say(self._responder.refusal(None, error))

    def pause_writing(self) -> None:
        self.stuck_since = self.shared.clock.monotonic()
        self._read(False)

    def resume_writing(self) -> None:
        self.stuck_since = None
        self.shared.unread.note(self, self.unread)
        self.resume()
        self.shared.large.go_on()

    @property
    def unread(self) -> int:
        """Bytes of answers that it has not read, and of those that wait for others of their batch."""
        return self._gathered + self._out.unread

    def _read(self, wanted: bool) -> None:
        """Read from the other side, or let it wait."""
        if self._transport and wanted != self._reading and not self._closing:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    @property
    def cost(self) -> float:
        """What it has to bear now, of its own and of its group's."""
        return self.shared.costs.total(self.account) if self.account else 0.0

    def summary(self) -> dict[str, Any]:
        """What the operator sees of it."""
        return {
            "id": self.number,
            "client": self.client_name,
            "protocol": ".".join(map(str, self.version)),
            "group": self.group,
            "cost": round(self.cost, 1),
            "requests": self.requests,
            "subscriptions": len(self.subscriptions),
            "received": self.received,
            "sent": self._out.sent,
            "seconds": round(self.shared.clock.monotonic() - self.started),
        }

    def charge(self, cost: float) -> None:
        """Charge its account: above the soft limit it is answered slowly, at the hard one not at all any more.

        Raises RpcError when it has to go.
        """
        if self.account is None or not self.env.limits_cost:
            return
        cost += self.owed + self._unpaid / self.env.bandwidth_unit_cost
        self.owed, self._unpaid = 0.0, 0
        burden = self.shared.costs.charge(self.account, cost)
        if burden >= 1:
            self._closing = True
            raise RpcError(EXCESSIVE, "excessive resource usage")
        self._allowed = max(1, math.ceil(self.env.initial_concurrent * (1 - burden)))
        if burden and not self._slowed:
            self._slowed = True
            self.spawn(self._rest(burden * self.env.request_sleep_ms / 1000))

    async def _rest(self, seconds: float) -> None:
        await self.shared.clock.sleep(seconds)
        self._slowed = False
        self.resume()

    def give_up_late(self) -> None:
        """Give up requests that have waited too long for their answer."""
        latest = self.shared.clock.monotonic() - self.env.request_timeout
        for task, (since, _) in self._asked.items():
            if since < latest:
                task.cancel(LATE)

    def follow_headers(self, wanted: bool) -> bool:
        """Tell it of new blocks, or no more; whether it was told before."""
        listening = self.shared.header_sessions
        known = self in listening
        listening.add(self) if wanted else listening.discard(self)
        return known

    def close_after_reply(self) -> None:
        """End the connection once what was said is sent."""
        self._closing = True

    def abort(self) -> None:
        """End the connection now."""
        if self._transport:
            self._transport.abort()

    def flush(self) -> None:
        """Send everything that was said, in one go."""
        if self._transport is None:
            return
        if self._out.flush() and (unread := self.unread):
            self.shared.unread.note(self, unread)
            if unread > _UNREAD * self.env.max_send:
                log.info("ended one who does not read", session=self.number)
                self.abort()
                return
        if self._closing:
            self._transport.close()

    # -- requests

    def _line(self, line: bytes) -> None:
        self._responder.heard(line)
        try:
            members = batch_members(line)
            request = decode_request(line) if members is None else None
        except FrameError as error:
            number = PARSE_ERROR if error.__cause__ else INVALID_REQUEST
            self._out.say(self._responder.error(None, number, str(error)))
            return
        if request is None:
            self._ask(self._batch(members or []), len(line))
            return
        reply = self._responder.answer(request)
        if isinstance(reply, bytes | Large):
            self._out.say(reply)
        elif reply is not None:
            self._ask(self._later(reply), len(line))

    async def _later(self, reply: Awaitable[Line]) -> None:
        self._out.say(await reply)
        self.flush()

    async def _batch(self, members: list[msgspec.Raw]) -> None:
        """Answer a batch in turns, like single requests. All its answers together may be as large as one."""
        replies: list[bytes] = []
        gathered = 0
        try:
            end = self.shared.clock.monotonic() + _TURN_SECONDS
            for member in members:
                while self._blocked:
                    self._free.clear()
                    await self._free.wait()
                if self._closing:
                    break
                reply = self._responder.member(member, gathered > self.env.max_send)
                if reply is not None:
                    replies.append(whole(reply if isinstance(reply, bytes | Large) else await reply))
                    gathered += len(replies[-1])
                    self._gather(len(replies[-1]))
                if self.shared.clock.monotonic() > end:
                    await asyncio.sleep(0)
                    end = self.shared.clock.monotonic() + _TURN_SECONDS
            if replies:
                self._out.say(b"[" + b",".join(replies) + b"]\n")
        finally:
            self._gather(-gathered)
        self.flush()

    def _gather(self, size: int) -> None:
        """So much more (less) is kept for answers of batches that are not complete."""
        self._gathered += size
        self.shared.unread.note(self, self.unread)

    def _ask(self, work: Any, size: int) -> None:
        """Let the answer to a request of so many bytes come later; while as many as allowed do, no further request is
        looked at."""
        task = asyncio.get_running_loop().create_task(work)
        size *= _COPIES
        self._pending += size
        self._asked[task] = self.shared.clock.monotonic(), size
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        _, size = self._asked.pop(task)
        self._pending -= size
        if not task.cancelled() and (error := task.exception()):
            log.error("request failed", error=repr(error))
        if self._transport:
            self.resume()

    def spawn(self, work: Any) -> None:
        """Do something as long as the session lasts."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- news

    def tell_line(self, line: bytes) -> None:
        """Say a notification; `flush` sends it."""
        if self._transport and not self._closing:
            self._out.say(line)
