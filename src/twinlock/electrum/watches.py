"""Subscriptions that outlive connections: the tip, and the scripts that somebody watches.

Notifications only mark what is stale; `settle` brings it up to date, headers first, then scripts. A new connection
makes everything stale, since subscriptions end with the connection they were made on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import msgspec

from twinlock.chain.script import scripthash

from . import methods
from .connection import Connection
from .errors import LyingServerError, ServerError
from .framing import Note
from .histories import Batcher, Histories, many
from .methods import HeaderReply
from .states import ScriptState
from .sync import Asker, HeaderSync

AT_ONCE = 8
"""Scripts brought up to date at the same time."""


@dataclass(eq=False)
class _Watched:
    """One script. generation: of the connection that it is subscribed on, -1 for none. version counts its states.

    news: set at the next state or error, and replaced then.
    """

    script: bytes
    key: str
    since: int
    users: int = 0
    generation: int = -1
    status: str | None = None
    stale: bool = True
    state: ScriptState | None = None
    error: ServerError | None = None
    version: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Watches:
    """`stale` is set whenever there is something for `settle` to do."""

    def __init__(self, histories: Histories, headers: HeaderSync) -> None:
        self._histories = histories
        self._headers = headers
        self._watched: dict[str, _Watched] = {}
        self._generation = 0
        self._announced: HeaderReply | None = None
        self._left: set[str] = set()
        self._can_leave = False
        self._news = asyncio.Event()
        self.stale = asyncio.Event()

    async def connected(self, connection: Connection) -> None:
        """Begin on a new connection: follow its tip; every script is to be subscribed again."""
        self._generation += 1
        self._announced = None
        self._left.clear()
        self._can_leave = connection.version >= methods.SCRIPT_UNSUBSCRIBE.since
        await self._follow(connection, await connection.call(methods.HEADERS_SUBSCRIBE))
        self.stale.set()

    def note(self, note: Note) -> None:
        """Take a notification; unknown ones are ignored. Raises LyingServerError (``type``)."""
        try:
            if note.method == methods.HEADERS_SUBSCRIBE.name:
                (self._announced,) = methods.HEADER_NOTE.decode(note.params)
            elif note.method == methods.SCRIPT_SUBSCRIBE.name:
                key, status = methods.SCRIPT_NOTE.decode(note.params)
                if (watched := self._watched.get(key)) is not None:
                    watched.status, watched.stale = status, True
        except (msgspec.MsgspecError, RecursionError) as error:
            raise LyingServerError("type", f"a notification {note.method} of another shape: {error}") from error
        self.stale.set()

    async def settle(self, batcher: Batcher) -> None:
        """Bring everything up to date. What an error leaves undone stays stale."""
        self.stale.clear()
        if (tip := self._announced) is not None:
            self._announced = None
            await self._follow(batcher, tip)
        await self._subscribe(batcher)
        waiting = [watched for watched in self._watched.values() if watched.stale]
        for start in range(0, len(waiting), AT_ONCE):
            some = [self._refresh(batcher, watched) for watched in waiting[start : start + AT_ONCE]]
            for outcome in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        await self._leave(batcher)

    async def news(self) -> None:
        """Wait until the tip or any script's state changes."""
        await self._news.wait()

    async def states(self, script: bytes, since: int = 0) -> AsyncGenerator[ScriptState, None]:
        """The states of one script, from now on. Raises ServerError if servers refuse to follow it.

        since: a height below which this user needs nothing.
        """
        key = scripthash(script)
        watched = self._watched.setdefault(key, _Watched(script, key, since))
        if since < watched.since:
            watched.since, watched.stale = since, True
        watched.users += 1
        self.stale.set()
        seen = 0
        try:
            while True:
                if watched.error is not None:
                    raise watched.error
                if watched.state is not None and watched.version != seen:
                    seen = watched.version
                    yield watched.state
                else:
                    await watched.news.wait()
        finally:
            watched.users -= 1
            if not watched.users:
                del self._watched[key]
                if self._can_leave and watched.generation == self._generation:
                    self._left.add(key)
                    self.stale.set()

    async def _follow(self, asker: Asker, tip: HeaderReply) -> None:
        kept = await self._headers.follow(asker, tip)
        if kept is None:
            return
        for watched in self._watched.values():
            # A transaction mined again at the same height leaves the status as it was, yet needs a new proof.
            if watched.state is not None and watched.state.reaches_above(kept):
                watched.stale = True
        self._news = _told(self._news)

    async def _subscribe(self, batcher: Batcher) -> None:
        generation = self._generation
        fresh = [watched for watched in self._watched.values() if watched.generation != generation]
        answers = await many(batcher, methods.SCRIPT_SUBSCRIBE, [[watched.key] for watched in fresh])
        for watched, answer in zip(fresh, answers, strict=True):
            watched.generation = generation
            if isinstance(answer, ServerError):
                self._fail(watched, answer)
            elif watched.state is None or watched.status != answer:
                watched.status, watched.stale = answer, True

    async def _leave(self, batcher: Batcher) -> None:
        """End subscriptions that nobody uses any more, so that a server's limit is not reached over the months."""
        left = [[key] for key in self._left if key not in self._watched]
        self._left.clear()
        if left:
            await batcher.call_many(methods.SCRIPT_UNSUBSCRIBE, left)

    async def _refresh(self, batcher: Batcher, watched: _Watched) -> None:
        watched.stale = False
        if watched.status is None:  # the protocol's word for an empty history, which need not be asked for
            self._tell(watched, ScriptState(watched.script, (), self._headers.chain.height))
            return
        try:
            state = await self._histories.read(batcher, watched.script, watched.status, check=True, since=watched.since)
        except ServerError as error:
            self._fail(watched, error)
            return
        except BaseException:
            watched.stale = True
            raise
        self._tell(watched, state)

    def _tell(self, watched: _Watched, state: ScriptState) -> None:
        before = watched.state
        if before is None or (before.history, before.older) != (state.history, state.older):
            watched.state = state
            watched.version += 1
            self._publish(watched)

    def _fail(self, watched: _Watched, error: ServerError) -> None:
        watched.error, watched.stale = error, False
        self._publish(watched)

    def _publish(self, watched: _Watched) -> None:
        # Not to those who wait for another script: of a big wallet thousands do.
        watched.news = _told(watched.news)
        self._news = _told(self._news)


def _told(news: asyncio.Event) -> asyncio.Event:
    """Wake all who wait for this; the next ones wait for what is returned."""
    news.set()
    return asyncio.Event()
