"""Moments that come for all stories at once, because they share chains: above all, lock times that pass."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping

Event = Callable[[], Awaitable[None]]


class Calendar:
    """Lets a moment come as soon as every story either waits for one or is over.

    moments: in their order, with what happens then.
    """

    def __init__(self, moments: Mapping[Hashable, Event]) -> None:
        self._moments = dict(moments)
        self._playing = 0
        self._waiting: Counter[Hashable] = Counter()
        self._passed: list[Hashable] = []
        self._change = asyncio.Condition()

    def begin_with(self, moment: Hashable, event: Event) -> None:
        """Another moment, before all others; none of them has come yet. Saying it again changes nothing."""
        if moment not in self._moments:
            assert not self._passed, f"{self._passed} has passed"
            self._moments = {moment: event, **self._moments}

    def enter(self) -> None:
        """One more story that the moments wait for, until it waits itself or leaves."""
        self._playing += 1

    async def leave(self) -> None:
        """A story is over."""
        async with self._change:
            self._playing -= 1
            self._change.notify_all()

    async def passed(self, moment: Hashable) -> None:
        """Return when it has come."""
        async with self._change:
            self._waiting[moment] += 1
            self._change.notify_all()
            try:
                while moment not in self._passed:
                    # Those whose moment has come are at work again, even if they do not know it yet.
                    coming = [each for each in self._moments if each not in self._passed]
                    if sum(self._waiting[each] for each in coming) == self._playing:
                        await self._moments[coming[0]]()
                        self._passed.append(coming[0])
                        self._change.notify_all()
                    else:
                        await self._change.wait()
            finally:
                self._waiting[moment] -= 1
