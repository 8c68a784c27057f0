"""The compiled matching against its twin, over whole lives of a book; and orders that are not what they should be."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace
from tests.kernels.twins import needs_compiled
from tests.protocol.drawn import epochs
from tests.protocol.support import LOT, cancel, limit, market

from twinlock.kernels.matching import BookSide, BookSidePlain, work_off, work_off_plain
from twinlock.protocol.matcher import Match
from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import LimitOrder, Order, Side

BUY, SELL = Side.BUY, Side.SELL
TOP = 2**63 - 1
Run = Callable[..., Any]
BOTH = pytest.mark.parametrize(("make", "run"), [(BookSide, work_off), (BookSidePlain, work_off_plain)])


class Sides:
    """The same orders in the compiled sides and in the plain ones."""

    def __init__(self, booked: list[LimitOrder]) -> None:
        buys = [order for order in booked if order.side is BUY]
        sells = [order for order in booked if order.side is SELL]
        self.compiled = BookSide(True, buys), BookSide(False, sells)
        self.plain = BookSidePlain(True, buys), BookSidePlain(False, sells)

    def work_off(self, queue: list[Order]) -> Any:
        """What both say that the queue did."""
        told = work_off(LOT, *self.compiled, queue, Match, replace)
        assert told == work_off_plain(LOT, *self.plain, queue, Match, replace)
        self.agree()
        return told

    def agree(self) -> None:
        for compiled, plain in zip(self.compiled, self.plain, strict=True):
            assert list(compiled) == list(plain)
            assert len(compiled) == len(plain)
            assert compiled.best() == plain.best()


@given(epochs())
def test_both_do_the_same(epoch: tuple[list[LimitOrder], list[Order]]) -> None:
    booked, queue = epoch
    Sides(booked).work_off(queue)


def drawn(rnd: random.Random, number: int, *, far: bool = False) -> Order:
    """Any order: few rates and times, so that ties are frequent. far: one that waits on its side."""
    side, lots = rnd.choice([BUY, SELL]), rnd.randrange(1, 9)
    if not far and rnd.random() < 0.1:
        return market(side, rnd.randrange(1, 90) if side is BUY else lots * LOT, number=number)
    away = rnd.randrange(30, 60) if far else rnd.randrange(-6, 12)
    rate = (100 + (away if side is SELL else -away)) * 10**6
    order = limit(side, rate, lots, number=number, time=rnd.randrange(3), standing=far or rnd.random() < 0.8)
    if rnd.random() < 0.2:
        options = OrderOptions(post_only=rnd.random() < 0.5, max_matches=rnd.randrange(4))
        return replace(order, options=options)
    return order


@pytest.mark.parametrize("seed", range(4))
def test_a_long_life_of_a_book(seed: int) -> None:
    """Epoch after epoch on the same sides: places are used again, ranks are left behind and swept away."""
    rnd = random.Random(seed)
    sides, number, known = Sides([]), 0, [bytes(32)]
    traded = 0
    for epoch in range(40):
        queue: list[Order] = []
        for _ in range(rnd.randrange(120)):
            number += 1
            if rnd.random() < 0.25:
                queue.append(cancel(rnd.choice(known[-400:]), number=number))
            else:
                queue.append(drawn(rnd, number, far=epoch % 7 == 0))
                known.append(queue[-1].id)
        matches, *_ = sides.work_off(queue)
        traded += len(matches)
        if epoch % 5 == 0:
            buys, sells = sides.compiled
            sides.compiled = buys.copy(), sells.copy()
        for compiled, plain in zip(sides.compiled, sides.plain, strict=True):
            for order_id in rnd.sample(known, min(len(known), 30)):
                assert compiled.remove(order_id) == plain.remove(order_id)
    assert traded > 500


class Lives(RuleBasedStateMachine):
    """Orders come and go on one side."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled: Any = BookSide(True)
        self.plain: Any = BookSidePlain(True)
        self.copies: list[tuple[Any, list[LimitOrder]]] = []

    @rule(number=st.integers(0, 90), rate=st.integers(1, 3), time=st.integers(0, 2), count=st.integers(1, 60))
    def insert(self, number: int, rate: int, time: int, count: int) -> None:
        for at in range(number, number + count):
            order = limit(BUY, rate, 1, number=at, time=time)
            resting = self.plain.get(order.id)
            if resting is not None:
                order = replace(resting, filled=resting.filled + 1)
            self.compiled.insert(order)
            self.plain.insert(order)

    @rule(number=st.integers(0, 90), count=st.integers(1, 90))
    def remove(self, number: int, count: int) -> None:
        for at in range(number, number + count):
            order_id = limit(BUY, 1, 1, number=at).id
            assert (order_id in self.compiled) == (order_id in self.plain)
            assert self.compiled.get(order_id) == self.plain.get(order_id)
            assert self.compiled.remove(order_id) == self.plain.remove(order_id)

    @rule()
    def copy(self) -> None:
        self.copies.append((self.compiled.copy(), list(self.plain)))

    @invariant()
    def equal(self) -> None:
        assert self.compiled.best() == self.plain.best()
        assert len(self.compiled) == len(self.plain)
        assert list(self.compiled) == list(self.plain)

    def teardown(self) -> None:
        for twin, orders in self.copies:
            assert list(twin) == orders, "a copy lives on its own"


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestLives = Lives.TestCase


