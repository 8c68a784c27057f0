"""What each account has at work on one market: orders of unprocessed epochs, and orders at rest."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from twinlock.protocol.book import Book
from twinlock.protocol.orders import LimitOrder, MarketOrder, Order
from twinlock.protocol.parcels import Exposure, with_order


class Holdings:
    """Kept beside the book, so that looking at one account never walks over the others'.

    What an account has at rest and in epochs is weighed once and remembered: the former until one of its orders
    changes, the latter until the best rates do, which say what is likely to take.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._entered: dict[bytes, dict[bytes, Order]] = {}
        self._resting: dict[bytes, dict[bytes, None]] = {}
        self._quantities: dict[bytes, int] = {}
        self._weights: dict[bytes, Exposure] = {}
        self._best_rates = book.best_rates()
        for order in book:
            self.rest(order)

    def enter(self, order: Order) -> None:
        """An order is in an epoch."""
        self._entered.setdefault(order.account_id, {})[order.id] = order
        weight = self._weights.get(order.account_id)
        if weight is not None and isinstance(order, LimitOrder | MarketOrder):
            self._weights[order.account_id] = with_order(weight, order, self._book)

    def rest(self, order: LimitOrder) -> None:
        """An order is on the book, or was filled there in part."""
        self._leave_epoch(order)
        self._resting.setdefault(order.account_id, {})[order.id] = None
        self._quantities.pop(order.account_id, None)

    def leave(self, order: Order) -> None:
        """An order is neither in an epoch nor on the book any more."""
        self._leave_epoch(order)
        resting = self._resting.get(order.account_id)
        if resting is not None and resting.pop(order.id, self) is not self:
            self._quantities.pop(order.account_id, None)
            if not resting:
                del self._resting[order.account_id]

    def owners(self) -> set[bytes]:
        """The accounts that have active orders."""
        return self._entered.keys() | self._resting.keys()

    def entered(self, account_id: bytes) -> Iterator[Order]:
        """The epoch orders of an account."""
        yield from self._entered.get(account_id, {}).values()

    def resting(self, account_id: bytes) -> Iterator[LimitOrder]:
        """The booked orders of an account, as they rest now."""
        for order_id in self._resting.get(account_id, ()):
            order = self._book.get(order_id)
            if order is not None:
                yield order

    def exposure(self, account_id: bytes, base: Exposure) -> Exposure:
        """`base` with everything that the account has at work here (protocol section 4.9)."""
        quantity = self._quantities.get(account_id)
        if quantity is None:
            quantity = self._quantities[account_id] = sum(order.remaining for order in self.resting(account_id))
        entered = self._weight(account_id)
        maker, taker = base.maker + quantity + entered.maker, base.taker + entered.taker
        return msgspec.structs.replace(base, maker=maker, taker=taker)

    def _weight(self, account_id: bytes) -> Exposure:
        """The account's epoch orders, weighed against the book as it stands."""
        if self._best_rates != (best_rates := self._book.best_rates()):
            self._best_rates = best_rates
            self._weights.clear()
        weight = self._weights.get(account_id)
        if weight is None:
            weight = Exposure(self._book.lot_size, 1)
            for order in self.entered(account_id):
                if isinstance(order, LimitOrder | MarketOrder):
                    weight = with_order(weight, order, self._book)
            self._weights[account_id] = weight
        return weight

    def _leave_epoch(self, order: Order) -> None:
        entered = self._entered.get(order.account_id)
        self._weights.pop(order.account_id, None)
        if entered is not None:
            entered.pop(order.id, None)
            if not entered:
                del self._entered[order.account_id]
