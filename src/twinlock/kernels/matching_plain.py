"""The matching kernel in plain Python: what the compiled one must equal. See matching.py for what an order is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import Any, Generic, TypeVar

from twinlock.kernels.blake256 import blake256

_LIMIT, _MARKET, _CANCEL = 1, 2, 3
_BUY, _STANDING = 1, 1
_RATE_FACTOR = 10**8
_MATCH = Struct(">32s32sQQ").pack

Order = TypeVar("Order")

_Orders = list[Any]
Worked = tuple[
    list[Any],
    tuple[_Orders, _Orders, _Orders, _Orders, _Orders, _Orders, _Orders, _Orders],
    list[bytes],
    tuple[int, int, int, int, int, int],
    tuple[tuple[int, int], ...],
]
"""What an epoch did: see `work_off_plain`."""

Rank = tuple[int, int, bytes]
"""(rate for sells or its negative for buys, server time, order ID); the smallest comes first."""


class BookSidePlain(Generic[Order]):
    """One side's orders, best first. Removed orders leave their rank behind in the heap until it surfaces."""

    __slots__ = ("_heap", "_orders", "_ranks", "buys")

    def __init__(self, buys: bool, orders: Iterable[Order] = ()) -> None:
        self.buys = buys
        self._orders: dict[bytes, Any] = {}
        self._ranks: dict[bytes, Rank] = {}
        self._heap: list[Rank] = []
        for order in orders:
            self.insert(order)

    def insert(self, order: Order) -> None:
        """Add an order, or replace the one with its ID, which keeps its place."""
        value: Any = order
        if value.id not in self._orders:
            self._ranks[value.id] = rank = (-value.rate if self.buys else value.rate, value.server_time, value.id)
            heappush(self._heap, rank)
        self._orders[value.id] = value

    def remove(self, order_id: bytes) -> Order | None:
        """Take an order out by its ID; None if it is not here."""
        order: Order | None = self._orders.pop(order_id, None)
        if order is not None:
            del self._ranks[order_id]
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._orders):
            self._heap = list(self._ranks.values())
            heapify(self._heap)
        return order

    def get(self, order_id: bytes) -> Order | None:
        """The order with an ID as it rests now, or None."""
        return self._orders.get(order_id)

    def best(self) -> Order | None:
        """The first order, or None."""
        while self._heap and self._ranks.get(self._heap[0][2]) != self._heap[0]:
            heappop(self._heap)
        return self._orders[self._heap[0][2]] if self._heap else None

    def copy(self) -> BookSidePlain[Order]:
        """An independent side with the same orders."""
        twin = BookSidePlain[Order](self.buys)
        twin._orders, twin._ranks, twin._heap = self._orders.copy(), self._ranks.copy(), self._heap.copy()
        return twin

    def __iter__(self) -> Iterator[Order]:
        return iter([self._orders[order_id] for *_, order_id in sorted(self._ranks.values())])

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: bytes) -> bool:
        return order_id in self._orders


def work_off_plain(
    lot: int,
    buys: BookSidePlain[Any],
    sells: BookSidePlain[Any],
    queue: Iterable[Any],
    make: Callable[..., Any],
    replace: Callable[..., Any],
) -> Worked:
    """Match a shuffled queue against both sides, changing them.

    lot: base atoms. make(id, taker, maker, quantity, rate) makes a match; taker and maker are the orders as they were
    before the epoch, or as they entered it. replace(order, filled=..., matches=...) makes an order's next value;
    `matches` is named only where it is capped.

    Returns the matches; eight lists of orders as they are after it (booked, updated, unbooked, completed, canceled,
    failed, cancels executed, cancels failed); the IDs of what did not match; volume, quote volume, highest, lowest,
    first and last rate, all 0 when nothing traded; and (rate, signed quantity) of the trades, negative when the taker
    bought, with runs of the same rate and side added up.
    """
    return _Run(lot, buys, sells, make, replace).work_off(queue)


