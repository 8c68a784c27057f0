"""What market data looks like: the questions and the answers of `/api/v1`, as listing sites and bots expect them.

Amounts and prices are exact decimal text in whole coins; a price is quote coins per base coin. Times are ms. The
OpenAPI document is made from these very types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

TickerId = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9.]{1,32}_[A-Za-z0-9.]{1,32}$", examples=["LTC_BTC"], max_length=65)
]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?$", description="exact decimal", examples=["0.25"])]
Millis = Annotated[int, msgspec.Meta(ge=0, le=2**53, description="milliseconds since 1970, UTC")]
Side = Literal["buy", "sell"]
Level = tuple[Decimal, Decimal]
"""(price, amount of the base coin)."""


class Shape(msgspec.Struct, kw_only=True, frozen=True):
    """Base of all answers."""


class Query(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of all questions: one member for each parameter, of the path or the query."""


# Questions


class Nothing(Query, frozen=True):
    """No parameters."""


class BookQuery(Query, frozen=True):
    """depth: levels on each side."""

    ticker_id: TickerId
    depth: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


class TradesQuery(Query, frozen=True):
    """type: which side the taker took. cursor: as the `Link` header of the page before names it."""

    ticker_id: TickerId
    type: Side | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    start_time: Millis | None = None
    end_time: Millis | None = None
    cursor: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}-[0-9a-f]{64}$")] | None = None


class CandlesQuery(Query, frozen=True):
    """The newest `limit` candles, or of those that begin before `end_time`."""

    ticker_id: TickerId
    interval: Literal["5m", "1h", "24h"] = "1h"
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    end_time: Millis | None = None


# Answers


class Pair(Shape, frozen=True):
    """A market. lot_size: amounts are whole multiples of it; price_step: and prices of this."""

    ticker_id: TickerId
    base: str
    target: str
    lot_size: Decimal
    price_step: Decimal
    epoch_ms: int
    running: bool


class Ticker(Shape, frozen=True):
    """The last day of a market; "0" where there is no price."""

    ticker_id: TickerId
    base_currency: str
    target_currency: str
    last_price: Decimal
    base_volume: Decimal
    target_volume: Decimal
    bid: Decimal
    ask: Decimal
    high: Decimal
    low: Decimal
    timestamp: Millis


class Depth(Shape, frozen=True):
    """Both sides, best first, orders at one price added up."""

    ticker_id: TickerId
    timestamp: Millis
    bids: list[Level]
    asks: list[Level]


class Trade(Shape, frozen=True):
    """One match. trade_id: its match ID; type: what the taker did."""

    trade_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    price: Decimal
    base_volume: Decimal
    target_volume: Decimal
    trade_timestamp: Millis
    type: Side


class TradesBySide(Shape, frozen=True):
    """Trades, newest first, by what the taker did."""

    buy: list[Trade]
    sell: list[Trade]


class Candle(Shape, frozen=True):
    """One interval; prices repeat the last one where nothing traded. timestamp: its beginning, whole intervals."""

    timestamp: Millis
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    base_volume: Decimal
    target_volume: Decimal


class Problem(Shape, frozen=True):
    """Why not: a stable code for programs, a sentence for people, and what to do."""

    code: str
    message: str
    fix: str = ""


class ProblemBody(Shape, frozen=True):
    """The body of every refusal."""

    error: Problem
