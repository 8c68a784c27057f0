"""Small market makers around a price that moves: what keeps a test exchange alive."""

from __future__ import annotations

from collections.abc import Callable

from twinlock.client.store.living import OPEN
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError
from twinlock.protocol.orders import OrderType, Side
from twinlock.seams import Entropy


class MovingPrice:
    """A random walk in rate steps that is drawn back to where it began, so that nobody runs out of a coin."""

    def __init__(self, start: int, step: int, entropy: Entropy, swing: int = 40) -> None:
        self._start = start
        self._step = step
        self._entropy = entropy
        self._swing = swing
        self._away = 0

    def move(self) -> int:
        """The next price (message-rate, a multiple of the step)."""
        drawn = self._entropy.token(1)[0] * (2 * self._swing + 1) // 256 - self._swing
        self._away += drawn - self._away // 4
        return self.now

    @property
    def now(self) -> int:
        """The price (message-rate)."""
        return max(self._start + self._away * self._step, self._step)


class MarketMaker:
    """Keeps a bid and an ask of `quantity` base atoms, `spread` steps away from the price that it believes in."""

    def __init__(self, trader: Trader, market: str, quantity: int, step: int, spread: int = 5) -> None:
        self.trader = trader
        self._market = market
        self._quantity = quantity
        self._margin = spread * step

    async def quote(self, price: int, complain: Callable[[TwinlockError], None]) -> None:
        """Take the old quotes off the book; once none stands, quote around the price. Refusals are only told."""
        standing = [order for order in self.trader.orders(OPEN) if order.active and order.type == OrderType.LIMIT]
        try:
            for order in standing:
                if order.status == "booked":
                    await self.trader.cancel(order.order_id)
            if not standing:
                await self.trader.limit(self._market, Side.BUY, self._quantity, price - self._margin)
                await self.trader.limit(self._market, Side.SELL, self._quantity, price + self._margin)
        except TwinlockError as refusal:
            complain(refusal)
