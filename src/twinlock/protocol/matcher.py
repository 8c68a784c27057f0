"""Matching one epoch: a pure function of the book and the shuffled queue (protocol sections 6.7 and 6.8).

The queue is worked off one order at a time. The match rate is always the maker's; every (taker, maker) pair is one
match; quote amounts are floored per match. The book that is passed in becomes the book after the epoch; take a
`Book.copy()` first to keep the one before.

Beyond the reference: a post-only order that would take when its turn comes ends instead; an order with a cap on its
matches ends with the last of them, whatever remains. Orders that expire leave by `Book.expire` before the epoch.

The rules themselves stand in `twinlock.kernels.matching_plain`, and compiled beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from twinlock.kernels.matching import work_off
from twinlock.protocol.book import Book
from twinlock.protocol.orders import CancelOrder, LimitOrder, Order, OrderStatus, Side, TradeOrder

_BUY = Side.BUY


class Match(msgspec.Struct, frozen=True, gc=False):
    """One fill, or one cancellation (then the taker is the cancel order).

    taker, maker: as they were before this epoch, or as they were submitted. quantity: base atoms. rate: the maker's.
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
    summary: (rate, signed quantity) as `epoch_report` gives them: runs of the same rate and side are added up.
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
    summary: tuple[tuple[int, int], ...] = ()

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
    """Match a shuffled queue against the book, changing the book. Numbers of orders must be below 2^63."""
    matches, lists, nomatch, numbers, trades = work_off(book.lot_size, book.buys, book.sells, queue, Match, replace)
    matched = Matched(matches, *lists, nomatch, Statistics(*numbers), trades)
    book.entered(matched.booked)
    return matched
