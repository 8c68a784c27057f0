"""One market for many stories: rates are handed out so that every taker meets the maker of its own story."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from twinlock.seams import Clock

PRICE = 150_000
"""Makers sell above it and buy below it, as message-rates."""


@dataclass
class Lane:
    """Makers on one side of the book, in the order of their rates: the first is the best."""

    step: int
    issued: int = 0
    served: int = 0
    turn: asyncio.Condition = field(default_factory=asyncio.Condition)

    def next_rate(self) -> int:
        self.issued += 1
        return PRICE + self.step * self.issued


class Floor:
    """rate_step: of the market. epoch_ms: of its epochs."""

    def __init__(self, clock: Clock, rate_step: int, epoch_ms: int) -> None:
        self._clock = clock
        self._epoch_ms = epoch_ms
        self._lanes = {True: Lane(rate_step), False: Lane(-rate_step)}

    def rate(self, maker_sells: bool) -> tuple[int, int]:
        """The next maker's place in its lane, and its rate."""
        lane = self._lanes[maker_sells]
        return lane.issued, lane.next_rate()

    @asynccontextmanager
    async def turn(self, maker_sells: bool, place: int) -> AsyncIterator[None]:
        """The taker of that place may order now. The next one's turn comes with the next epoch."""
        lane = self._lanes[maker_sells]
        async with lane.turn:
            await lane.turn.wait_for(lambda: lane.served == place)
        try:
            yield
            await self._clock.sleep((self._epoch_ms - self._clock.now_ms() % self._epoch_ms) / 1000)
        finally:
            async with lane.turn:
                lane.served += 1
                lane.turn.notify_all()
