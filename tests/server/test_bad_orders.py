"""What intake still takes where a little more is refused (protocol section 5.7; the refusals are in `refusals`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.jump_clock import JumpClock
from tests.server.trader import Trader

from twinlock.chain.spend import Input
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.orders import PlaceLimit
from twinlock.protocol.orders import Side
from twinlock.seams import SystemClock
from twinlock.server.db.schema import orders

pytestmark = pytest.mark.anyio

E = ErrorCode
NOW = SystemClock().now_ms


async def refused(trader: Trader, order: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await trader.place(order)
    return caught.value


async def stored(exchange: Exchange) -> int:
    rows = await exchange.running.database.fetch(sa.select(orders.c.order_id), lambda row: row["order_id"])
    return len(rows)


def sell(trader: Trader, funds: Input, **changes: Any) -> PlaceLimit:
    return trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds, **changes)


async def test_a_refused_order_leaves_nothing(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    assert (await refused(trader, sell(trader, funds, quantity=4 * LOT))).rpc_code == E.FUNDING
    assert await stored(exchange) == 0
    assert len(exchange.running.manager.markets["ltc_btc"].services.locks[LTC]) == 0
    await trader.place(sell(trader, funds))
    assert await stored(exchange) == 1


async def test_an_unconfirmed_coin_with_too_low_a_fee(exchange: Exchange) -> None:
    trader = await exchange.trader()
    chain = exchange.chains[LTC]
    cheap = chain.spend(chain.fund(trader.new_key(), 3 * LOT), trader.new_key(), rate=1)
    fair = chain.spend(chain.fund(trader.new_key(), 3 * LOT), trader.new_key(), rate=10)
    error = await refused(trader, sell(trader, cheap))
    assert error.rpc_code == E.FUNDING
    assert "fee" in str(error)
    await trader.place(sell(trader, fair))


async def test_an_unconfirmed_coin_whose_fee_is_not_looked_up(exchange: Exchange) -> None:
    """Of more than a hundred inputs; the fee may be as high as it likes, so it is not called too low."""
    trader, chain = await exchange.trader(), exchange.chains[LTC]
    many = [chain.fund(trader.new_key(), LOT // 20) for _ in range(101)]
    error = await refused(trader, sell(trader, chain.join(many, trader.new_key(), rate=10)))
    assert (error.rpc_code, error.code) == (E.FUNDING, "rpc.funding")
    assert "[asset.fee_unknown] (inputs 101, most 100). wait for its first confirmation" in str(error)
    most = [chain.fund(trader.new_key(), LOT // 20) for _ in range(100)]
    await trader.place(sell(trader, chain.join(most, trader.new_key(), rate=10)))


async def test_more_parcels_than_the_tier_allows(exchange: Exchange) -> None:
    trader = await exchange.trader(tiers=1)
    funds = exchange.chains[LTC].fund(trader.new_key(), 100 * LOT)
    error = await refused(trader, trader.limit_order(MARKET, Side.SELL, 12 * LOT, RATE, funds))
    assert error.rpc_code == E.QUANTITY_TOO_HIGH
    await trader.place(trader.limit_order(MARKET, Side.SELL, 11 * LOT, RATE, funds))


async def test_a_market_buy_below_the_buffer(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[BTC].fund(trader.new_key(), 10 * LOT)
    seller = await exchange.trader()
    receipt = await seller.place(sell(seller, exchange.chains[LTC].fund(seller.new_key(), 3 * LOT)))
    await seller.booked(receipt.order_id, MARKET)
    # One lot costs LOT / 10 at this rate, and the buffer asks for a quarter more.
    assert (await refused(trader, trader.market_order(MARKET, Side.BUY, LOT // 10, funds))).rpc_code == E.FUNDING
    await trader.place(trader.market_order(MARKET, Side.BUY, LOT // 8, funds))


async def test_who_spends_the_coins_of_a_booked_order_loses_it_with_the_next_order(exchange: Exchange) -> None:
    trader = await exchange.trader()
    chain = exchange.chains[LTC]
    funds = chain.fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(sell(trader, funds))
    await trader.booked(receipt.order_id, MARKET)
    chain.spend(funds, trader.new_key())
    await trader.place(sell(trader, chain.fund(trader.new_key(), 3 * LOT)))
    assert (await trader.note(routes.REVOKE_ORDER)).order_id == receipt.order_id


async def test_booked_coins_are_looked_at_with_every_order_and_once_a_second_at_most(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path)
    exchange.clock = clock = JumpClock()
    try:
        await exchange.start()
        trader, market = await exchange.trader(), exchange.running.manager.markets["ltc_btc"]
        receipt = await trader.place(sell(trader, exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)))
        await trader.booked(receipt.order_id, MARKET)
        clock.jump(1 - clock.now_ms() % 1000 / 1000)
        looks = []
        for wait in (0.0, 0.5, 0.6):
            clock.jump(wait)
            looks.append([order.id for order in market.due_for_a_look(trader.account, LTC)])
        assert looks == [[receipt.order_id], [], [receipt.order_id]]
        assert market.due_for_a_look(trader.account, BTC) == []
    finally:
        await exchange.close()
