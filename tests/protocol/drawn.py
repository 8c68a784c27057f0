"""Whole epochs out of hypothesis: a book, and a queue to work off against it."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace
from tests.protocol.support import LOT, cancel, limit, market

from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import LimitOrder, Order, Side

BUY, SELL = Side.BUY, Side.SELL

RATES = st.integers(1, 12).map(lambda step: step * 10**7)
CAPS = st.sampled_from([0, 0, 0, 1, 2, 3])
OPTIONS = st.builds(OrderOptions, post_only=st.sampled_from([False, False, True]), max_matches=CAPS)


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[LimitOrder], list[Order]]:
    """A book without crossing orders, and a queue of every kind of order."""
    middle = draw(st.integers(3, 10))
    booked: list[LimitOrder] = []
    for number in range(draw(st.integers(0, 12))):
        side = draw(st.sampled_from(Side))
        rate = draw(st.integers(1, middle) if side is BUY else st.integers(middle + 1, 12)) * 10**7
        order = limit(side, rate, draw(st.integers(1, 6)), number=number, time=draw(st.integers(0, 3)))
        order = replace(order, options=draw(OPTIONS), filled=draw(st.integers(0, order.quantity // LOT - 1)) * LOT)
        booked.append(replace(order, matches=max(0, min(1, order.options.max_matches - 1))))
    queue: list[Order] = []
    for number in range(100, 100 + draw(st.integers(0, 14))):
        kind = draw(st.sampled_from(["limit", "limit", "immediate", "market", "cancel", "odd"]))
        side = draw(st.sampled_from(Side))
        if kind == "cancel":
            targets = [order.id for order in (*booked, *queue)] or [bytes(32)]
            queue.append(cancel(draw(st.sampled_from(targets)), number=number))
        elif kind == "market":
            amount = draw(st.integers(0, 60)) if side is BUY else draw(st.integers(1, 8)) * LOT
            queue.append(replace(market(side, amount, number=number), options=OrderOptions(max_matches=draw(CAPS))))
        elif kind == "odd":
            queue.append(market(SELL, draw(st.integers(1, 8)) * LOT + draw(st.integers(1, LOT - 1)), number=number))
        else:
            lots, time = draw(st.integers(1, 8)), draw(st.integers(4, 6))
            order = limit(side, draw(RATES), lots, number=number, time=time, standing=kind == "limit")
            options = draw(OPTIONS) if kind == "limit" else OrderOptions(max_matches=draw(CAPS))
            queue.append(replace(order, options=options))
    return booked, draw(st.permutations(queue))
