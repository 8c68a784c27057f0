"""The connection to one exchange server: requests with answers, the server's own requests and notes, reconnecting.

What concerns one trade is handled in the order in which it arrived; what concerns different trades does not
wait for each other. A lane is the order, or else the market, that a message names.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from twinlock.client.config import Pace
from twinlock.client.errors import (
    AccountSharedError,
    ClientError,
    LinkClosedError,
    MisbehaviourError,
    NotConnectedError,
    RequestTimeoutError,
    SessionError,
    StoreError,
)
from twinlock.client.link import Dialer, Link
from twinlock.electrum.timing import within
from twinlock.errors import TwinlockError
from twinlock.protocol import envelope
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.envelope import Message, MessageType
from twinlock.protocol.routes import Direction, Route
from twinlock.seams import Clock

P = TypeVar("P")
R = TypeVar("R")

Handler = Callable[[Any], Awaitable[Any]]
"""Takes the decoded payload. What it returns answers a request; an RpcError that it raises refuses it."""


STEADY_S = 30.0
"""Seconds that a usable connection lasts, unless server or network are unwell or somebody else takes our place."""

SHORT_LIVES = 3
"""Usable connections in a row that did not last, after which somebody else is suspected."""


class Session:
    """One server, over as many sockets as it takes.

    `run` connects, calls `on_open` (which reads the configuration and logs in) and serves until cancelled,
    reconnecting after `pace.reconnect_step` seconds, then twice that, and so on to `pace.reconnect_most`.
    """

    def __init__(self, dial: Dialer, clock: Clock, pace: Pace) -> None:
        self._dial = dial
        self._clock = clock
        self._pace = pace
        self._link: Link | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._handlers: dict[str, tuple[Route[Any, Any], Handler]] = {}
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self.on_open: Callable[[], Awaitable[None]] = _nothing
        self.on_ready: Callable[[], None] = lambda: None
        self.lost: Callable[[TwinlockError], None] = lambda _: None
        """Told why a connection ended, or could not be opened."""
        self.trouble: Callable[[TwinlockError], None] = lambda _: None
        """Told why a message of the server was refused."""
        self.ready = asyncio.Event()
        """Set while the server is connected and `on_open` has succeeded."""

    def on(self, route: Route[P, R], handler: Callable[[P], Awaitable[R]]) -> None:
        """Handle what the server sends on that route."""
        self._handlers[route.name] = (route, handler)

    async def request(self, route: Route[P, R], payload: P) -> R:
        """Ask and wait for the answer.

        Raises RpcError (the server refused, or answered nonsense: code 1), NotConnectedError, LinkClosedError
        (the answer is lost) or RequestTimeoutError.
        """
        link = self._link
        if link is None:
            raise NotConnectedError("not connected to the server", fix="wait until the connection is back")
        number = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await link.send(envelope.request(number, route.name, payload))
            body = await within(self._clock, self._pace.request_timeout, _result(answer))
        except TimeoutError:
            raise RequestTimeoutError(f"no answer to {route.name} in {self._pace.request_timeout:g} s") from None
        finally:
            self._waiting.pop(number, None)
        return envelope.decode_result(body, route.result)

    async def run(self) -> None:
        """Serve until cancelled."""
        wait, short_lives = 0.0, 0
        try:
            while True:
                try:
                    link = await self._dial()
                    begun = self._clock.monotonic()
                    if await self._serve(link):
                        lasted = self._clock.monotonic() - begun >= STEADY_S
                        wait, short_lives = (0.0, 0) if lasted else (wait, short_lives + 1)
                        if short_lives and not short_lives % SHORT_LIVES:
                            self.lost(_shared())
                except TwinlockError as error:
                    self.lost(error)
                wait = min(wait + self._pace.reconnect_step, self._pace.reconnect_most)
                await self._clock.sleep(wait)
        finally:
            await _end(*self._lanes.values())

    async def _serve(self, link: Link) -> bool:
        """One socket's life. True if it was usable, so that the waiting times begin anew."""
        self._link = link
        reader = asyncio.create_task(self._read(link))
        opener = asyncio.create_task(self._open())
        try:
            await asyncio.wait({reader, opener}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await opener
            await reader
        except SessionError as error:
            self.lost(error)
        finally:
            usable = self.ready.is_set()
            self.ready.clear()
            self._link = None
            await self._abandon(link, reader, opener)
        return usable

    async def _open(self) -> None:
        await self.on_open()
        self.ready.set()
        self.on_ready()

    async def _abandon(self, link: Link, *tasks: asyncio.Task[None]) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkClosedError("the connection was lost before the answer"))
        # Handlers at work go on: what they store and broadcast matters more than the answer they can no longer send.
        await _end(*tasks)
        await link.close()

    async def _read(self, link: Link) -> None:
        while True:
            message = _decode_frame(await link.receive())
            if message is None:
                continue
            if message.type is MessageType.RESPONSE:
                answer = self._waiting.get(message.id)
                if answer is not None and not answer.done():
                    answer.set_result(message.payload)
                continue
            self._enqueue(link, message)

    def _enqueue(self, link: Link, message: Message) -> None:
        lane = _lane_of(message)
        before = self._lanes.get(lane)
        task = asyncio.create_task(self._handle_after(before, link, message))
        self._lanes[lane] = task
        task.add_done_callback(lambda done: self._leave(lane, done))

    def _leave(self, lane: str, task: asyncio.Task[None]) -> None:
        if self._lanes.get(lane) is task:
            del self._lanes[lane]

    async def _handle_after(self, before: asyncio.Task[None] | None, link: Link, message: Message) -> None:
        if before is not None:
            await asyncio.wait({before})
        try:
            frame = await self._answer(message)
            if frame is not None:
                await link.send(frame)
        except LinkClosedError:
            return
        except StoreError:
            # What could not be kept was not taken in; the login on a new connection compares everything again.
            await link.close()

    async def _answer(self, message: Message) -> bytes | None:
        """The frame that answers a request; None for a notification, whose failures are only told.

        Raises StoreError, also told, when what was said cannot be kept.
        """
        asked = message.type is MessageType.REQUEST
        try:
            route, handler = self._handlers[message.route]
            if asked != (route.direction is Direction.TO_CLIENT):
                raise RpcError(ErrorCode.UNKNOWN_ROUTE, f"{message.route} is not that kind of message")
            result = await handler(envelope.decode_payload(message.payload, route.payload))
        except KeyError:
            error: TwinlockError = RpcError(ErrorCode.UNKNOWN_ROUTE, f"unknown route {message.route}")
        except RpcError as refusal:
            error = refusal
        except StoreError as failure:
            self.trouble(failure)
            raise
        except TwinlockError as failure:
            error = failure
        except Exception as defect:  # A defect in one handler must not end the connection, nor go unseen.
            error = ClientError(f"{message.route}: {defect!r}", code="client.defect", fault="twinlock")
        else:
            return envelope.response(message.id, result) if asked else None
        self.trouble(error)
        if not asked:
            return None
        refused = error if isinstance(error, RpcError) else RpcError(ErrorCode.SERVER_INTERNAL, str(error))
        return envelope.error_response(message.id, refused)


def _shared() -> AccountSharedError:
    return AccountSharedError(
        f"the connection was lost {SHORT_LIVES} times in a row soon after logging in; "
        "another client with the same seed may be running, and the server keeps only the newer connection",
        fix="run one client per seed: stop the other one",
    )


async def _nothing() -> None:
    """Until somebody sets `on_open`."""


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _result(answer: asyncio.Future[bytes]) -> bytes:
    return await answer


def _decode_frame(frame: bytes) -> Message | None:
    """Raises MisbehaviourError, which drops the connection, for bytes that are not JSON at all."""
    try:
        return envelope.decode_frame(frame)
    except RpcError as error:
        if error.rpc_code is ErrorCode.PARSE:
            raise MisbehaviourError(f"the server sent a malformed frame: {error}") from None
        return None


class _Names(msgspec.Struct):
    orderid: str = ""
    marketid: str = ""


def _lane_of(message: Message) -> str:
    try:
        names = msgspec.json.decode(message.payload, type=_Names)
    except msgspec.DecodeError:
        return message.route
    return names.orderid or names.marketid or message.route
