"""The book of one market: two priority queues of standing limit orders (protocol section 6.6).

Priority is rate, then the earlier server time, then the smaller order ID, so every book has exactly one order.
Orders are values, so a copy shares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twinlock.errors import TwinlockError
from twinlock.kernels.matching import BookSide
from twinlock.protocol.constants import MAX_ORDER_VALUE
from twinlock.protocol.orders import LimitOrder, Side, TimeInForce

_BUY, _STANDING = Side.BUY, TimeInForce.STANDING  # an attribute of an enumeration costs more than a comparison


class BookError(TwinlockError):
    """An order that cannot rest on this book."""

    code = "book.order"


class Book:
    """Both sides. `buys` and `sells` iterate best first."""

    __slots__ = ("_expiring", "buys", "lot_size", "sells")

    def __init__(self, lot_size: int, orders: Iterable[LimitOrder] = ()) -> None:
        """lot_size: base atoms. Raises `BookError` for an order that cannot rest."""
        standing = list(orders)
        self.lot_size = lot_size
        for order in standing:
            self._check(order)
        self._expiring = {order.id for order in standing if order.options.expiry}
        self.buys = BookSide[LimitOrder](True, (order for order in standing if order.side is _BUY))
        self.sells = BookSide[LimitOrder](False, (order for order in standing if order.side is not _BUY))

    def side(self, side: Side) -> BookSide[LimitOrder]:
        """The orders of that side."""
        return self.buys if side is _BUY else self.sells

    def insert(self, order: LimitOrder) -> None:
        """Add a standing order, or replace the one with its ID. Raises `BookError`."""
        self._check(order)
        (self.buys if order.side is _BUY else self.sells).insert(order)
        if order.options.expiry:
            self._expiring.add(order.id)

    def entered(self, orders: Iterable[LimitOrder]) -> None:
        """Orders that matching put on a side by itself: those that expire are remembered."""
        self._expiring.update([order.id for order in orders if order.options.expiry])

    def remove(self, order_id: bytes) -> LimitOrder | None:
        """Take an order off; None if it is not on the book."""
        return self.buys.remove(order_id) or self.sells.remove(order_id)

    def expire(self, moment_ms: int) -> list[LimitOrder]:
        """Take off the orders that expire before a moment, in the order of their IDs."""
        here = {order_id: order for order_id in self._expiring if (order := self.get(order_id)) is not None}
        gone = [here[order_id] for order_id in sorted(here) if here[order_id].options.expiry < moment_ms]
        for order in gone:
            self.remove(order.id)
            del here[order.id]
        self._expiring = set(here)
        return gone

    def crosses(self, order: LimitOrder) -> bool:
        """Whether an order would take from the book as it stands."""
        best = self.side(order.side.opposite).best()
        if best is None:
            return False
        return order.rate >= best.rate if order.side is Side.BUY else order.rate <= best.rate

    def get(self, order_id: bytes) -> LimitOrder | None:
        """The order as it rests now."""
        return self.buys.get(order_id) or self.sells.get(order_id)

    def best_rates(self) -> tuple[int, int]:
        """The rates of the first buy and the first sell, 0 for an empty side."""
        buy, sell = self.buys.best(), self.sells.best()
        return buy.rate if buy else 0, sell.rate if sell else 0

    def mid_gap(self) -> int:
        """The mean of the best rates; the only one if one side is empty; 0 on an empty book."""
        buy, sell = self.best_rates()
        return (buy + sell) // 2 if buy and sell else buy or sell

    def copy(self) -> Book:
        """An independent book with the same orders."""
        twin = Book.__new__(Book)
        twin.lot_size = self.lot_size
        twin.buys, twin.sells = self.buys.copy(), self.sells.copy()
        twin._expiring = self._expiring.copy()
        return twin

    def __iter__(self) -> Iterator[LimitOrder]:
        yield from self.buys
        yield from self.sells

    def __contains__(self, order_id: bytes) -> bool:
        return order_id in self.buys or order_id in self.sells

    def __len__(self) -> int:
        return len(self.buys) + len(self.sells)

    def _check(self, order: LimitOrder) -> None:
        if order.time_in_force is not _STANDING or order.quantity - order.filled < self.lot_size:
            raise BookError(
                "only standing orders of at least one lot rest on a book",
                numbers={"remaining": order.remaining, "lot_size": self.lot_size},
            )
        if max(order.quantity, order.rate) > MAX_ORDER_VALUE:
            raise BookError(
                "an order's quantity and rate are below 2^63",
                numbers={"quantity": order.quantity, "rate": order.rate},
            )
