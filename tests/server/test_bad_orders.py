"""Every refusal at intake, with its code, and nothing stored (protocol section 5.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.trader import Trader

from twinlock.chain.spend import Input
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import CLOCK_TOLERANCE_MS
from twinlock.protocol.messages.orders import PlaceLimit
from twinlock.protocol.orders import Side
from twinlock.protocol.wire import Hex
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


def with_coin(trader: Trader, funds: Input, **changes: Any) -> PlaceLimit:
    return sell(trader, funds, coins=[replace(sell(trader, funds).coins[0], **changes)])


Make = Callable[[Trader, Input], PlaceLimit]

CASES: dict[str, tuple[Make, ErrorCode]] = {
    "another account": (lambda t, f: sell(t, f, account_id=Hex(bytes(32))), E.ORDER_PARAMETER),
    "unknown market": (lambda t, f: sell(t, f, base=42), E.UNKNOWN_MARKET_ERROR),
    "side 3": (lambda t, f: sell(t, f, side=3), E.ORDER_PARAMETER),
    "order type of another route": (lambda t, f: sell(t, f, order_type=2), E.ORDER_PARAMETER),
    "rate 0": (lambda t, f: sell(t, f, rate=0), E.ORDER_PARAMETER),
    "rate off the step": (lambda t, f: sell(t, f, rate=RATE + 1), E.ORDER_PARAMETER),
    "time in force 3": (lambda t, f: sell(t, f, time_in_force=3), E.ORDER_PARAMETER),
    "clock behind": (lambda t, f: sell(t, f, client_time=NOW() - CLOCK_TOLERANCE_MS - 1), E.CLOCK_RANGE),
    "clock ahead": (lambda t, f: sell(t, f, client_time=NOW() + CLOCK_TOLERANCE_MS + 5_000), E.CLOCK_RANGE),
    "server time set": (lambda t, f: sell(t, f, server_time=NOW()), E.ORDER_PARAMETER),
    "address of another chain": (
        lambda t, f: sell(t, f, address=t.chains[LTC].address(t.new_key())),
        E.ORDER_PARAMETER,
    ),
    "address not canonical": (
        lambda t, f: sell(t, f, address=t.chains[BTC].address(t.new_key()).upper()),
        E.ORDER_PARAMETER,
    ),
    "quantity 0": (lambda t, f: sell(t, f, quantity=0), E.ORDER_PARAMETER),
    "quantity off the lot size": (lambda t, f: sell(t, f, quantity=LOT + 1), E.ORDER_PARAMETER),
    "no coins": (lambda t, f: sell(t, f, coins=[]), E.FUNDING),
    "coin without signature": (lambda t, f: with_coin(t, f, signatures=[]), E.SIGNATURE),
    "coin with too few keys": (lambda t, f: with_coin(t, f, public_keys=[]), E.ORDER_PARAMETER),
    "coin ID too short": (lambda t, f: with_coin(t, f, coin_id=Hex(bytes(35))), E.FUNDING),
    "coin signed by a stranger": (
        lambda t, f: with_coin(t, f, signatures=[Hex(t.new_key().sign(bytes(32)))]),
        E.COIN_AUTH,
    ),
    "coin of a stranger": (lambda t, f: with_coin(t, f, public_keys=[Hex(t.new_key().public)]), E.COIN_AUTH),
    "the same coin twice": (lambda t, f: sell(t, f, coins=sell(t, f).coins * 2), E.FUNDING),
    "commitment too short": (lambda t, f: sell(t, f, commitment=Hex(bytes(31))), E.ORDER_PARAMETER),
    "commitment all zero": (lambda t, f: sell(t, f, commitment=Hex(bytes(32))), E.UNKNOWN_MARKET_ERROR),
    "more than the coins hold": (lambda t, f: sell(t, f, quantity=4 * LOT), E.FUNDING),
    "rate below the quote chain's dust": (lambda t, f: sell(t, f, rate=100), E.UNKNOWN_MARKET_ERROR),
}


async def test_each_bad_order_gets_its_code_and_leaves_nothing(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    found = {name: (await refused(trader, make(trader, funds))).rpc_code for name, (make, _) in CASES.items()}
    assert found == {name: code for name, (_, code) in CASES.items()}
    assert await stored(exchange) == 0
    await trader.place(sell(trader, funds))
    assert await stored(exchange) == 1


async def test_a_bad_signature(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    forged = replace(sell(trader, funds), sig=sell(trader, funds, quantity=LOT).sig)
    assert (await refused(trader, forged)).rpc_code == E.SIGNATURE


async def test_a_locked_coin_funds_no_second_order(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    await trader.place(sell(trader, funds))
    assert (await refused(trader, sell(trader, funds))).rpc_code == E.FUNDING


async def test_a_spent_coin(exchange: Exchange) -> None:
    trader = await exchange.trader()
    chain = exchange.chains[LTC]
    funds = chain.fund(trader.new_key(), 3 * LOT)
    chain.spend(funds, trader.new_key())
    assert (await refused(trader, sell(trader, funds))).rpc_code == E.FUNDING


async def test_an_unconfirmed_coin_with_too_low_a_fee(exchange: Exchange) -> None:
    trader = await exchange.trader()
    chain = exchange.chains[LTC]
    cheap = chain.spend(chain.fund(trader.new_key(), 3 * LOT), trader.new_key(), rate=1)
    fair = chain.spend(chain.fund(trader.new_key(), 3 * LOT), trader.new_key(), rate=10)
    error = await refused(trader, sell(trader, cheap))
    assert error.rpc_code == E.FUNDING
    assert "fee" in str(error)
    await trader.place(sell(trader, fair))


async def test_a_commitment_is_used_once(exchange: Exchange) -> None:
    trader = await exchange.trader()
    chain = exchange.chains[LTC]
    first = sell(trader, chain.fund(trader.new_key(), 3 * LOT))
    await trader.place(first)
    again = sell(trader, chain.fund(trader.new_key(), 3 * LOT), commitment=first.commitment)
    # The first may have left its epoch by now; then only the coins would be at stake, and those are others.
    error = await refused_or_placed(trader, again)
    assert error is None or error.rpc_code == E.UNKNOWN_MARKET_ERROR


async def refused_or_placed(trader: Trader, order: PlaceLimit) -> RpcError | None:
    try:
        await trader.place(order)
    except RpcError as error:
        return error
    return None


async def test_more_parcels_than_the_tier_allows(exchange: Exchange) -> None:
    trader = await exchange.trader(tiers=1)
    funds = exchange.chains[LTC].fund(trader.new_key(), 100 * LOT)
    error = await refused(trader, trader.limit_order(MARKET, Side.SELL, 12 * LOT, RATE, funds))
    assert error.rpc_code == E.QUANTITY_TOO_HIGH
    await trader.place(trader.limit_order(MARKET, Side.SELL, 11 * LOT, RATE, funds))


async def test_a_cancel_of_nothing(exchange: Exchange) -> None:
    trader = await exchange.trader()
    assert (await refused(trader, trader.cancel_order(MARKET, bytes(32)))).rpc_code == E.UNKNOWN_ORDER
    assert (await refused(trader, trader.cancel_order(MARKET, bytes(31)))).rpc_code == E.ORDER_PARAMETER


async def test_a_cancel_of_a_strangers_order(exchange: Exchange) -> None:
    owner, stranger = await exchange.trader(), await exchange.trader()
    funds = exchange.chains[LTC].fund(owner.new_key(), 3 * LOT)
    receipt = await owner.place(sell(owner, funds))
    error = await refused(stranger, stranger.cancel_order(MARKET, receipt.order_id))
    assert error.rpc_code == E.UNKNOWN_MARKET_ERROR


async def test_orders_need_a_login(exchange: Exchange) -> None:
    trader = await exchange.guest()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    assert (await refused(trader, sell(trader, funds))).rpc_code == E.UNAUTHORIZED


async def test_an_account_whose_bonds_stopped_counting_may_not_trade(exchange: Exchange) -> None:
    trader = await exchange.trader()
    account = exchange.running.manager.accounts.get(trader.account)
    assert account is not None
    account.bonds.clear()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    assert (await refused(trader, sell(trader, funds))).rpc_code == E.ACCOUNT_CLOSED


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
