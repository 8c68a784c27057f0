"""The machine's clock, which a test can put forward: whoever sleeps past the new time wakes at once."""

from __future__ import annotations

import asyncio

from twinlock.seams import SystemClock


class JumpClock:
    """A first-class `Clock` that runs like the machine's, and jumps."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead_s = 0.0
        self._jumped = asyncio.Event()

    def now_ms(self) -> int:
        return self._system.now_ms() + round(self._ahead_s * 1000)

    def monotonic(self) -> float:
        return self._system.monotonic() + self._ahead_s

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while (left := end - self.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._jumped.wait(), left)
            except TimeoutError:
                return

    def jump(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead_s += seconds
        self._jumped.set()
        self._jumped = asyncio.Event()
