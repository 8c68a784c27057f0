"""Lock times that pass for all stories at once, because a chain has only one time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from twinlock.protocol.swap import Party


class Calendar:
    """Lets a lock time pass as soon as every story either waits for one or is over: the taker's first, as in a swap."""

    ORDER = (Party.TAKER, Party.MAKER)

    def __init__(self, let_pass: Callable[[Party], Awaitable[None]]) -> None:
        self._let_pass = let_pass
        self._playing = 0
        self._waiting: Counter[Party] = Counter()
        self._passed: list[Party] = []
        self._change = asyncio.Condition()

    def enter(self) -> None:
        """One more story that the locks wait for, until it waits itself or leaves."""
        self._playing += 1

    async def leave(self) -> None:
        """A story is over."""
        async with self._change:
            self._playing -= 1
            self._change.notify_all()

    async def passed(self, lock: Party) -> None:
        """Return when contracts of that side can be refunded."""
        async with self._change:
            self._waiting[lock] += 1
            self._change.notify_all()
            try:
                while lock not in self._passed:
                    # Those whose lock has passed are at work again, even if they do not know it yet.
                    if sum(self._waiting[each] for each in self.ORDER[len(self._passed) :]) == self._playing:
                        await self._next()
                    else:
                        await self._change.wait()
            finally:
                self._waiting[lock] -= 1

    async def _next(self) -> None:
        lock = self.ORDER[len(self._passed)]
        await self._let_pass(lock)
        self._passed.append(lock)
        self._change.notify_all()
