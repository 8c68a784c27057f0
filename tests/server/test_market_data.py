"""Pairs, tickers, books, trades and candles, as listing sites and programs ask for them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange

from twinlock.protocol import routes
from twinlock.protocol.candles import Candle as StoredCandle
from twinlock.protocol.limits import Allowance, TokenBucket
from twinlock.protocol.orders import Side
from twinlock.server.db import Write
from twinlock.server.db.schema import metadata

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    base = f"https://localhost:{exchange.running.port}/api/v1"
    async with httpx.AsyncClient(verify=context, base_url=base) as client:
        yield client


async def trade(exchange: Exchange, lots: int = 1) -> None:
    """A sell of two lots more, and a buy of `lots`."""
    maker, taker = await exchange.trader(), await exchange.trader()
    funds = exchange.chains[LTC].fund(maker.new_key(), 20 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 20 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, (lots + 2) * LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, lots * LOT, RATE, money))
    await maker.note(routes.EPOCH_REPORT, lambda note: note.match_volume > 0)


async def test_a_trade_shows_everywhere(exchange: Exchange, http: httpx.AsyncClient) -> None:
    await trade(exchange)
    [pair] = (await http.get("/pairs")).json()
    assert (pair["ticker_id"], pair["base"], pair["target"], pair["running"]) == ("LTC_BTC", "LTC", "BTC", True)
    assert (pair["lot_size"], pair["price_step"]) == ("0.01", "0.000001")
    [ticker] = (await http.get("/tickers")).json()
    assert (ticker["last_price"], ticker["base_volume"], ticker["target_volume"]) == ("0.1", "0.01", "0.001")
    assert (ticker["bid"], ticker["ask"], ticker["high"], ticker["low"]) == ("0", "0.1", "0.1", "0.1")
    book = (await http.get("/orderbook?ticker_id=ltc_btc&depth=5")).json()
    assert (book["bids"], book["asks"]) == ([], [["0.1", "0.02"]])
    [done] = (await http.get("/trades?ticker_id=LTC_BTC")).json()
    assert (done["price"], done["base_volume"], done["target_volume"], done["type"]) == ("0.1", "0.01", "0.001", "buy")
    sides = (await http.get("/historical_trades?ticker_id=LTC_BTC")).json()
    assert sides == {"buy": [done], "sell": []}
    assert (await http.get("/trades?ticker_id=LTC_BTC&type=sell")).json() == []
    candles = (await http.get("/candles?ticker_id=LTC_BTC&interval=5m")).json()
    assert sum(float(candle["base_volume"]) for candle in candles) == 0.01
    assert candles[-1]["close"] == "0.1"


async def test_pages_of_trades_follow_one_another(any_exchange: Exchange) -> None:
    exchange = any_exchange
    await trade(exchange)
    await trade(exchange, 2)
    await trade(exchange, 3)
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    base = f"https://localhost:{exchange.running.port}"
    async with httpx.AsyncClient(verify=context, base_url=base) as client:
        whole = (await client.get("/api/v1/trades?ticker_id=LTC_BTC")).json()
        assert len(whole) >= 3
        paged = []
        following = "/api/v1/trades?ticker_id=LTC_BTC&limit=1"
        while following:
            response = await client.get(following)
            paged += response.json()
            following = response.headers.get("link", "").partition(">")[0].lstrip("<")
        assert paged == whole
        times = [row["trade_timestamp"] for row in whole]
        middle = times[1]
        url = f"/api/v1/trades?ticker_id=LTC_BTC&start_time={middle}&end_time={middle}"
        assert [row["trade_timestamp"] for row in (await client.get(url)).json()] == [t for t in times if t == middle]


async def test_candles_stand_on_whole_intervals_and_older_ones_follow(any_exchange: Exchange) -> None:
    exchange = any_exchange
    await trade(exchange)
    columns = [field.name for field in msgspec.structs.fields(StoredCandle)]
    table, minutes = metadata.tables["candles"], 300_000
    # Each begins a little before its interval, with the epoch that ended in it.
    old = [
        dict.fromkeys(columns, number) | {"start_stamp": number * minutes - 400, "end_stamp": number * minutes + 400}
        for number in range(1, 1_205)
    ]
    rows = [row | {"market": "ltc_btc", "bin_ms": minutes, "bin": row["end_stamp"] // minutes} for row in old]
    await exchange.running.database.write(Write(table.insert(), rows))
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    base = f"https://localhost:{exchange.running.port}"
    async with httpx.AsyncClient(verify=context, base_url=base) as client:
        stamps: list[int] = []
        following = "/api/v1/candles?ticker_id=LTC_BTC&interval=5m&limit=1000"
        while following:
            response = await client.get(following)
            stamps = [candle["timestamp"] for candle in response.json()] + stamps
            following = response.headers.get("link", "").partition(">")[0].lstrip("<")
        assert stamps[:1_204] == [number * minutes for number in range(1, 1_205)]
        assert len(stamps) == len(set(stamps)) > 1_204
        assert all(stamp % minutes == 0 for stamp in stamps)
        for end, last in ((3 * minutes, 2), (3 * minutes + 1, 3)):
            found = (await client.get(f"/api/v1/candles?ticker_id=LTC_BTC&interval=5m&end_time={end}")).json()
            assert found[-1]["timestamp"] == last * minutes


BAD = [
    ("/orderbook?ticker_id=DOGE_BTC", 404, "pair.unknown"),
    ("/orderbook", 400, "api.parameter"),
    ("/orderbook?ticker_id=LTC_BTC&depth=x", 400, "api.parameter"),
    ("/orderbook?ticker_id=LTC_BTC&depth=0", 400, "api.parameter"),
    ("/orderbook?ticker_id=LTC_BTC&depth=5&depth=6", 400, "api.parameter"),
    ("/orderbook?ticker_id=LTC_BTC&more=1", 400, "api.parameter"),
    ("/trades?ticker_id=LTC_BTC&type=both", 400, "api.parameter"),
    ("/trades?ticker_id=LTC_BTC&cursor=x", 400, "api.parameter"),
    ("/candles?ticker_id=LTC_BTC&interval=7m", 400, "api.parameter"),
    ("/candles?ticker_id=LTC_BTC&end_time=-1", 400, "api.parameter"),
    ("/nothing", 404, "api.path"),
]


async def test_refusals_have_a_stable_body(exchange: Exchange, http: httpx.AsyncClient) -> None:
    for url, status, code in BAD:
        response = await http.get(url)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code), url
    response = await http.post("/pairs")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "api.method")
    exchange.running.hub.data_api = False
    response = await http.get("/pairs")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "api.off")


async def test_limits_are_told_in_headers(exchange: Exchange, http: httpx.AsyncClient) -> None:
    left = []
    while (response := await http.get("/pairs")).status_code == 200:
        left.append(int(response.headers["RateLimit-Remaining"]))
        assert response.headers["RateLimit-Limit"] == "100"
        assert int(response.headers["RateLimit-Reset"]) >= 1
    assert left[0] == 99
    assert left[-1] == 0
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "api.limit"
    assert response.headers["Retry-After"] == "1"


def test_a_bucket_tells_how_long_to_wait() -> None:
    bucket = TokenBucket(Allowance(per_second=0.5, burst=2), now=0.0)
    assert bucket.take(0.0) and bucket.take(0.0)
    assert (bucket.left, bucket.seconds_to(1), bucket.seconds_to(2)) == (0, 2, 4)
    assert not bucket.take(1.0)
    assert (bucket.left, bucket.seconds_to(1), bucket.seconds_to(0)) == (0, 1, 0)
