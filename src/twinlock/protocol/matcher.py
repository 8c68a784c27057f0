"""Matching one epoch: a pure function of the book and the shuffled queue (protocol sections 6.7 and 6.8).

The queue is worked off one order at a time. The match rate is always the maker's; every (taker, maker) pair is one
match; quote amounts are floored per match. The book that is passed in becomes the book after the epoch; take a
`Book.copy()` first to keep the one before.

Beyond the reference: a post-only order that would take when its turn comes ends instead; an order with a cap on its
matches ends with the last of them, whatever remains. Orders that expire leave by `Book.expire` before the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from twinlock.protocol.book import Book, BookSide
from twinlock.protocol.orders import (
    CancelOrder,
    LimitOrder,
    MarketOrder,
    Order,
    OrderStatus,
    Side,
    TimeInForce,
    TradeOrder,
    match_id,
    with_fill,
)
from twinlock.protocol.rates import base_to_quote, quote_to_base, quote_volume

_BUY, _STANDING = Side.BUY, TimeInForce.STANDING
_replace = msgspec.structs.replace


class Match(msgspec.Struct, frozen=True, gc=False):
    """One fill, or one cancellation (then the taker is the cancel order).

    taker: as it was submitted. maker: as it rested before this fill. quantity: base atoms. rate: the maker's.
    """

    id: bytes
    taker: Order
    maker: LimitOrder
    quantity: int
    rate: int

    @property
    def cancels(self) -> bool:
        """Whether this is a cancellation, not a trade."""
        return type(self.taker) is CancelOrder

    @property
    def signed_quantity(self) -> int:
        """Base atoms, negative when the taker bought; 0 for a cancellation."""
        taker = self.taker
        if type(taker) is CancelOrder:
            return 0
        return -self.quantity if taker.side is _BUY else self.quantity


class Statistics(msgspec.Struct, frozen=True):
    """What an epoch traded. Volumes in base and quote atoms; rates are 0 when nothing traded."""

    volume: int = 0
    quote_volume: int = 0
    high: int = 0
    low: int = 0
    start: int = 0
    end: int = 0


class Matched(msgspec.Struct):
    """Everything that an epoch did; orders stand here as they are after it.

    booked: new on the book. updated: were on it and remain, partly filled. unbooked: were on it and left it.
    completed: trades whose life ended with a fill. canceled: taken off by a cancel. failed: trades that ended without.
    nomatch: IDs of the orders whose owners hear that nothing matched; booked ones are among them.
    """

    matches: list[Match] = msgspec.field(default_factory=list)
    booked: list[LimitOrder] = msgspec.field(default_factory=list)
    updated: list[LimitOrder] = msgspec.field(default_factory=list)
    unbooked: list[LimitOrder] = msgspec.field(default_factory=list)
    completed: list[TradeOrder] = msgspec.field(default_factory=list)
    canceled: list[LimitOrder] = msgspec.field(default_factory=list)
    failed: list[TradeOrder] = msgspec.field(default_factory=list)
    cancels_executed: list[CancelOrder] = msgspec.field(default_factory=list)
    cancels_failed: list[CancelOrder] = msgspec.field(default_factory=list)
    nomatch: list[bytes] = msgspec.field(default_factory=list)
    statistics: Statistics = msgspec.field(default_factory=Statistics)

    def statuses(self) -> Iterator[tuple[Order, OrderStatus]]:
        """Every order that the epoch touched, with its new status."""
        for orders, status in (
            (self.booked, OrderStatus.BOOKED),
            (self.updated, OrderStatus.BOOKED),
            (self.completed, OrderStatus.EXECUTED),
            (self.canceled, OrderStatus.CANCELED),
            (self.failed, OrderStatus.EXECUTED),
            (self.cancels_failed, OrderStatus.EXECUTED),
            (self.cancels_executed, OrderStatus.EXECUTED),
        ):
            for order in orders:
                yield order, status


def match(book: Book, queue: Iterable[Order]) -> Matched:
    """Match a shuffled queue against the book, changing the book."""
    return _Run(book).work_off(queue)


class _Run:
    """One epoch being matched. Tens of thousands of orders and fills pass here in one go: `_BUY` and its like stand
    for members of enumerations, and kinds are compared as types, because each look-up costs as much as a comparison.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self.result = result = Matched()
        self.matches, self.completed, self.unbooked = result.matches, result.completed, result.unbooked
        self.entered: dict[bytes, None] = {}  # booked by this epoch, in order
        self.touched: dict[bytes, None] = {}  # partly filled, on the book since before, in order
        self.idle: dict[bytes, None] = {}  # of those entered, the ones without a match so far

    def work_off(self, queue: Iterable[Order]) -> Matched:
        lot = self.book.lot_size
        for order in queue:
            if type(order) is CancelOrder:
                self._cancel(order)
            elif type(order) is MarketOrder and order.side is _BUY:
                self._buy_at_market(order)
            elif order.quantity == order.filled or (order.quantity - order.filled) % lot:
                self.result.failed.append(order)
            elif order.options.post_only and type(order) is LimitOrder and self.book.crosses(order):
                self._settle(order, 0, 0, ends=True)
            else:
                self._take(order)
        return self._finished()

    def _cancel(self, order: CancelOrder) -> None:
        result = self.result
        target = self.book.remove(order.target_id)
        if target is None:
            result.cancels_failed.append(order)
            result.nomatch.append(order.id)
            return
        self._left(target, target.id)
        result.canceled.append(target)
        result.cancels_executed.append(order)
        identity = match_id(order.id, target.id, target.remaining, target.rate)
        result.matches.append(Match(identity, order, target, target.remaining, target.rate))

    def _take(self, order: TradeOrder) -> None:
        """Fill from the opposite side while it crosses."""
        buying = order.side is _BUY
        makers = self.book.sells if buying else self.book.buys
        limit = order.rate if type(order) is LimitOrder else 0
        wanted = remaining = order.quantity - order.filled
        allowed, fills = order.options.max_matches, 0
        best, fill = makers.best, self._fill
        while remaining and (not allowed or fills < allowed) and (maker := best()) is not None:
            if maker.rate > limit if buying else maker.rate < limit:
                break
            available = maker.quantity - maker.filled
            amount = min(remaining, available)
            fill(order, makers, maker, amount, available)
            remaining -= amount
            fills += 1
        self._settle(order, wanted - remaining, fills)

    def _buy_at_market(self, order: MarketOrder) -> None:
        """Spend quote atoms on the best sells, whole lots at a time."""
        lot, makers = self.book.lot_size, self.book.sells
        remaining = order.remaining
        allowed, fills = order.options.max_matches, 0
        while (not allowed or fills < allowed) and (maker := makers.best()) is not None:
            affordable = quote_to_base(maker.rate, remaining)
            if affordable < lot:
                break
            available = maker.remaining
            amount = available if affordable >= available else affordable - affordable % lot
            self._fill(order, makers, maker, amount, available)
            remaining -= base_to_quote(maker.rate, amount)
            fills += 1
        self._settle(order, order.remaining - remaining, fills)

    def _fill(self, taker: TradeOrder, makers: BookSide, maker: LimitOrder, amount: int, available: int) -> None:
        rate, maker_id = maker.rate, maker.id
        self.matches.append(Match(match_id(taker.id, maker_id, amount, rate), taker, maker, amount, rate))
        after = with_fill(maker, amount)
        if amount == available or after.matches == after.options.max_matches > 0:
            makers.remove(maker_id)
            self._left(maker, maker_id)
            self.completed.append(after)
        else:
            makers.orders[maker_id] = after
            if maker_id in self.entered:
                self.idle.pop(maker_id, None)
            else:
                self.touched[maker_id] = None

    def _left(self, order: LimitOrder, order_id: bytes) -> None:
        """An order left the book."""
        if order_id in self.entered:
            del self.entered[order_id]
            self.idle.pop(order_id, None)
        else:
            self.touched.pop(order_id, None)
            self.unbooked.append(order)

    def _settle(self, order: TradeOrder, filled: int, fills: int, *, ends: bool = False) -> None:
        """Decide what becomes of a taker after so many fills. ends: whether it may not be booked in any case."""
        after = _replace(order, filled=order.filled + filled) if filled else order
        if fills and (cap := order.options.max_matches):
            after, ends = _replace(after, matches=fills), fills >= cap
        left = order.quantity - order.filled - filled
        if left and type(after) is LimitOrder and not ends and after.time_in_force is _STANDING:
            self.book.insert(after)
            self.entered[after.id] = None
            if not filled:
                self.idle[after.id] = None
        elif filled:
            self.completed.append(after)
        else:
            self.result.failed.append(after)
            self.result.nomatch.append(after.id)

    def _finished(self) -> Matched:
        result, book = self.result, self.book
        result.booked = [order for order_id in self.entered if (order := book.get(order_id))]
        result.updated = [order for order_id in self.touched if (order := book.get(order_id))]
        result.nomatch.extend(self.idle)
        result.statistics = _statistics(result.matches)
        return result


def _statistics(matches: list[Match]) -> Statistics:
    fills = [match for match in matches if type(match.taker) is not CancelOrder]
    if not fills:
        return Statistics()
    rates, quantities = [fill.rate for fill in fills], [fill.quantity for fill in fills]
    return Statistics(
        volume=sum(quantities),
        quote_volume=quote_volume(zip(rates, quantities, strict=True)),
        high=max(rates),
        low=min(rates),
        start=rates[0],
        end=rates[-1],
    )


def summary(matches: Iterable[Match]) -> list[tuple[int, int]]:
    """(rate, signed quantity) as `epoch_report` gives them: runs of the same rate and side are added up."""
    rows: list[tuple[int, int]] = []
    last_rate = last = 0
    for match in matches:
        rate, quantity = match.rate, match.signed_quantity
        if quantity and rate == last_rate and (last > 0) == (quantity > 0):
            last += quantity
        elif quantity:
            if last:
                rows.append((last_rate, last))
            last_rate, last = rate, quantity
    if last:
        rows.append((last_rate, last))
    return rows
