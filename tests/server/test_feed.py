"""The market feed: whoever follows it has the book that the exchange has, and can prove it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.test_market_data import trade
from tests.server.trader import PATIENCE_S
from websockets.asyncio.client import ClientConnection, connect

from twinlock.gate.waiting_room import WaitingRoom
from twinlock.protocol import routes
from twinlock.protocol.orders import Side
from twinlock.server.comms.listener import Address, listen
from twinlock.server.http.feed import MarketFeed
from twinlock.server.http.feed_messages import checksum
from twinlock.server.http.market_data import MarketData, Page
from twinlock.server.http.shapes import Trade, TradesQuery

pytestmark = pytest.mark.anyio

Side_ = dict[str, str]


class Follower:
    """Keeps the book as a program would, from the documented messages alone."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []
        self.bids: Side_ = {}
        self.asks: Side_ = {}
        self.sequence = -1

    async def ask(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def until(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                self.seen.append(message)
                self.take(message)
                if message["type"] == kind:
                    return message

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "book_snapshot":
            self.bids, self.asks = dict(message["bids"]), dict(message["asks"])
        elif message["type"] == "book_update":
            assert message["sequence"] == self.sequence + 1
            for side, levels in ((self.bids, message["bids"]), (self.asks, message["asks"])):
                for price, amount in levels:
                    side[price] = amount
                    if amount == "0":
                        del side[price]
        else:
            return
        self.sequence = message["sequence"]
        assert checksum(self.best(self.bids, -1), self.best(self.asks, 1)) == message["checksum"]

    @staticmethod
    def best(side: Side_, sign: int) -> list[tuple[str, str]]:
        return sorted(side.items(), key=lambda level: sign * float(level[0]))


def follow(exchange: Exchange) -> connect:
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    return connect(f"wss://localhost:{exchange.running.port}/api/v1/ws", ssl=context)


async def test_a_follower_has_the_exchange_s_book(exchange: Exchange) -> None:
    async with follow(exchange) as socket:
        follower = Follower(socket)
        await follower.ask(op="subscribe", channel="book", ticker_id="ltc_btc", id=7)
        assert await follower.until("subscribed") == {
            "type": "subscribed",
            "id": 7,
            "channel": "book",
            "ticker_id": "LTC_BTC",
        }
        assert (await follower.until("book_snapshot"))["asks"] == []
        await follower.ask(op="subscribe", channel="trades", ticker_id="LTC_BTC")
        assert (await follower.until("trades"))["trades"] == []
        await trade(exchange)
        [done] = (await follower.until("trades"))["trades"]
        assert (done["price"], done["base_volume"], done["type"]) == ("0.1", "0.01", "buy")
        while follower.asks != {"0.1": "0.02"}:
            await follower.until("book_update")
        late = Follower(await follow(exchange))
        await late.ask(op="subscribe", channel="book", ticker_id="LTC_BTC")
        await late.until("book_snapshot")
        assert (late.asks, late.sequence) == (follower.asks, follower.sequence)
        [market] = exchange.running.manager.markets.values()
        await market.revoke(list(market.book))
        for each in (follower, late):
            while each.asks:
                await each.until("book_update")
        await late.socket.close()


async def test_the_ticker_comes_after_every_epoch_until_it_is_unsubscribed(exchange: Exchange) -> None:
    async with follow(exchange) as socket:
        follower = Follower(socket)
        await follower.ask(op="subscribe", channel="ticker", ticker_id="LTC_BTC")
        for _ in range(3):
            assert (await follower.until("ticker"))["ticker"]["ticker_id"] == "LTC_BTC"
        await follower.ask(op="unsubscribe", channel="ticker", ticker_id="LTC_BTC", id=3)
        await follower.until("unsubscribed")
        follower.seen.clear()
        guest = await exchange.guest()
        base, quote = MARKET
        await guest.ask(routes.ORDERBOOK, routes.ORDERBOOK.payload(base=base, quote=quote))
        await guest.note(routes.EPOCH_REPORT)
        await follower.ask(op="ping", id=9)
        assert (await follower.until("pong"))["id"] == 9
        assert [message["type"] for message in follower.seen] == ["pong"]


async def test_bad_messages_are_refused_and_many_of_them_end_the_link(exchange: Exchange) -> None:
    async with follow(exchange) as socket:
        follower = Follower(socket)
        for text, code in (
            ("no json", "feed.message"),
            ('{"op":"buy"}', "feed.message"),
            ('{"op":"subscribe","channel":"book","ticker_id":"DOGE_BTC","id":4}', "pair.unknown"),
            ('{"op":"subscribe","channel":"secrets","ticker_id":"LTC_BTC"}', "feed.message"),
        ):
            await socket.send(text)
            assert (await follower.until("error"))["error"]["code"] == code
        assert [message["id"] for message in follower.seen] == [0, 0, 4, 0]
        with pytest.raises(Exception, match="1008"):
            for _ in range(200):
                await socket.send("no json")
            while True:
                await follower.until("error")


class Overtaken(MarketData):
    """The first page of trades is out of date when it comes."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def trades(self, query: TradesQuery) -> Page[Trade]:
        page = await super().trades(query)
        if self.meanwhile is not None:
            work, self.meanwhile = self.meanwhile, None
            await work()
        return page


@asynccontextmanager
async def overtaken(exchange: Exchange, meanwhile: Callable[[], Awaitable[None]]) -> AsyncIterator[Follower]:
    """A follower of a feed whose first page is slow to come."""
    server = exchange.running
    data = Overtaken(server.data, server.database, exchange.clock)
    data.meanwhile = meanwhile
    feed = MarketFeed(server.hub, data, exchange.clock)
    where, room = Address("127.0.0.1", 0), WaitingRoom(1)
    door = await listen(server.hub, exchange.clock, asyncio.Protocol, where, None, room, feed)
    port = door.sockets[0].getsockname()[1]
    async with connect(f"ws://127.0.0.1:{port}/api/v1/ws") as socket:
        yield Follower(socket)
    door.close()


async def test_no_trade_is_lost_while_the_first_page_is_read(exchange: Exchange) -> None:
    async with overtaken(exchange, partial(trade, exchange)) as follower:
        await follower.ask(op="subscribe", channel="trades", ticker_id="LTC_BTC", id=1)
        [done] = (await follower.until("trades"))["trades"]
        assert (done["price"], done["type"]) == ("0.1", "buy")
        assert [message["type"] for message in follower.seen] == ["subscribed", "trades"]


async def test_a_defect_is_told_and_the_link_goes_on(exchange: Exchange) -> None:
    async def fail() -> None:
        raise ValueError("the disk is gone")

    async with overtaken(exchange, fail) as follower:
        await follower.ask(op="subscribe", channel="trades", ticker_id="LTC_BTC", id=1)
        refused = await follower.until("error")
        assert (refused["id"], refused["error"]["code"]) == (1, "api.internal")
        await follower.ask(op="subscribe", channel="trades", ticker_id="LTC_BTC", id=2)
        assert (await follower.until("trades"))["trades"] == []


async def test_the_operator_s_switch_ends_new_subscriptions(exchange: Exchange) -> None:
    async with follow(exchange) as socket:
        follower = Follower(socket)
        exchange.running.hub.data_api = False
        await follower.ask(op="subscribe", channel="book", ticker_id="LTC_BTC", id=1)
        assert (await follower.until("error"))["error"]["code"] == "api.off"


async def test_followers_do_not_hear_the_protocol(exchange: Exchange) -> None:
    """What everybody on the protocol is told is no message of the feed."""
    async with follow(exchange) as socket:
        follower = Follower(socket)
        await follower.ask(op="ping", id=1)
        await follower.until("pong")
        assert exchange.running.hub.connected == 1
        await exchange.running.manager.suspend("ltc_btc")
        await follower.ask(op="ping", id=2)
        await follower.until("pong")
        assert [message["type"] for message in follower.seen] == ["pong", "pong"]


async def test_many_levels_keep_their_checksum(exchange: Exchange) -> None:
    """More levels than the checksum covers, on both sides."""
    trader = await exchange.trader(60)
    async with follow(exchange) as socket:
        follower = Follower(socket)
        await follower.ask(op="subscribe", channel="book", ticker_id="LTC_BTC")
        await follower.until("book_snapshot")
        for number in range(30):
            coin = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
            await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE + number * 100, coin))
            coin = exchange.chains[BTC].fund(trader.new_key(), 3 * LOT)
            await trader.place(trader.limit_order(MARKET, Side.BUY, LOT, RATE - 100 - number * 100, coin))
        while (len(follower.bids), len(follower.asks)) != (30, 30):
            await follower.until("book_update")
