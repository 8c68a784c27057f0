"""One market, as the rest of the server sees it: orders go in and out, epochs pass, and anyone may look.

The work is done in `arrivals`, `epochs` and `departures`, which share one `state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from twinlock.protocol.book import Book
from twinlock.protocol.codes import ErrorCode
from twinlock.protocol.funding import MarketRules
from twinlock.protocol.messages.book import OrderBook
from twinlock.protocol.messages.orders import OrderPrefix, OrderResult
from twinlock.protocol.messages.status import ActiveOrder
from twinlock.protocol.orders import LimitOrder, MarketOrder, Order, OrderStatus
from twinlock.protocol.parcels import Exposure, with_order
from twinlock.protocol.wire import Hex
from twinlock.server.book import BookManager
from twinlock.server.comms.hub import Call
from twinlock.server.comms.link import Link
from twinlock.server.comms.outgoing import Spliced
from twinlock.server.db import Write
from twinlock.server.market.arrivals import Arrivals
from twinlock.server.market.core import MarketCore
from twinlock.server.market.departures import revoke
from twinlock.server.market.epochs import EpochCycle
from twinlock.server.market.errors import refused
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.schedule import Schedule
from twinlock.server.market.services import Services
from twinlock.server.market.state import MarketState
from twinlock.server.market.terms import MarketTerms

T = TypeVar("T")


class MarketManager:
    """One market. `schedule` says when it runs; `public` is its book as subscribers see it."""

    def __init__(
        self, terms: MarketTerms, services: Services, schedule: Schedule, booked: Iterable[LimitOrder], last_rate: int
    ) -> None:
        self._state = MarketState(terms, services, schedule, booked, last_rate)
        self._arrivals = Arrivals(self._state)
        self.epochs = EpochCycle(self._state, self._arrivals, self._told)
        self.on_epoch: list[Callable[[MarketManager, int], None]] = []
        """Called with the market and the epoch after the epoch's notes."""
        self._looked_after: tuple[int, set[tuple[bytes, int]]] = (0, set())

    @property
    def terms(self) -> MarketTerms:
        """The operator's numbers."""
        return self._state.terms

    @property
    def schedule(self) -> Schedule:
        """When the market runs."""
        return self._state.schedule

    @property
    def public(self) -> BookManager:
        """The book as subscribers see it."""
        return self._state.public

    @property
    def services(self) -> Services:
        """What surrounds the market."""
        return self._state.services

    @property
    def core(self) -> MarketCore:
        """The market itself; only to look at."""
        return self._state.core

    @property
    def book(self) -> Book:
        """The orders at rest."""
        return self._state.core.book

    def now(self) -> int:
        """The current epoch."""
        return self._state.now()

    def running(self, now_ms: int) -> bool:
        """Whether trade orders are taken: on schedule, and both chains in view."""
        return self._state.running(now_ms)

    @property
    def running_now(self) -> bool:
        """The same at this moment."""
        return self.running(self.services.clock.now_ms())

    def rules(self, now_ms: int) -> MarketRules:
        """What an order must fit at this moment."""
        return self._state.rules(now_ms)

    # Orders in and out

    async def submit(self, call: Call[Any], message: OrderPrefix, locks: CoinLocks | None = None) -> OrderResult:
        """Stamp, take in, store, answer, publish. `locks` are those of the funding asset; None for cancels.

        Raises MarketError, RpcError 53 or 7.
        """
        return await self._arrivals.submit(call, message, locks)

    async def revoke(self, orders: Iterable[LimitOrder], extra: Iterable[Write] = ()) -> None:
        """Take orders off the book for a reason outside of the market, tell their owners and everybody."""
        await revoke(self._state, orders, extra)

    async def revoke_account(self, account_id: bytes) -> None:
        """Take all booked orders of an account off the book."""
        await self.revoke(self.booked_of(account_id))

    def reopen(self, orders: Iterable[Order], since: int) -> list[Order]:
        """Take up the epochs that a restart interrupted, from that one on without a gap; orders that no longer fit."""
        return self.epochs.reopen(orders, since)

    def _told(self, epoch: int) -> None:
        for callback in self.on_epoch:
            callback(self, epoch)

    # Looking in

    def booked_of(self, account_id: bytes) -> list[LimitOrder]:
        """The booked orders of an account."""
        return list(self._state.holdings.resting(account_id))

    def active_orders(self, account_id: bytes) -> list[ActiveOrder]:
        """The epoch and booked orders of an account as `connect` lists them."""
        found = (*self._state.holdings.entered(account_id), *self._state.holdings.resting(account_id))
        return [ActiveOrder(id=Hex(order.id), status=int(self._state.status(order.id))) for order in found]

    def owners(self) -> set[bytes]:
        """The accounts that have active orders."""
        return self._state.holdings.owners()

    def exposure(self, account_id: bytes, added: LimitOrder | MarketOrder | None = None) -> Exposure:
        """What an account has at work here, with one more order if given."""
        settling = self.services.settlement.settling(account_id, self.terms.name)
        terms = self.terms
        base = Exposure(terms.lot_size, terms.parcel_size, settling=settling)
        exposure = self._state.holdings.exposure(account_id, base)
        return exposure if added is None else with_order(exposure, added, self.core.book)

    def status_of(self, order_id: bytes) -> OrderStatus | None:
        """The status of an active order; None for any other."""
        return self._state.status(order_id) if self.core.find(order_id) is not None else None

    async def subscribe(self, link: Link, *, ledger: bool = False) -> Spliced:
        """The snapshot, and from then on the feed; a snapshot never falls between an epoch's notes.

        ledger: whether the link wants the ledger's records too. Raises RpcError 48 while there is no feed.
        """
        if not self.epochs.feeding:
            raise refused(ErrorCode.MARKET_NOT_RUNNING, "no_feed", f"the book of {self.terms.name} has no feed now")
        async with self._state.publishing:
            self.public.subscribers.add(link)
            if ledger:
                self.public.ledger_subscribers.add(link)
            return self.public.spliced(*self._moment())

    async def between_epochs(self, look: Callable[[], T]) -> T:
        """What `look` sees when all that the book shows is stored and published."""
        async with self._state.publishing:
            return look()

    async def snapshot(self) -> OrderBook:
        """The book between two epochs."""
        async with self._state.publishing:
            return self.public.snapshot(*self._moment())

    async def spliced(self) -> Spliced:
        """The same, encoded."""
        async with self._state.publishing:
            return self.public.spliced(*self._moment())

    def _moment(self) -> tuple[int, int, int]:
        """The epoch and both fee rates, as a snapshot names them."""
        base, quote = self.services.assets[self.terms.base], self.services.assets[self.terms.quote]
        return self.now(), base.fee_rate, quote.fee_rate

    # Schedule

    def lock_coins(self, orders: Iterable[LimitOrder]) -> None:
        """Lock what reloaded orders are funded with."""
        for order in orders:
            self._state.funding_locks(order).lock(order.id, order.coins)

    def reschedule(self, schedule: Schedule) -> None:
        """From now on this says when it runs; subscribers are told when that ends and begins."""
        self._state.schedule = schedule

    def funded_by(self, order: LimitOrder | MarketOrder) -> int:
        """The asset that an order swaps away."""
        return self._state.funded_by(order)

    def due_for_a_look(self, account_id: bytes, asset_id: int) -> list[LimitOrder]:
        """The booked orders of an account that one asset funds; empty when asked again within the second.

        A look costs a question for each coin, and a second look so soon sees nothing new: spends are told of later.
        """
        second, seen = self.services.clock.now_ms() // 1000, (account_id, asset_id)
        if self._looked_after[0] != second:
            self._looked_after = (second, set())
        if seen in self._looked_after[1]:
            return []
        found = [order for order in self.booked_of(account_id) if self.funded_by(order) == asset_id]
        if found:
            self._looked_after[1].add(seen)
        return found
