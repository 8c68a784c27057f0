"""What an order would lock and cost, held against what it then does; several orders in one call; splits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from tests.client.fake_server import LOT, MARKET
from tests.client.world import FUNDS, PIECES, RATE, World, world

from twinlock.client.drafts import LimitAsk
from twinlock.client.errors import OrderError
from twinlock.client.estimate import Estimate
from twinlock.client.store.records import OrderRecord
from twinlock.client.trader import Trader
from twinlock.client.wallet.errors import ShortFundsError
from twinlock.errors import TwinlockError
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.orders import Side

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


def ask(lots: int, **members: object) -> LimitAsk:
    return LimitAsk(market=MARKET, side=Side.SELL, quantity=lots * LOT, rate=RATE, **members)  # type: ignore[arg-type]


async def estimated(it: World, trader: Trader, wanted: LimitAsk) -> Estimate:
    return cast(Estimate, await it.call(trader.venue().estimate(wanted)))


async def several(it: World, asks: list[LimitAsk]) -> list[OrderRecord | TwinlockError]:
    return cast(list[OrderRecord | TwinlockError], await it.call(it.traders["alice"].venue().limits(asks)))


async def test_the_cost_of_a_swap_lies_between_best_and_worst_and_what_is_locked_is_exact(it: World) -> None:
    alice = it.traders["alice"]
    told = await estimated(it, alice, ask(3))
    assert (told.lots, told.pays, told.gets, told.value, told.missing) == (3, "ltc", "btc", 3 * LOT, 0)
    assert told.required < told.locked == FUNDS // PIECES
    assert told.required <= told.split_locked < told.locked
    before = it.total("alice")
    await it.call(alice.limit(MARKET, Side.SELL, 3 * LOT, RATE))
    assert alice.wallet("ltc").balance().locked == told.locked
    await it.close_epoch()
    await it.call(it.traders["bob"].limit(MARKET, Side.BUY, 3 * LOT, RATE))
    await it.close_epoch()
    await it.settle(lambda: all(swap.outcome == "swapped" for each in it.traders.values() for swap in each.swaps()))
    await it.until(lambda: alice.wallet("ltc").balance().locked == 0)
    after = it.total("alice")
    given, got = before["ltc"] - after["ltc"], after["btc"] - before["btc"]
    assert told.value < given <= told.worst.gives
    assert told.worst.gets <= got < 3 * LOT * RATE // 10**8
    assert abs(given - told.best.gives) < told.best.swap_fees
    assert told.best.swap_fees < told.worst.swap_fees < told.refund


async def test_the_largest_order_can_be_placed_and_one_lot_more_cannot(it: World) -> None:
    venue = it.traders["alice"].venue()
    most = venue.largest(MARKET, Side.BUY, RATE * 8_000)
    assert most.quantity == most.by_funds < most.by_tier
    assert (await estimated(it, it.traders["alice"], ask(1))).missing == 0
    fits = LimitAsk(market=MARKET, side=Side.BUY, quantity=most.quantity, rate=RATE * 8_000)
    assert (await estimated(it, it.traders["alice"], fits)).missing == 0
    larger = LimitAsk(market=MARKET, side=Side.BUY, quantity=most.quantity + LOT, rate=RATE * 8_000)
    short = await estimated(it, it.traders["alice"], larger)
    assert short.missing > 0
    assert short.locked == 0
    by_tier = venue.largest(MARKET, Side.SELL, RATE)
    assert by_tier.quantity == by_tier.by_tier == by_tier.lots * LOT


async def test_a_split_locks_no_more_than_is_needed(it: World) -> None:
    alice = it.traders["alice"]
    told = await estimated(it, alice, ask(2))
    order = await it.call(alice.venue().limit(MARKET, Side.SELL, 2 * LOT, RATE, split=True))
    assert isinstance(order, OrderRecord)
    await it.until(lambda: alice.wallet("ltc").balance().locked == told.split_locked)
    assert FUNDS - alice.wallet("ltc").balance().total <= told.split_fee
    await it.close_epoch()
    await it.call(alice.cancel(order.order_id))
    await it.close_epoch()
    await it.until(lambda: alice.wallet("ltc").balance().locked == 0)


async def test_several_orders_take_a_coin_each_or_a_split_makes_them(it: World) -> None:
    alice = it.traders["alice"]
    orders = await several(it, [ask(1), ask(2)])
    assert [order.status for order in orders if isinstance(order, OrderRecord)] == ["epoch"] * 2
    assert len(it.chains[2].mempool) == 0, "there were coins enough"
    more = await several(it, [ask(1, tag=f"m{number}") for number in range(PIECES)])
    assert [order.status for order in more if isinstance(order, OrderRecord)] == ["epoch"] * PIECES
    assert len(it.chains[2].mempool) == 1, "one transaction makes a coin for each"
    again = await several(it, [ask(1, tag=f"m{number}") for number in range(PIECES)])
    assert again == more
    assert len({coin for order in alice.orders() for coin in order.coins}) == 2 + PIECES


async def test_of_several_orders_none_is_placed_if_one_cannot_be(it: World) -> None:
    with pytest.raises(OrderError) as odd:
        await several(it, [ask(1), LimitAsk(market=MARKET, side=Side.SELL, quantity=LOT + 1, rate=RATE)])
    assert (odd.value.numbers, odd.value.fix) == (
        {"quantity": LOT + 1, "lot_size": LOT},
        "use 0.01 LTC or 0.02 LTC",
    )
    with pytest.raises(ShortFundsError):
        await several(it, [ask(60), ask(60)])
    assert it.server.asked("limit") == []
    assert it.traders["alice"].wallet("ltc").balance().locked == 0


async def test_what_the_server_refuses_of_several_is_told_of_each(it: World) -> None:
    it.server.refuse["limit"] = RpcError(ErrorCode.QUANTITY_TOO_HIGH, "too much")
    results = await several(it, [ask(1), ask(1)])
    assert [type(result) for result in results] == [RpcError, RpcError]
    assert it.traders["alice"].wallet("ltc").balance().locked == 0