class _Run:
    """One epoch being matched. What is filled is counted beside the orders; at the end each gets one new value."""

    def __init__(
        self,
        lot: int,
        buys: BookSidePlain[Any],
        sells: BookSidePlain[Any],
        make: Callable[..., Any],
        replace: Callable[..., Any],
    ) -> None:
        self.lot, self.buys, self.sells, self.make, self.replace = lot, buys, sells, make, replace
        self.filled: dict[bytes, int] = {}  # of resting orders, in this epoch
        self.fills: dict[bytes, int] = {}  # how many times
        self.entered: dict[bytes, None] = {}  # booked by this epoch, in order
        self.touched: dict[bytes, None] = {}  # partly filled, on the book since before, in order
        self.matches: list[Any] = []
        self.trades: list[tuple[int, int]] = []  # rate, signed quantity
        self.unbooked: list[Any] = []
        self.completed: list[Any] = []
        self.canceled: list[Any] = []
        self.failed: list[Any] = []
        self.cancels_executed: list[Any] = []
        self.cancels_failed: list[Any] = []
        self.unmatched: list[bytes] = []

    def work_off(self, queue: Iterable[Any]) -> Worked:
        for order in queue:
            if order.order_type == _CANCEL:
                self._cancel(order)
            elif order.order_type == _MARKET and order.side == _BUY:
                self._buy_at_market(order)
            elif order.quantity <= order.filled or (order.quantity - order.filled) % self.lot:
                self.failed.append(order)
            elif order.order_type == _LIMIT and order.options.post_only and self._would_take(order):
                self._settle(order, 0, 0, ends=True)
            else:
                self._take(order)
        return self._values()

    def _would_take(self, order: Any) -> bool:
        best = (self.sells if order.side == _BUY else self.buys).best()
        return best is not None and (order.rate >= best.rate if order.side == _BUY else order.rate <= best.rate)

    def _cancel(self, order: Any) -> None:
        target = self.buys.get(order.target_id) or self.sells.get(order.target_id)
        if target is None:
            self.cancels_failed.append(order)
            self.unmatched.append(order.id)
            return
        self._match(order, target, self._left(target))
        self._leave(target, self.canceled)
        self.cancels_executed.append(order)

    def _take(self, order: Any) -> None:
        """Fill from the opposite side while it crosses."""
        buying = order.side == _BUY
        makers = self.sells if buying else self.buys
        limit = order.rate if order.order_type == _LIMIT else 0
        wanted = left = order.quantity - order.filled
        cap, fills = order.options.max_matches, 0
        while left and (not cap or fills < cap) and (maker := makers.best()) is not None:
            if maker.rate > limit if buying else maker.rate < limit:
                break
            quantity = min(left, self._left(maker))
            self._fill(order, maker, quantity)
            left -= quantity
            fills += 1
        self._settle(order, wanted - left, fills)

    def _buy_at_market(self, order: Any) -> None:
        """Spend quote atoms on the best sells, whole lots at a time."""
        wanted = left = order.quantity - order.filled
        cap, fills = order.options.max_matches, 0
        while (not cap or fills < cap) and (maker := self.sells.best()) is not None and maker.rate:
            affordable, available = left * _RATE_FACTOR // maker.rate, self._left(maker)
            if affordable < self.lot:
                break
            quantity = available if affordable >= available else affordable - affordable % self.lot
            self._fill(order, maker, quantity)
            left -= maker.rate * quantity // _RATE_FACTOR
            fills += 1
        self._settle(order, wanted - left, fills)

    def _left(self, maker: Any) -> int:
        left: int = maker.quantity - maker.filled - self.filled.get(maker.id, 0)
        return left

    def _match(self, taker: Any, maker: Any, quantity: int) -> None:
        identity = blake256(_MATCH(taker.id, maker.id, quantity, maker.rate))
        self.matches.append(self.make(identity, taker, maker, quantity, maker.rate))

    def _fill(self, taker: Any, maker: Any, quantity: int) -> None:
        self._match(taker, maker, quantity)
        self.trades.append((maker.rate, -quantity if taker.side == _BUY else quantity))
        self.filled[maker.id] = self.filled.get(maker.id, 0) + quantity
        self.fills[maker.id] = fills = self.fills.get(maker.id, 0) + 1
        if not self._left(maker) or maker.matches + fills == maker.options.max_matches > 0:
            self._leave(maker, self.completed)
        elif maker.id not in self.entered:
            self.touched[maker.id] = None

    def _leave(self, order: Any, to: list[Any]) -> None:
        """An order leaves its side."""
        (self.buys if order.side == _BUY else self.sells).remove(order.id)
        after = self._after(order, self.filled.pop(order.id, 0), self.fills.pop(order.id, 0))
        to.append(after)
        if order.id in self.entered:
            del self.entered[order.id]
        else:
            self.touched.pop(order.id, None)
            self.unbooked.append(after)

    def _settle(self, order: Any, filled: int, fills: int, *, ends: bool = False) -> None:
        """Decide what becomes of a taker after so many fills. ends: whether it may not be booked in any case."""
        ends = ends or 0 < order.options.max_matches <= fills
        stands = order.order_type == _LIMIT and order.time_in_force == _STANDING
        if stands and not ends and order.quantity - order.filled - filled >= self.lot:
            (self.buys if order.side == _BUY else self.sells).insert(order)
            self.entered[order.id] = None
            self.filled[order.id], self.fills[order.id] = filled, fills
        elif filled:
            self.completed.append(self._after(order, filled, fills))
        else:
            self.failed.append(order)
            self.unmatched.append(order.id)

    def _after(self, order: Any, filled: int, fills: int) -> Any:
        if not filled:
            return order
        if order.options.max_matches:
            return self.replace(order, filled=order.filled + filled, matches=order.matches + fills)
        return self.replace(order, filled=order.filled + filled)

    def _on_the_book(self, order_ids: Iterable[bytes]) -> list[Any]:
        """Orders that are on it now: it holds their values as they are after the epoch."""
        orders = []
        for order_id in order_ids:
            side = self.buys if order_id in self.buys else self.sells
            after = self._after(side.get(order_id), self.filled[order_id], self.fills[order_id])
            side.insert(after)
            orders.append(after)
        return orders

    def _values(self) -> Worked:
        self.unmatched.extend(order_id for order_id in self.entered if not self.filled[order_id])
        lists = (
            self._on_the_book(self.entered),
            self._on_the_book(self.touched),
            self.unbooked,
            self.completed,
            self.canceled,
            self.failed,
            self.cancels_executed,
            self.cancels_failed,
        )
        return self.matches, lists, self.unmatched, _statistics(self.trades), _summary(self.trades)


def _statistics(trades: list[tuple[int, int]]) -> tuple[int, int, int, int, int, int]:
    if not trades:
        return 0, 0, 0, 0, 0, 0
    rates = [rate for rate, _ in trades]
    volume = sum(abs(quantity) for _, quantity in trades)
    quote = sum(rate * abs(quantity) // _RATE_FACTOR for rate, quantity in trades)
    return volume, quote, max(rates), min(rates), rates[0], rates[-1]


def _summary(trades: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    rows: list[tuple[int, int]] = []
    for rate, quantity in trades:
        goes_on = rows and rows[-1][0] == rate and (rows[-1][1] > 0) == (quantity > 0)
        rows.append((rate, rows.pop()[1] + quantity if goes_on else quantity))
    return tuple(rows)
