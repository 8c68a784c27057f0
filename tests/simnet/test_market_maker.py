"""The price moves in steps around where it began, and a market maker quotes both sides of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.client.store.living import Look
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError
from twinlock.protocol.orders import OrderType, Side
from twinlock.seams import SeededEntropy
from twinlock.simnet.market_maker import MarketMaker, MovingPrice


@given(st.integers(0, 2**32), st.integers(1, 1_000), st.integers(1, 100))
def test_the_price_is_a_positive_multiple_of_the_step_and_stays_near(seed: int, step: int, swing: int) -> None:
    start = 5_000 * step
    price = MovingPrice(start, step, SeededEntropy(seed), swing)
    moved = [price.move() for _ in range(200)]
    assert all(each % step == 0 and each > 0 for each in moved)
    assert all(abs(each - start) <= 4 * (swing + 1) * step for each in moved)
    assert len(set(moved)) > 1
    assert price.now == moved[-1]


class Exchange:
    """A trader's side of an exchange on which every order stands at once."""

    def __init__(self, refusal: TwinlockError | None = None) -> None:
        self.placed: list[Any] = []
        self._refusal = refusal

    def orders(self, look: Look) -> list[Any]:
        return [order for order in self.placed if look.at_open and order.active]

    async def limit(self, market: str, side: Side, quantity: int, rate: int) -> None:
        if self._refusal:
            raise self._refusal
        order = SimpleNamespace(market=market, side=side, quantity=quantity, rate=rate)
        order.status, order.active, order.type = "booked", True, OrderType.LIMIT
        order.order_id = len(self.placed).to_bytes(32)
        self.placed.append(order)

    async def cancel(self, order_id: bytes) -> None:
        order = self.placed[int.from_bytes(order_id)]
        order.status, order.active = "canceled", False


@pytest.mark.anyio
async def test_old_quotes_leave_before_new_ones_come() -> None:
    exchange, complaints = Exchange(), list[TwinlockError]()
    maker = MarketMaker(cast("Trader", exchange), "ltc_btc", 50_000_000, step=100, spread=5)
    await maker.quote(150_000, complaints.append)
    assert [(order.side, order.rate) for order in exchange.placed] == [(Side.BUY, 149_500), (Side.SELL, 150_500)]

    await maker.quote(160_000, complaints.append)
    assert [order.status for order in exchange.placed] == ["canceled", "canceled"]
    await maker.quote(170_000, complaints.append)
    assert [order.rate for order in exchange.placed[2:]] == [169_500, 170_500]
    assert complaints == []


@pytest.mark.anyio
async def test_a_refusal_is_told_and_not_raised() -> None:
    refusal, complaints = TwinlockError("too little money"), list[TwinlockError]()
    maker = MarketMaker(cast("Trader", Exchange(refusal)), "ltc_btc", 50_000_000, step=100)
    await maker.quote(150_000, complaints.append)
    assert complaints == [refusal]