@BOTH
def test_amounts_up_to_the_limit(make: Any, run: Run) -> None:
    """Volumes beyond 64 bits are added up, and a market buy's means too."""
    huge = [replace(limit(SELL, TOP, 1, number=number), quantity=TOP - TOP % LOT) for number in range(3)]
    sells = make(False, huge)
    takers = [replace(limit(BUY, TOP, 1, number=number), quantity=TOP - TOP % LOT) for number in (10, 11)]
    matches, _, _, numbers, trades = run(LOT, make(True), sells, takers, Match, replace)
    volume = 2 * (TOP - TOP % LOT)
    assert numbers == (volume, 2 * (TOP * (TOP - TOP % LOT) // 10**8), TOP, TOP, TOP, TOP)
    assert trades == ((TOP, -volume),)
    assert len(matches) == 2
    cheap = make(False, [limit(SELL, 1, 5, number=20)])
    matches, *_ = run(LOT, make(True), cheap, [market(BUY, TOP, number=21)], Match, replace)
    assert [match.quantity for match in matches] == [5 * LOT]


@BOTH
def test_what_is_left_below_a_lot_does_not_rest(make: Any, run: Run) -> None:
    odd = replace(limit(SELL, 5, 2, number=1), filled=LOT // 2)
    _, lists, nomatch, *_ = run(LOT, make(True), make(False, [odd]), [limit(BUY, 5, 2, number=2)], Match, replace)
    booked, _, _, completed, *_ = lists
    assert booked == []
    assert [order.filled for order in completed] == [2 * LOT, LOT + LOT // 2]
    assert nomatch == []


BAD: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"id": "text"}, TypeError),
    ({"rate": -1}, OverflowError),
    ({"rate": TOP + 1}, OverflowError),
    ({"quantity": 2**200}, OverflowError),
    ({"quantity": "7"}, TypeError),
    ({"filled": -5}, OverflowError),
    ({"server_time": None}, TypeError),
    ({"matches": 1.5}, TypeError),
    ({"options": None}, AttributeError),
    ({"options": SimpleNamespace(max_matches=TOP + 1, post_only=False)}, OverflowError),
]


def loose(**changed: Any) -> SimpleNamespace:
    """A limit order whose attributes may be anything."""
    plain = limit(BUY, 10, 1, number=1)
    names = ("id", "side", "rate", "quantity", "filled", "matches", "server_time", "options", "time_in_force")
    return SimpleNamespace(**{name: getattr(plain, name) for name in names} | {"order_type": 1} | changed)


@needs_compiled
@pytest.mark.parametrize(("changed", "error"), BAD)
def test_orders_that_are_not_what_they_should_be_change_nothing(
    changed: dict[str, Any], error: type[Exception]
) -> None:
    maker = limit(SELL, 5, 3, number=2)
    buys, sells = BookSide[Any](True), BookSide[Any](False, [maker])
    with pytest.raises(error):
        buys.insert(loose(**changed))
    with pytest.raises(error):
        work_off(LOT, buys, sells, [limit(BUY, 5, 1, number=3), loose(**changed)], Match, replace)
    assert list(buys) == []
    assert list(sells) == [maker]


@needs_compiled
def test_sides_and_lot_are_checked() -> None:
    buys, sells = BookSide[LimitOrder](True), BookSide[LimitOrder](False)
    for lot, one, other in ((0, buys, sells), (LOT, sells, buys), (LOT, buys, buys)):
        with pytest.raises(ValueError, match="lot"):
            work_off(lot, one, other, [], Match, replace)
    with pytest.raises(TypeError):
        work_off(LOT, buys, None, [], Match, replace)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        buys.remove([])  # type: ignore[arg-type]


@needs_compiled
def test_nobody_changes_a_side_while_it_is_matched() -> None:
    maker, taker = limit(SELL, 5, 1, number=1), limit(BUY, 5, 3, number=2)
    buys, sells = BookSide[LimitOrder](True), BookSide(False, [maker])

    def make(*_: Any) -> None:
        for change in (lambda: sells.remove(maker.id), lambda: buys.insert(taker), sells.best, buys.copy):
            with pytest.raises(RuntimeError, match="being matched"):
                change()
        work_off(LOT, buys, sells, [], Match, replace)

    with pytest.raises(RuntimeError, match="being matched"):
        work_off(LOT, buys, sells, [taker], make, replace)
    assert [order.filled for order in buys] == [LOT], "what was matched stays matched"
    assert len(sells) == 0
    work_off(LOT, buys, sells, [limit(SELL, 5, 1, number=3)], Match, replace)
    assert [order.filled for order in buys] == [2 * LOT]


@needs_compiled
def test_what_cannot_be_made_is_an_error_and_the_book_stays_whole() -> None:
    maker, taker = limit(SELL, 5, 3, number=1), limit(BUY, 5, 1, number=2)
    sells = BookSide(False, [maker])

    def fails(*_: Any, **__: Any) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        work_off(LOT, BookSide(True), sells, [taker], Match, fails)
    _, (_, updated, unbooked, *_), *_ = work_off(LOT, BookSide(True), sells, [], Match, replace)
    assert (updated, unbooked) == ([], [])
    _, (_, _, unbooked, *_), *_ = work_off(LOT, BookSide(True), sells, [limit(BUY, 5, 2, number=3)], Match, replace)
    assert [order.filled for order in unbooked] == [3 * LOT], "the fill before counts"


@needs_compiled
def test_an_attribute_that_changes_the_side_while_it_is_read() -> None:
    side: BookSide[Any] = BookSide(True, [limit(BUY, 10, 1, number=number) for number in range(100, 200)])

    class Meddler:
        """An order whose rate empties the side."""

        def __getattr__(self, name: str) -> Any:
            if name == "rate":
                for order in list(side):
                    side.remove(order.id)
            return getattr(limit(BUY, 10, 1, number=7), name)

    side.insert(Meddler())
    assert len(side) == 1


@needs_compiled
def test_every_order_is_let_go() -> None:
    """No reference is kept by what is gone, nor given away twice."""
    rnd = random.Random(5)
    orders = [drawn(rnd, number) for number in range(300)]
    orders += [cancel(order.id, number=1_000 + at) for at, order in enumerate(orders[::3])]
    gc.collect()
    before = [sys.getrefcount(order) for order in orders]
    buys, sells = BookSide[Any](True), BookSide[Any](False)
    for _ in range(3):
        told = work_off(LOT, buys, sells, orders, Match, replace)
        twin = buys.copy(), list(sells), buys.best()
    del told, twin, buys, sells
    gc.collect()
    assert [sys.getrefcount(order) for order in orders] == before
