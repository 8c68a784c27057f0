"""The matcher against an oracle that is slow and obviously right, and the rules that a reader checks by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from msgspec.structs import replace
from tests.protocol.drawn import epochs
from tests.protocol.support import LOT, cancel, limit, market, vector

from twinlock.protocol.book import Book
from twinlock.protocol.matcher import match
from twinlock.protocol.orders import (
    CancelOrder,
    LimitOrder,
    MarketOrder,
    Order,
    OrderStatus,
    Side,
    TimeInForce,
    match_id,
)

BUY, SELL = Side.BUY, Side.SELL


@dataclass
class Oracle:
    """The rules of protocol section 6.7, word by word, over plain lists."""

    lot: int
    book: dict[bytes, LimitOrder]
    fills: list[tuple[bytes, bytes, int, int]] = field(default_factory=list)
    nomatch: set[bytes] = field(default_factory=set)
    ended: dict[bytes, OrderStatus] = field(default_factory=dict)

    def best(self, side: Side) -> LimitOrder | None:
        orders = [order for order in self.book.values() if order.side is side]
        sign = -1 if side is BUY else 1
        orders.sort(key=lambda order: (sign * order.rate, order.server_time, order.id))
        return orders[0] if orders else None

    def trade(self, taker: Order, maker: LimitOrder, amount: int) -> None:
        self.fills.append((taker.id, maker.id, amount, maker.rate))
        self.nomatch -= {taker.id, maker.id}
        counted = maker.matches + 1 if maker.options.max_matches else maker.matches
        self.book[maker.id] = rested = replace(maker, filled=maker.filled + amount, matches=counted)
        if rested.remaining == 0 or capped(rested, rested.matches):
            del self.book[maker.id]
            self.ended[maker.id] = OrderStatus.EXECUTED

    def run(self, queue: list[Order]) -> Oracle:
        for order in queue:
            if isinstance(order, CancelOrder):
                self.cancel(order)
            elif isinstance(order, MarketOrder) and order.side is BUY:
                self.market_buy(order)
            elif order.remaining % self.lot or order.remaining == 0:
                self.ended[order.id] = OrderStatus.EXECUTED
            else:
                self.limit_or_sell(order)
        return self

    def cancel(self, order: CancelOrder) -> None:
        self.ended[order.id] = OrderStatus.EXECUTED
        target = self.book.pop(order.target_id, None)
        if target is None:
            self.nomatch.add(order.id)
            return
        self.nomatch.discard(target.id)
        self.fills.append((order.id, target.id, target.remaining, target.rate))
        self.ended[target.id] = OrderStatus.CANCELED

    def limit_or_sell(self, order: LimitOrder | MarketOrder) -> None:
        rate = order.rate if isinstance(order, LimitOrder) else 0
        left, matches, ends = order.remaining, 0, False
        self.nomatch.add(order.id)
        while left and not capped(order, matches):
            maker = self.best(order.side.opposite)
            if maker is None or (maker.rate > rate if order.side is BUY else maker.rate < rate):
                break
            if order.options.post_only:
                ends = True
                break
            amount = min(left, maker.remaining)
            self.trade(order, maker, amount)
            left, matches = left - amount, matches + 1
        ends = ends or capped(order, matches)
        if left and not ends and isinstance(order, LimitOrder) and order.time_in_force is TimeInForce.STANDING:
            counted = matches if order.options.max_matches else 0
            self.book[order.id] = replace(order, filled=order.filled + order.remaining - left, matches=counted)
        else:
            self.ended[order.id] = OrderStatus.EXECUTED

    def market_buy(self, order: MarketOrder) -> None:
        left, matches = order.remaining, 0
        self.nomatch.add(order.id)
        self.ended[order.id] = OrderStatus.EXECUTED
        while not capped(order, matches) and (maker := self.best(SELL)) is not None:
            affordable = left * 10**8 // maker.rate
            if affordable < self.lot:
                break
            amount = maker.remaining if affordable >= maker.remaining else affordable // self.lot * self.lot
            self.trade(order, maker, amount)
            left, matches = left - amount * maker.rate // 10**8, matches + 1


def capped(order: LimitOrder | MarketOrder, matches: int) -> bool:
    return 0 < order.options.max_matches <= matches


@given(epochs())
def test_the_matcher_does_what_the_oracle_does(epoch: tuple[list[LimitOrder], list[Order]]) -> None:
    booked, queue = epoch
    book = Book(LOT, booked)
    oracle = Oracle(LOT, {order.id: order for order in booked}).run(queue)
    result = match(book, queue)

    fills = [(fill.taker.id, fill.maker.id, fill.quantity, fill.rate) for fill in result.matches]
    assert fills == oracle.fills
    assert all(fill.id == match_id(*row) for fill, row in zip(result.matches, fills, strict=True))
    assert {order.id: order for order in book} == oracle.book
    assert set(result.nomatch) == oracle.nomatch
    assert len(result.nomatch) == len(oracle.nomatch)
    ended = {order.id: status for order, status in result.statuses() if not status.active}
    assert ended == oracle.ended


@given(epochs())
def test_what_the_matcher_reports_leads_from_the_old_book_to_the_new(
    epoch: tuple[list[LimitOrder], list[Order]],
) -> None:
    booked, queue = epoch
    book = Book(LOT, booked)
    before = book.copy()
    result = match(book, queue)

    view = {order.id: order for order in before}
    for order in result.booked:
        assert order.id not in view
        view[order.id] = order
    for order in result.updated:
        assert view[order.id].remaining > order.remaining
        view[order.id] = order
    for order in result.unbooked:
        del view[order.id]
    assert view == {order.id: order for order in book}
    assert [order.id for order in before] == [order.id for order in Book(LOT, booked)], "a copy must not change"


@given(epochs())
def test_nothing_is_made_or_lost(epoch: tuple[list[LimitOrder], list[Order]]) -> None:
    booked, queue = epoch
    result = match(Book(LOT, booked), queue)
    trades = [fill for fill in result.matches if not fill.cancels]
    filled = {order.id: order.filled for order in booked}
    for order, _ in result.statuses():
        if isinstance(order, LimitOrder):
            gained = sum(fill.quantity for fill in trades if order.id in (fill.taker.id, fill.maker.id))
            assert order.filled == filled.get(order.id, 0) + gained
            assert 0 <= order.filled <= order.quantity
    assert result.statistics.volume == sum(fill.quantity for fill in trades)
    assert sum(abs(quantity) for _, quantity in result.summary) == result.statistics.volume
    for fill in trades:
        assert fill.quantity > 0
        assert isinstance(fill.taker, LimitOrder | MarketOrder)
        if isinstance(fill.taker, LimitOrder):
            crosses = fill.rate <= fill.taker.rate if fill.taker.side is BUY else fill.rate >= fill.taker.rate
            assert crosses


def test_a_cancel_before_its_target_fails_and_does_not_touch_it() -> None:
    target = limit(SELL, 5 * 10**7, 2, number=1)
    result = match(book := Book(LOT), [cancel(target.id, number=2), target])
    assert [order.id for order in book] == [target.id]
    assert len(result.cancels_failed) == 1
    assert set(result.nomatch) == {result.cancels_failed[0].id, target.id}


def test_a_cancel_after_its_target_takes_what_remains() -> None:
    target = limit(SELL, 5 * 10**7, 3, number=1)
    taker = limit(BUY, 5 * 10**7, 1, number=2)
    result = match(book := Book(LOT), [target, taker, cancel(target.id, number=3)])
    assert len(book) == 0
    assert [(fill.quantity, fill.cancels) for fill in result.matches] == [(LOT, False), (2 * LOT, True)]
    assert result.canceled[0].filled == LOT
    assert result.nomatch == []


def test_a_standing_order_without_a_match_is_booked_and_told_so() -> None:
    order = limit(BUY, 10**7, 1, number=1)
    result = match(Book(LOT), [order])
    assert result.booked == [order]
    assert result.nomatch == [order.id]


def test_the_maker_sets_the_rate_and_time_breaks_ties() -> None:
    late, early = limit(SELL, 10**7, 1, number=1, time=9), limit(SELL, 10**7, 1, number=2, time=8)
    result = match(Book(LOT, [late, early]), [limit(BUY, 3 * 10**7, 2, number=3)])
    assert [fill.maker.id for fill in result.matches] == [early.id, late.id]
    assert {fill.rate for fill in result.matches} == {10**7}


def test_the_order_id_breaks_ties_of_time() -> None:
    pair = [limit(SELL, 10**7, 1, number=number) for number in (1, 2)]
    result = match(Book(LOT, pair), [limit(BUY, 10**7, 1, number=3)])
    assert result.matches[0].maker.id == min(order.id for order in pair)


def test_a_market_buy_spends_quote_atoms_in_whole_lots_and_keeps_the_rest() -> None:
    makers = [limit(SELL, 10**8, 2, number=1), limit(SELL, 2 * 10**8, 5, number=2)]
    result = match(Book(LOT, makers), [market(BUY, 75, number=3)])
    # 20 atoms at 1:1 cost 20; the remaining 55 buy 27 at 1:2, rounded down to 20, for 40; 15 stay unspent.
    assert [(fill.quantity, fill.rate) for fill in result.matches] == [(20, 10**8), (20, 2 * 10**8)]
    assert result.completed[-1].remaining == 15


def test_quote_volume_is_floored_per_match() -> None:
    makers = [limit(SELL, 15 * 10**6, 1, number=number) for number in (1, 2)]
    result = match(Book(LOT, makers), [limit(BUY, 15 * 10**6, 2, number=3)])
    assert result.statistics.quote_volume == 1 + 1  # 10 * 0.15 = 1.5 each


def test_a_users_own_orders_match_each_other() -> None:
    result = match(Book(LOT, [limit(SELL, 10**7, 1, number=1)]), [limit(BUY, 10**7, 1, number=2)])
    assert len(result.matches) == 1


def test_match_id_vector() -> None:
    given, expected = vector("match-id")
    identity = match_id(bytes.fromhex(given["taker"]), bytes.fromhex(given["maker"]), given["qty"], given["rate"])
    assert identity.hex() == expected["matchid"]


def test_match_set_volume_vector() -> None:
    given, expected = vector("matchset-quote-volume")
    pairs = enumerate(zip(given["rates"], given["amounts"], strict=True))
    makers = [replace(limit(SELL, rate, 1, number=number), quantity=amount) for number, (rate, amount) in pairs]
    taker = replace(limit(BUY, max(given["rates"]), 1, number=100), quantity=sum(given["amounts"]))
    numbers = match(Book(1, makers), [taker]).statistics
    assert (numbers.quote_volume, numbers.high) == (expected["quote_volume"], expected["high"])


def test_the_summary_adds_up_runs_of_one_rate_and_side() -> None:
    makers = [limit(SELL, 10**7, 1, number=1), limit(SELL, 10**7, 1, number=2), limit(SELL, 2 * 10**7, 1, number=3)]
    result = match(Book(LOT, makers), [limit(BUY, 2 * 10**7, 3, number=4)])
    assert result.summary == ((10**7, -2 * LOT), (2 * 10**7, -LOT))


@pytest.mark.parametrize("side", Side)
def test_the_book_iterates_best_first(side: Side) -> None:
    orders = [limit(side, rate * 10**7, 1, number=rate) for rate in (3, 1, 2)]
    rates = [order.rate // 10**7 for order in Book(LOT, orders)]
    assert rates == ([3, 2, 1] if side is BUY else [1, 2, 3])
