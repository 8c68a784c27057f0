"""A server that dies between an epoch's commit and its `match` requests: nobody was told, and nobody is blamed."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.messages.orders import OrderResult
from twinlock.protocol.messages.status import OrderStatusRequest
from twinlock.protocol.orders import OrderStatus, Side
from twinlock.server.db.history import account_matches, read_matches
from twinlock.server.market.manager import MarketManager

pytestmark = pytest.mark.anyio


def dies_when_the_book_is_empty(exchange: Exchange) -> asyncio.Event:
    """The epoch that takes the last order off the book is stored, and then nothing more happens; set when it is so."""
    dead, deaths = asyncio.Event(), list[asyncio.Task[None]]()

    async def die() -> None:
        await exchange.crash()
        dead.set()

    def stored(market: MarketManager, _epoch: int) -> None:
        if not len(market.book):
            deaths.append(asyncio.create_task(die()))

    exchange.running.manager.markets["ltc_btc"].on_epoch.append(stored)
    return dead


async def status(trader: Trader, receipt: OrderResult) -> OrderStatus:
    wanted = OrderStatusRequest(base=LTC, quote=BTC, order_id=receipt.order_id)
    [found] = await trader.ask(routes.ORDER_STATUS, [wanted])
    return OrderStatus(found.status)


async def test_matches_that_nobody_heard_of_end_without_blame_and_free_their_coins(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    sold = await maker.place(maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await maker.booked(sold.order_id, MARKET)
    dead = dies_when_the_book_is_empty(exchange)
    bought = await taker.place(taker.limit_order(MARKET, Side.BUY, 2 * LOT, RATE, money))
    async with asyncio.timeout(20):
        await dead.wait()
    await exchange.start()
    await until(lambda: len(exchange.running.manager.executor) == 0)
    [match] = await read_matches(exchange.running.database, account_matches(maker.account))
    assert (match.active, match.maker_match_sig, match.taker_match_sig) == (False, b"", b"")
    for trader, receipt in ((maker, sold), (taker, bought)):
        await exchange.reconnect(trader)
        result = await trader.connect()
        assert (result.active_matches, result.active_orders, result.score) == ([], [], 0)
        assert routes.MATCH.name not in trader.heard
        assert await status(trader, receipt) is OrderStatus.EXECUTED
    again = await maker.place(maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await maker.booked(again.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, 2 * LOT, RATE, money))
    [made] = await taker.note(routes.MATCH)
    await taker.counterparty(bytes(made.match_id))
