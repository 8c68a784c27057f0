"""The table of what can be asked over HTTP: paths, parameters, answers. Routes and the OpenAPI document follow it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from twinlock.protocol.constants import CANDLES_DEFAULT, CANDLES_MAX
from twinlock.protocol.messages import book, config
from twinlock.server.data import DataDesk
from twinlock.server.historian.historian import LEDGER_PAGE
from twinlock.server.http import shapes
from twinlock.server.http.market_data import MarketData, by_side
from twinlock.server.http.shapes import Nothing, Query

JSON = "application/json"
LINES = "application/jsonl"


@dataclass(frozen=True)
class Answer:
    """body: what `encode` turns into JSON, JSON already (`Spliced`), or bytes of another media type.

    following: parameters of the next page.
    """

    body: object
    following: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One row.

    path: its braces name members of `query`. answer: the type of the body. paged: whether a `Link` header may name
    the next page. reference: whether the path is of the protocol's own data API (section 1.6), with its errors.
    """

    path: str
    summary: str
    query: type[Query]
    answer: Any
    ask: Callable[[Any], Awaitable[Answer]] = field(compare=False)
    media: str = JSON
    paged: bool = False
    reference: bool = False
    metered: bool = True


Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.]{1,32}$", examples=["ltc"])]


class PairPath(Query, frozen=True):
    """base, quote: symbols."""

    base: Symbol
    quote: Symbol


class BinPath(PairPath, frozen=True):
    """bin: `24h`, `1h`, `5m`, or the epoch's length as `20s`."""

    bin: Annotated[str, msgspec.Meta(pattern=r"^[0-9hms.]{1,16}$", examples=["5m"])]


class CountPath(BinPath, frozen=True):
    """count: the newest so many candles."""

    count: Annotated[int, msgspec.Meta(ge=1, le=CANDLES_MAX)] = CANDLES_DEFAULT


class LedgerPage(PairPath, frozen=True, rename={"first": "from"}):
    """from: the first record's number. count: at most so many records."""

    first: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=LEDGER_PAGE)] = LEDGER_PAGE


def operations(data: DataDesk, markets: MarketData) -> tuple[Operation, ...]:
    """Every operation, the protocol's own first."""
    return (*_reference(data), *_listing(markets))


def _reference(data: DataDesk) -> tuple[Operation, ...]:
    async def configuration(_: Nothing) -> Answer:
        return Answer(data.config())

    async def healthy(_: Nothing) -> Answer:
        return Answer(data.healthy())

    async def spots(_: Nothing) -> Answer:
        return Answer(data.spots())

    async def candles(query: CountPath) -> Answer:
        return Answer(data.candles(data.asset_id(query.base), data.asset_id(query.quote), query.bin, query.count))

    async def orderbook(query: PairPath) -> Answer:
        return Answer(await data.book(data.asset_id(query.base), data.asset_id(query.quote)))

    async def ledger(query: LedgerPage) -> Answer:
        base, quote = data.asset_id(query.base), data.asset_id(query.quote)
        return Answer(b"".join(entry.line() for entry in await data.ledger(base, quote, query.first, query.count)))

    def row(path: str, summary: str, query: type[Query], answer: Any, ask: Any, **more: Any) -> Operation:
        return Operation(path, summary, query, answer, ask, reference=True, **more)

    return (
        row("/api/config", "What the exchange offers", Nothing, config.Config, configuration, metered=False),
        row("/api/healthy", "Whether all chains are in view", Nothing, bool, healthy),
        row("/api/spots", "The last price of every market", Nothing, list[book.Spot], spots),
        row("/api/candles/{base}/{quote}/{bin}", "The newest 50 candles", BinPath, book.Candles, _counted(candles)),
        row("/api/candles/{base}/{quote}/{bin}/{count}", "The newest candles", CountPath, book.Candles, candles),
        row("/api/orderbook/{base}/{quote}", "Every order on the book", PairPath, book.OrderBook, orderbook),
        row(
            "/api/ledger/{base}/{quote}",
            "Entries of the signed epoch ledger, one a line; none after the last",
            LedgerPage,
            str,
            ledger,
            media=LINES,
        ),
    )


def _counted(candles: Callable[[CountPath], Awaitable[Answer]]) -> Callable[[BinPath], Awaitable[Answer]]:
    async def ask(query: BinPath) -> Answer:
        return await candles(CountPath(base=query.base, quote=query.quote, bin=query.bin))

    return ask


def _listing(markets: MarketData) -> tuple[Operation, ...]:
    async def pairs(_: Nothing) -> Answer:
        return Answer(markets.pairs())

    async def tickers(_: Nothing) -> Answer:
        return Answer(await markets.tickers())

    async def orderbook(query: shapes.BookQuery) -> Answer:
        return Answer(await markets.depth(query))

    async def trades(query: shapes.TradesQuery) -> Answer:
        page = await markets.trades(query)
        return Answer(page.rows, page.following)

    async def historical(query: shapes.TradesQuery) -> Answer:
        page = await markets.trades(query)
        return Answer(by_side(page.rows), page.following)

    async def candles(query: shapes.CandlesQuery) -> Answer:
        page = await markets.candles(query)
        return Answer(page.rows, page.following)

    return (
        Operation("/api/v1/pairs", "All markets and their terms", Nothing, list[shapes.Pair], pairs),
        Operation("/api/v1/tickers", "The last day of all markets", Nothing, list[shapes.Ticker], tickers),
        Operation("/api/v1/orderbook", "The book by price", shapes.BookQuery, shapes.Depth, orderbook),
        Operation(
            "/api/v1/trades",
            "Trades, newest first",
            shapes.TradesQuery,
            list[shapes.Trade],
            trades,
            paged=True,
        ),
        Operation(
            "/api/v1/historical_trades",
            "Trades by what the taker did, newest first",
            shapes.TradesQuery,
            shapes.TradesBySide,
            historical,
            paged=True,
        ),
        Operation(
            "/api/v1/candles",
            "Candles, oldest first; the next page is of older ones",
            shapes.CandlesQuery,
            list[shapes.Candle],
            candles,
            paged=True,
        ),
    )


def parse(query: type[Query], given: Mapping[str, str]) -> Query:
    """The parameters of a request. Raises msgspec.ValidationError."""
    return msgspec.convert(given, query, strict=False)
