"""The seams through which time and randomness reach the code.

Everything that needs to know the time, to wait, or to draw random bytes takes a `Clock` or an `Entropy`
as an argument. `SystemClock` and `SystemEntropy` are the real ones; `VirtualClock` and `SeededEntropy`
make every run repeatable, and no test sleeps. The seams to the network and the disk are narrower and
stand with their users: `twinlock.electrum.transport`, `twinlock.indexer.storage`, `twinlock.server.db`,
`twinlock.client.store`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when that many seconds have passed."""
        ...


class Entropy(Protocol):
    """A source of random bytes."""

    def token(self, size: int) -> bytes:
        """`size` random bytes; unpredictable in the real implementation."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemEntropy:
    """The operating system's random bytes."""

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)


class SeededEntropy:
    """Repeatable bytes for tests and simulations. Never use it for keys that hold money."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)


class VirtualClock:
    """A clock that stands still until `advance` moves it.

    Sleepers wake in the order of their deadlines, each seeing exactly its own deadline as the time.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_us = now_ms * 1000
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self._now_us // 1000

    def monotonic(self) -> float:
        return self._now_us / 1_000_000

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deadline = self._now_us + round(seconds * 1_000_000)
        heapq.heappush(self._sleepers, (deadline, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the time forward, waking each sleeper at its own moment and letting it run."""
        end = self._now_us + round(seconds * 1_000_000)
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, future = heapq.heappop(self._sleepers)
            self._now_us = max(self._now_us, deadline)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now_us = end
        await self._settle()

    async def _settle(self) -> None:
        # Woken tasks may start others that are ready at once; a few turns of the loop reach them all.
        for _ in range(16):
            await asyncio.sleep(0)
