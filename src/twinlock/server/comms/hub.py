"""The hub: every message of every link passes here, on its way to the handler of its route or to whoever waits for it.

Components register handlers (`serve`), ask clients (`request`) and tell them (`send`, `tell_everyone`, channels).
Refusals are `RpcError`s raised by handlers; the hub turns them into error responses.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import structlog

from twinlock.protocol import envelope
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.envelope import Message, MessageType
from twinlock.protocol.limits import MAX_CLIENTS, MAX_CONNECTIONS_PER_IP, QUARANTINE_MS, Meter
from twinlock.protocol.routes import Route
from twinlock.seams import Clock
from twinlock.server.comms.addresses import is_loopback
from twinlock.server.comms.frames import CloseCode
from twinlock.server.comms.link import Link
from twinlock.server.comms.meters import Meters
from twinlock.server.comms.outgoing import Spliced, answer, complain, notification_frame
from twinlock.server.comms.questions import Asked, Questions

P = TypeVar("P")
R = TypeVar("R")

# Malformed messages on one link before its address is quarantined.
_STRIKES_MAX = 100
_TICK_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Call(Generic[P]):
    """One request of a client.

    account: the account ID that the link speaks for, or b"" before `connect`.
    after: run in order once the answer is queued.
    """

    link: Link
    payload: P
    account: bytes = b""
    after: list[Callable[[], None]] = field(default_factory=list)


Handler = Callable[[Call[P]], Awaitable[R | Spliced]]


@dataclass(frozen=True, slots=True)
class _Served:
    route: Route[Any, Any]
    handler: Handler[Any, Any]
    waits: bool


class Hub:
    """The client messaging and communication hub. Run `run` as a task beside it."""

    def __init__(
        self, clock: Clock, max_clients: int = MAX_CLIENTS, max_per_address: int = MAX_CONNECTIONS_PER_IP
    ) -> None:
        self._clock = clock
        self.max_clients = max_clients
        self._max_per_address = max_per_address
        self._served: dict[str, _Served] = {}
        self._links: dict[Link, None] = {}
        self._accounts: dict[bytes, Link] = {}
        self._per_address: Counter[str] = Counter()
        self._quarantined: dict[str, float] = {}
        self._questions = Questions(clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self.meters = Meters(clock.monotonic)
        self.data_api = True
        self.on_answer: Callable[[str, RpcError | None], None] = lambda _route, _error: None
        """Told of every request that was answered, and with which refusal."""
        self.on_away: list[Callable[[bytes], None]] = []
        """Called with the account ID when an account's last link is gone."""

    # What components use

    def serve(self, route: Route[P, R], handler: Handler[P, R], *, waits: bool = False) -> None:
        """Answer a route. With `waits` the handler runs beside the link's later messages."""
        self._served[route.name] = _Served(route, handler, waits)

    def link_of(self, account: bytes) -> Link | None:
        """The link that speaks for an account now."""
        return self._accounts.get(account)

    def authenticate(self, link: Link, account: bytes) -> None:
        """Bind a link to an account. An older link of the account is closed; what it was asked may be answered here.

        A link that closed while its account was looked up is bound to nothing, and one that spoke for another account
        speaks for that one no more.
        """
        if not link.is_open:
            return
        if link.account != account:
            self._part(link)
        older = self._accounts.get(account)
        self._accounts[account] = link
        link.authenticate(account)
        if older is not None and older is not link:
            older.close(CloseCode.POLICY, "connected from elsewhere")

    def send(self, account: bytes, route: Route[P, None], payload: P) -> bool:
        """Notify an account; False if it is not connected."""
        link = self._accounts.get(account)
        if link is None:
            return False
        link.send_frame(notification_frame(route, payload))
        return True

    def tell_everyone(self, route: Route[P, None], payload: P) -> None:
        """Notify every connection that speaks the protocol."""
        frame = notification_frame(route, payload)
        for link in tuple(self._links):
            if link.owner is self:
                link.send_frame(frame)

    def request(self, account: bytes, route: Route[P, R], payload: P, timeout_ms: int) -> Asked[R]:
        """Ask an account; if it is not connected, the answer is a TimeoutError at once."""
        return self._questions.ask(self._accounts.get(account), account, route, payload, timeout_ms)

    def reject(self, account: bytes, asked: Asked[Any], error: RpcError) -> None:
        """Tell a client that its answer was not acceptable. Clients ignore it; it helps whoever debugs one."""
        link = self._accounts.get(account)
        if link is not None:
            complain(link, asked.number, error)

    def quarantine(self, address: str) -> None:
        """Shut an origin out for an hour and close its links. Loopback is exempt."""
        if is_loopback(address):
            return
        self._quarantined[address] = self._clock.monotonic() + QUARANTINE_MS / 1000
        for link in tuple(self._links):
            if link.address == address:
                link.close(CloseCode.POLICY, "quarantined")

    def refusal(self, address: str) -> HTTPStatus | None:
        """Why an origin (see `addresses`) may not open another link now, or None (section 1.3)."""
        if self._clock.monotonic() < self._quarantined.get(address, 0):
            return HTTPStatus.UNAUTHORIZED
        if len(self._links) >= self.max_clients:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if not is_loopback(address) and self._per_address[address] >= self._max_per_address:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return None

    @property
    def links(self) -> tuple[Link, ...]:
        """The open links."""
        return tuple(self._links)

    @property
    def connected(self) -> int:
        """How many links are open."""
        return len(self._links)

    @property
    def accounts(self) -> int:
        """How many accounts are logged in."""
        return len(self._accounts)

    @property
    def asked(self) -> int:
        """How many requests of ours wait for their answers."""
        return len(self._questions)

    async def run(self) -> None:
        """Ping, cut the silent and expire what nobody answered, once a second, for ever."""
        while True:
            await self._clock.sleep(_TICK_S)
            now = self._clock.monotonic()
            for link in tuple(self._links):
                link.tick(now)
            self.expire(now)

    def expire(self, now: float) -> None:
        """Give up on what should have been answered by now (seconds of the monotonic clock), end quarantines."""
        self._questions.expire(now)
        for address in [address for address, until in self._quarantined.items() if until <= now]:
            del self._quarantined[address]

    async def close(self) -> None:
        """Say goodbye to every link and wait for the handlers under way."""
        for link in tuple(self._links):
            link.close(CloseCode.GOING_AWAY, "the server stops")
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._questions.close()

    def abort(self) -> None:
        """Cut every link, with nothing more said."""
        self.on_away.clear()
        for link in tuple(self._links):
            link.abort()

    # LinkOwner

    def opened(self, link: Link) -> None:
        self._links[link] = None
        self._per_address[link.address] += 1

    def closed(self, link: Link) -> None:
        if self._links.pop(link, self) is self:
            return
        self._per_address[link.address] -= 1
        if not self._per_address[link.address]:
            del self._per_address[link.address]
        self._part(link)

    def _part(self, link: Link) -> None:
        """The link speaks for its account no more."""
        if link.account is not None and self._accounts.get(link.account) is link:
            del self._accounts[link.account]
            for callback in self.on_away:
                callback(link.account)

    async def handle(self, link: Link, data: bytes) -> None:
        try:
            message = envelope.decode_frame(data)
        except envelope.FrameError as error:
            self._strike(link)
            complain(link, error.reply_id, error)
            return
        if message.type is MessageType.RESPONSE:
            if not self._questions.take(link, message):
                self._strike(link)
                unasked = RpcError(ErrorCode.UNKNOWN_RESPONSE_ID, f"nothing was asked with id {message.id}")
                complain(link, message.id, unasked)
        else:
            await self._take_request(link, message)

    def settles(self, link: Link, data: bytes) -> bool:
        try:
            message = envelope.decode_frame(data)
        except envelope.FrameError:
            return False
        return message.type is MessageType.RESPONSE and self._questions.take(link, message)

    def _strike(self, link: Link) -> None:
        link.strikes += 1
        if link.strikes >= _STRIKES_MAX:
            self.quarantine(link.address)

    async def _take_request(self, link: Link, message: Message) -> None:
        served = self._served.get(message.route)
        try:
            if not self.meters.allows(message.route, link.address, link.meter):
                raise RpcError(ErrorCode.TOO_MANY_REQUESTS, f"too many {message.route} requests", fix="slow down")
            if served is None:
                unknown_notification = message.type is MessageType.NOTIFICATION
                code = ErrorCode.UNKNOWN_MESSAGE_TYPE if unknown_notification else ErrorCode.UNKNOWN_ROUTE
                raise RpcError(code, f"unknown route {message.route[:32]!r}")
            if served.route.auth and link.account is None:
                raise RpcError(ErrorCode.UNAUTHORIZED, f"{message.route} needs connect first", fix="send connect")
            if served.route.meter is Meter.DATA and not self.data_api:
                raise RpcError(ErrorCode.TOO_MANY_REQUESTS, "the data API is switched off")
            call = Call(link, _payload(message, served.route), link.account or b"")
        except RpcError as error:
            self.on_answer("unknown" if served is None else served.route.name, error)
            complain(link, message.id or 1, error)
            return
        if served.waits:
            self.start(self._answer(served, call, message.id))
        else:
            await self._answer(served, call, message.id)

    async def _answer(self, served: _Served, call: Call[Any], number: int) -> None:
        try:
            result = await served.handler(call)
        except RpcError as error:
            self._refused(served, call, number, error)
            return
        except Exception:
            log.exception("handler failed", route=served.route.name, link=call.link.number)
            defect = RpcError(ErrorCode.SERVER_INTERNAL, "internal error", fault="server")
            self._refused(served, call, number, defect)
            return
        self.on_answer(served.route.name, None)
        if number and result is not UNANSWERED:
            answer(self._best_link(call), number, result)
        for callback in call.after:
            callback()

    def _refused(self, served: _Served, call: Call[Any], number: int, error: RpcError) -> None:
        self.on_answer(served.route.name, error)
        log.debug("refused", route=served.route.name, account=call.account.hex(), code=error.code, reason=str(error))
        if number:
            complain(call.link, number, error)

    def _best_link(self, call: Call[Any]) -> Link:
        """The link of the call, or the account's present one if that is gone in the meantime."""
        if call.link.is_open:
            return call.link
        return self._accounts.get(call.account, call.link)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside everything else; it is cancelled when the hub closes, and its failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("work beside the handlers failed", exc_info=error)


UNANSWERED: Any = object()
"""Returned by a handler whose request deserves silence (a bond that never confirmed, section 4.6)."""


def _payload(message: Message, route: Route[P, R]) -> P:
    if message.payload in (b"", b"null") and route.payload is not type(None):
        raise RpcError(ErrorCode.PARSE, f"{route.name} needs a payload")
    return envelope.decode_payload(message.payload, route.payload)
