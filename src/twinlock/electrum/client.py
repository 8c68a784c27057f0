"""A client of several Electrum servers that speaks with one of them at a time.

`ElectrumClient` keeps a conversation open: when one ends it turns to the next server, with back-off once all have
failed. Requests wait for the next conversation and are asked again there, which is sound because every Electrum
request may be repeated (a broadcast too: the same bytes are the same transaction). A server caught lying rests
for an hour.

The client does not judge answers beyond their types; `twinlock.electrum.view` does and calls `blame`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TypeVar

import structlog

from twinlock.seams import Clock, Entropy

from .connection import Connection
from .errors import (
    CertificateChangedError,
    ConnectionLostError,
    ElectrumError,
    FrameError,
    LyingServerError,
    ServerError,
    UnavailableError,
)
from .framing import Note
from .methods import Method
from .timing import within
from .transport import Dial, Dialer, Endpoint

T = TypeVar("T")

BACKOFF_MIN_S = 0.25
BACKOFF_MAX_S = 60.0
"""Pause after the first round in which no server served, and the longest of a client; it doubles in between."""

REST_S = 3600.0
"""How long a server that lied is left alone, unless no other is left."""

PAUSE_S = 60.0
"""How long a server that failed is left alone, unless no other is left."""

OPEN_S = 10.0
"""Seconds in which a server must be reached, and again in which it must have introduced itself."""

PATIENCE_TOTAL_S = 60.0
"""Seconds that a request may take, changes of server included."""

log = structlog.get_logger(__name__)

_LIES = (LyingServerError, FrameError, CertificateChangedError)


class ElectrumClient:
    """Use as a context: the conversation begins at entry and ends at exit.

    servers: tried in this order. genesis_hash: display hex of the chain that they must serve. entropy: spreads
    reconnections of many clients. on_connect: awaited with each new conversation before any request uses it (to
    subscribe again); may raise ElectrumError to turn the server down. on_note: gets every notification. on_lie: told of
    each server that is left alone for lying, and why. patience: seconds that a request may take in all. longest_pause:
    seconds between two rounds in which no server serves.
    """

    def __init__(
        self,
        servers: Sequence[Endpoint],
        *,
        genesis_hash: str,
        clock: Clock,
        entropy: Entropy,
        dial: Dial | None = None,
        on_connect: Callable[[Connection], Awaitable[None]] | None = None,
        on_note: Callable[[Note], None] | None = None,
        on_lie: Callable[[Endpoint, ElectrumError], None] | None = None,
        patience: float = PATIENCE_TOTAL_S,
        longest_pause: float = BACKOFF_MAX_S,
    ) -> None:
        if not servers:
            raise ElectrumError("no Electrum server is named", code="electrum.no_servers", fault="user")
        self._servers = list(dict.fromkeys(servers))
        self._genesis_hash = genesis_hash
        self._clock = clock
        self._entropy = entropy
        self._dial = dial or Dialer()
        self._on_connect = on_connect
        self._on_note = on_note or _ignore
        self._on_lie = on_lie
        self._patience = patience
        self._longest_pause = longest_pause
        self._live: Connection | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._resting: dict[Endpoint, float] = {}
        self._opinions = 0
        self.server: Endpoint | None = None
        self.last_error: ElectrumError | None = None

    async def __aenter__(self) -> ElectrumClient:
        self._task = asyncio.create_task(self._run(), name="electrum-client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    @property
    def connected(self) -> bool:
        """A conversation is open and set up."""
        return self._live is not None

    async def connection(self) -> Connection:
        """The open conversation, once there is one. Waits for as long as it takes: bound it."""
        while self._live is None:
            self._changed.clear()
            await self._changed.wait()
        return self._live

    async def call(self, method: Method[T], *params: object) -> T:
        """The answer to a request, from whichever server answers first in turn.

        Raises ServerError if a server answers with an error, UnavailableError if none answers in time.
        """
        return await self._with_server(lambda connection: connection.call(method, *params))

    async def call_many(self, method: Method[T], params: Sequence[Sequence[object]]) -> list[T | ServerError]:
        """Many requests of one method, all answered by one server; see `Connection.call_many`."""
        return await self._with_server(lambda connection: connection.call_many(method, params))

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Connection]:
        """A conversation of its own with a server that is not the present one, for a second opinion.

        Each time with the next in turn. Raises UnavailableError where there is no other, any ElectrumError where that
        one does not serve.
        """
        others = [endpoint for endpoint in self._servers if endpoint != self.server and endpoint not in self._resting]
        if not others:
            raise UnavailableError("there is no other server to ask", numbers={"servers": len(self._servers)})
        self._opinions += 1
        connection = await self._open(others[self._opinions % len(others)], _ignore)
        try:
            yield connection
        finally:
            await connection.close()

    async def blame(self, error: ElectrumError) -> None:
        """Turn away from the present server because of `error`."""
        if self._live is not None:
            await self._live.close(error)

    async def _with_server(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await within(self._clock, self._patience, self._repeat(work))
        except TimeoutError:
            raise UnavailableError(
                f"no Electrum server answered within {self._patience:.0f} s: {self.last_error or 'no reason known'}",
                numbers={"servers": len(self._servers)},
                fix="Check the network and the list of servers.",
            ) from self.last_error

    async def _repeat(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        while True:
            connection = await self.connection()
            try:
                return await work(connection)
            except ServerError:
                raise
            except ElectrumError:
                # The conversation is over. Ask again in the next one, which is not this one any more.
                if self._live is connection:
                    self._live = None

    async def _run(self) -> None:
        failures = 0
        while True:
            for endpoint in self._candidates():
                if await self._converse_safely(endpoint):
                    failures = 0
                    break  # from the first server that does not rest: the order is the owner's preference
            await self._clock.sleep(self._pause(failures))
            failures += 1

    def _candidates(self) -> list[Endpoint]:
        now = self._clock.monotonic()
        self._resting = {endpoint: until for endpoint, until in self._resting.items() if until > now}
        free = [endpoint for endpoint in self._servers if endpoint not in self._resting]
        return free or sorted(self._servers, key=self._resting.__getitem__)

    def _rest(self, endpoint: Endpoint, seconds: float) -> None:
        self._resting[endpoint] = self._clock.monotonic() + seconds

    def _pause(self, failures: int) -> float:
        # Half of the pause is random, so that many clients do not come back to a restarted server at once.
        longest = min(self._longest_pause, BACKOFF_MIN_S * (1 << min(failures, 16)))
        return longest * (256 + self._entropy.token(1)[0]) / 512

    async def _converse_safely(self, endpoint: Endpoint) -> bool:
        try:
            return await self._converse(endpoint)
        except Exception as error:  # a defect of ours must not leave the caller without a chain for good
            log.exception("a conversation ended by a defect", server=str(endpoint))
            self.last_error = ElectrumError(repr(error), code="electrum.defect", fault="twinlock")
            return False

    async def _converse(self, endpoint: Endpoint) -> bool:
        """Hold one conversation to its end; True if it ever was of use."""
        useful = False
        try:
            connection = await self._open(endpoint, self._on_note)
            try:
                if self._on_connect is not None:
                    await self._on_connect(connection)
                self._live, self.server, useful = connection, endpoint, True
                self._changed.set()
                raise await connection.wait_ended()
            finally:
                self._live = None
                await connection.close()
        except ElectrumError as error:
            self.last_error = error
            log.info("a conversation ended", server=str(endpoint), code=error.code, reason=str(error))
            lied = isinstance(error, _LIES)
            if lied and self._on_lie is not None:
                self._on_lie(endpoint, error)
            self._rest(endpoint, REST_S if lied else PAUSE_S)
            useful = useful and not lied
        return useful

    async def _open(self, endpoint: Endpoint, on_note: Callable[[Note], None]) -> Connection:
        try:
            transport = await within(self._clock, OPEN_S, self._dial(endpoint))
            opening = Connection.open(transport, self._clock, genesis_hash=self._genesis_hash, on_note=on_note)
            return await within(self._clock, OPEN_S, opening)
        except TimeoutError:
            raise ConnectionLostError(f"{endpoint} did not answer within {OPEN_S:.0f} s") from None


def _ignore(note: Note) -> None:
    del note
