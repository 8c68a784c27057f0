"""What the rooms of one market share: the market itself, its public book, who has what at work, and when it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from twinlock.protocol.epoch import epoch_index
from twinlock.protocol.funding import MarketRules
from twinlock.protocol.orders import LimitOrder, MarketOrder, OrderStatus, Side
from twinlock.server.book import BookManager
from twinlock.server.market.core import MarketCore
from twinlock.server.market.holdings import Holdings
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.schedule import Schedule
from twinlock.server.market.services import Services
from twinlock.server.market.terms import MarketTerms


class MarketState:
    """One market's state. `publishing` is held while the book changes, is stored and told: one change at a time."""

    def __init__(
        self, terms: MarketTerms, services: Services, schedule: Schedule, booked: Iterable[LimitOrder], last_rate: int
    ) -> None:
        self.terms = terms
        self.services = services
        self.schedule = schedule
        self.core = MarketCore(terms, booked, last_rate)
        self.public = BookManager(terms.name, self.core.book)
        self.holdings = Holdings(self.core.book)
        self.publishing = asyncio.Lock()
        self._rules = {running: _rules(terms, running=running) for running in (False, True)}

    def now(self) -> int:
        """The current epoch."""
        return epoch_index(self.services.clock.now_ms(), self.terms.epoch_ms)

    def running(self, now_ms: int) -> bool:
        """Whether trade orders are taken: on schedule, and both chains in view."""
        base, quote = self.services.assets[self.terms.base], self.services.assets[self.terms.quote]
        return self.schedule.runs(epoch_index(now_ms, self.terms.epoch_ms)) and base.synced and quote.synced

    def rules(self, now_ms: int) -> MarketRules:
        """What an order must fit at this moment."""
        return self._rules[self.running(now_ms)]

    def funded_by(self, order: LimitOrder | MarketOrder) -> int:
        """The asset that an order swaps away."""
        return self.terms.base if order.side is Side.SELL else self.terms.quote

    def funding_locks(self, order: LimitOrder | MarketOrder) -> CoinLocks:
        """The locks of that asset's coins."""
        return self.services.locks[self.funded_by(order)]

    def free(self, order: LimitOrder | MarketOrder) -> None:
        """Unlock the coins of an order that is over, unless a match still settles it; its end frees them then."""
        if not order.filled or not self.services.settlement.settles(order.id, order.account_id):
            self.funding_locks(order).release(order.id)

    def status(self, order_id: bytes) -> OrderStatus:
        """The status of an active order."""
        return OrderStatus.BOOKED if order_id in self.core.book else OrderStatus.EPOCH


def _rules(terms: MarketTerms, *, running: bool) -> MarketRules:
    return MarketRules(
        lot_size=terms.lot_size,
        rate_step=terms.rate_step,
        minimum_rate=terms.minimum_rate,
        buy_buffer=terms.buy_buffer,
        running=running,
    )
