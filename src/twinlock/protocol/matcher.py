"""Matching one epoch: a pure function of the book and the shuffled queue (protocol sections 6.7 and 6.8).

The queue is worked off one order at a time. The match rate is always the maker's; every (taker, maker) pair is one
match; quote amounts are floored per match. The book that is passed in becomes the book after the epoch; take a
`Book.copy()` first to keep the one before.

Beyond the reference: a post-only order that would take when its turn comes ends instead; an order with a cap on its
matches ends with the last of them, whatever remains. Orders that expire leave by `Book.expire` before the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

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
from twinlock.protocol.rates import base_to_quote, quote_to_base

T = TypeVar("T", bound=TradeOrder)


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
        return isinstance(self.taker, CancelOrder)

    @property
    def signed_quantity(self) -> int:
        """Base atoms, negative when the taker bought; 0 for a cancellation."""
        if isinstance(self.taker, CancelOrder):
            return 0
        return self.quantity if self.taker.side is Side.SELL else -self.quantity


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
    """One epoch being matched."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.result = Matched()
        self.entered: dict[bytes, None] = {}  # booked by this epoch, in order
        self.touched: dict[bytes, None] = {}  # partly filled while on the book, in order
        self.idle: dict[bytes, None] = {}  # booked without a match so far

    def work_off(self, queue: Iterable[Order]) -> Matched:
        lot = self.book.lot_size
        for order in queue:
            if isinstance(order, CancelOrder):
                self._cancel(order)
            elif isinstance(order, MarketOrder) and order.side is Side.BUY:
                self._meet(order, self._buy_at_market)
            elif order.remaining % lot or not order.remaining:
                self.result.failed.append(order)
            elif isinstance(order, LimitOrder) and order.options.post_only and self.book.crosses(order):
                self._settle(order, 0, 0, ends=True)
            else:
                self._meet(order, self._take)
        return self._finished()

    def _cancel(self, order: CancelOrder) -> None:
        result = self.result
        target = self.book.remove(order.target_id)
        if target is None:
            result.cancels_failed.append(order)
            result.nomatch.append(order.id)
            return
        self._left(target)
        result.canceled.append(target)
        result.cancels_executed.append(order)
        identity = match_id(order.id, target.id, target.remaining, target.rate)
        result.matches.append(Match(identity, order, target, target.remaining, target.rate))

    def _meet(self, order: T, fill: Callable[[T], int]) -> None:
        before = len(self.result.matches)
        filled = fill(order)
        self._settle(order, filled, len(self.result.matches) - before)

    def _take(self, order: TradeOrder) -> int:
        """Fill from the opposite side while it crosses; the base atoms filled."""
        buying = order.side is Side.BUY
        makers = self.book.sells if buying else self.book.buys
        limit = order.rate if isinstance(order, LimitOrder) else 0
        wanted = remaining = order.remaining
        allowed = order.options.max_matches or -1
        while remaining and allowed and (maker := makers.best()) is not None:
            if maker.rate > limit if buying else maker.rate < limit:
                break
            available = maker.remaining
            amount = min(remaining, available)
            self._fill(order, makers, maker, amount, available)
            remaining -= amount
            allowed -= 1
        return wanted - remaining

    def _buy_at_market(self, order: MarketOrder) -> int:
        """Spend quote atoms on the best sells, whole lots at a time; the quote atoms spent."""
        lot, makers = self.book.lot_size, self.book.sells
        remaining = order.remaining
        allowed = order.options.max_matches or -1
        while allowed and (maker := makers.best()) is not None:
            affordable = quote_to_base(maker.rate, remaining)
            if affordable < lot:
                break
            available = maker.remaining
            amount = available if affordable >= available else affordable - affordable % lot
            self._fill(order, makers, maker, amount, available)
            remaining -= base_to_quote(maker.rate, amount)
            allowed -= 1
        return order.remaining - remaining

    def _fill(self, taker: TradeOrder, makers: BookSide, maker: LimitOrder, amount: int, available: int) -> None:
        rate, maker_id = maker.rate, maker.id
        self.result.matches.append(Match(match_id(taker.id, maker_id, amount, rate), taker, maker, amount, rate))
        after = with_fill(maker, amount)
        if amount == available or after.matches == after.options.max_matches > 0:
            makers.remove(maker_id)
            self._left(maker)
            self.result.completed.append(after)
        else:
            makers.orders[maker_id] = after
            self.idle.pop(maker_id, None)
            if maker_id not in self.entered:
                self.touched[maker_id] = None

    def _left(self, order: LimitOrder) -> None:
        """An order left the book."""
        self.idle.pop(order.id, None)
        self.touched.pop(order.id, None)
        if order.id in self.entered:
            del self.entered[order.id]
        else:
            self.result.unbooked.append(order)

    def _settle(self, order: TradeOrder, filled: int, fills: int, *, ends: bool = False) -> None:
        """Decide what becomes of a taker after so many fills. ends: whether it may not be booked in any case."""
        after = msgspec.structs.replace(order, filled=order.filled + filled) if filled else order
        cap = order.options.max_matches
        if cap and fills:
            after, ends = msgspec.structs.replace(after, matches=fills), fills >= cap
        standing = isinstance(after, LimitOrder) and after.time_in_force is TimeInForce.STANDING and not ends
        if isinstance(after, LimitOrder) and standing and after.remaining:
            self.book.insert(after)
            self.entered[after.id] = None
            if not filled:
                self.idle[after.id] = None
        elif filled:
            self.result.completed.append(after)
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
    fills = [(match.rate, match.quantity) for match in matches if not match.cancels]
    if not fills:
        return Statistics()
    rates = [rate for rate, _ in fills]
    return Statistics(
        volume=sum(quantity for _, quantity in fills),
        quote_volume=sum(base_to_quote(rate, quantity) for rate, quantity in fills),
        high=max(rates),
        low=min(rates),
        start=rates[0],
        end=rates[-1],
    )


def summary(matches: Iterable[Match]) -> list[tuple[int, int]]:
    """(rate, signed quantity) as `epoch_report` gives them: runs of the same rate and side are added up."""
    rows: list[tuple[int, int]] = []
    for rate, quantity in ((match.rate, match.signed_quantity) for match in matches if not match.cancels):
        if rows and rows[-1][0] == rate and (rows[-1][1] > 0) == (quantity > 0):
            rows[-1] = (rate, rows[-1][1] + quantity)
        else:
            rows.append((rate, quantity))
    return rows
