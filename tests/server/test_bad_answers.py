"""Answers and questions whose refusals the other tests do not reach, each with its code."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.server.conftest import BOND, BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.orders import OrderOptions, PreimageRequest, PreimageResponse
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio

E = ErrorCode


class Brief(Trader):
    """A trader whose preimages are a byte short."""

    def _answer(self, route: str, payload: Any) -> object:
        if isinstance(payload, PreimageRequest):
            return PreimageResponse(preimage=Hex(bytes(31)))
        return super()._answer(route, payload)


async def refusal(trader: Trader, order: Any) -> int:
    with pytest.raises(RpcError) as caught:
        await trader.place(order)
    return caught.value.rpc_code


async def test_orders_that_cannot_be_what_they_say(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    money = exchange.chains[BTC].fund(trader.new_key(), 3 * LOT)
    place, cancel = trader.limit_order, trader.cancel_order
    immediate = int(TimeInForce.IMMEDIATE)
    huge = 2**63 - 2**63 % LOT - LOT
    cases: dict[str, tuple[Any, ErrorCode]] = {
        "cancel of another account": (cancel(MARKET, bytes(32), account_id=Hex(bytes(32))), E.ORDER_PARAMETER),
        "cancel with a forged signature": (replace(cancel(MARKET, bytes(32)), sig=Hex(b"\x30")), E.SIGNATURE),
        "cancel on an unknown market": (cancel((42, 0), bytes(32)), E.UNKNOWN_MARKET_ERROR),
        "cancel without a signature": (replace(cancel(MARKET, bytes(32)), sig=Hex()), E.SIGNATURE),
        "market order of type 1": (trader.market_order(MARKET, Side.SELL, LOT, funds, order_type=1), E.ORDER_PARAMETER),
        "market order of no size": (trader.market_order(MARKET, Side.SELL, 0, funds), E.ORDER_PARAMETER),
        "market order off the lots": (trader.market_order(MARKET, Side.SELL, LOT + 1, funds), E.ORDER_PARAMETER),
        "market order on an unknown market": (
            replace(trader.market_order(MARKET, Side.SELL, LOT, funds), base=42),
            E.SIGNATURE,
        ),
        "more than there can be": (place(MARKET, Side.SELL, huge, RATE, funds), E.FUNDING),
        "immediate and post-only": (
            place(MARKET, Side.BUY, LOT, RATE, money, time_in_force=immediate, options=OrderOptions(post_only=True)),
            E.ORDER_PARAMETER,
        ),
    }
    found = {name: await refusal(trader, order) for name, (order, _) in cases.items()}
    assert found == {name: expected for name, (_, expected) in cases.items()}


async def test_a_preimage_of_another_length(exchange: Exchange) -> None:
    server = exchange.running
    async with Brief(f"wss://localhost:{server.port}/ws", server.certificate, exchange.chains, 99) as trader:
        await trader.register(BTC, 2 * BOND)
        funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
        receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
        assert (await trader.complaint()).rpc_code == E.INVALID_PREIMAGE
        assert (await trader.note(routes.REVOKE_ORDER)).order_id == receipt.order_id


async def test_an_acknowledgement_of_another_match(exchange: Exchange) -> None:
    maker, taker = await exchange.trader(), await exchange.trader()
    taker.acknowledge = lambda found: [
        replace(answer, match_id=Hex(bytes(32))) for answer in taker.acknowledge_all(found)
    ]
    funds = exchange.chains[LTC].fund(maker.new_key(), 3 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 3 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, LOT, RATE, money))
    assert (await taker.complaint()).rpc_code == E.ID_MISMATCH


async def test_candles_of_a_bin_that_nobody_keeps(exchange: Exchange) -> None:
    guest = await exchange.guest()
    with pytest.raises(RpcError) as caught:
        await guest.ask(routes.CANDLES, routes.CANDLES.payload(base=LTC, quote=BTC, bin_size="7m", count=5))
    assert caught.value.rpc_code == E.HTTP_ROUTE


async def test_an_order_sent_twice_is_taken_once(exchange: Exchange) -> None:
    trader = await exchange.trader()
    order = trader.limit_order(MARKET, Side.SELL, LOT, RATE, exchange.chains[LTC].fund(trader.new_key(), 3 * LOT))
    await trader.place(order)
    assert await refusal(trader, order) == E.FUNDING
