"""Market data in the shapes of `twinlock.server.http.shapes`, from books, candles and stored matches.

What is shown is stored: a book is looked at between two epochs, never while one is being committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from twinlock.chain.coins import Coin
from twinlock.protocol import candles
from twinlock.protocol.constants import CANDLE_BINS, HOUR_MS
from twinlock.protocol.rates import amount_text, base_to_quote, rate_text
from twinlock.seams import Clock
from twinlock.server.data import DataDesk
from twinlock.server.db import Database
from twinlock.server.db.history import market_candles, read_candles
from twinlock.server.db.matches import StoredMatch, TradeFilter, load_trades
from twinlock.server.http.errors import ApiError
from twinlock.server.http.shapes import (
    BookQuery,
    Candle,
    CandlesQuery,
    Depth,
    Level,
    Pair,
    Side,
    Ticker,
    Trade,
    TradesBySide,
    TradesQuery,
)
from twinlock.server.market.manager import MarketManager

T = TypeVar("T")

_DAY_MS = 24 * HOUR_MS
_BIN_MS = 5 * 60_000
_DAY_OF_BINS = _DAY_MS // _BIN_MS + 1


class Units(NamedTuple):
    """The two coins of a market; every amount becomes text here."""

    base: Coin
    quote: Coin

    @property
    def ticker_id(self) -> str:
        """The market's name among listing sites."""
        return f"{self.base.symbol}_{self.quote.symbol}".upper()

    def price(self, rate: int) -> str:
        """A message-rate as quote coins per base coin."""
        return rate_text(rate, self.base.conversion_factor, self.quote.conversion_factor)

    def amount(self, atoms: int) -> str:
        """Base atoms as coins."""
        return amount_text(atoms, self.base.conversion_factor)

    def value(self, atoms: int) -> str:
        """Quote atoms as coins."""
        return amount_text(atoms, self.quote.conversion_factor)

    def levels(self, levels: Iterable[tuple[int, int]]) -> list[Level]:
        """(rate, base atoms) pairs as text."""
        return [(self.price(rate), self.amount(quantity)) for rate, quantity in levels]

    def candle(self, found: candles.Candle, bin_ms: int) -> Candle:
        """One bin as text."""
        return Candle(
            timestamp=found.end_stamp // bin_ms * bin_ms,
            open=self.price(found.start_rate),
            high=self.price(found.high_rate),
            low=self.price(found.low_rate),
            close=self.price(found.end_rate),
            base_volume=self.amount(found.match_volume),
            target_volume=self.value(found.quote_volume),
        )

    def trade(self, match_id: bytes, rate: int, quantity: int, side: Side, stamp: int) -> Trade:
        """One trade as text."""
        return Trade(
            trade_id=match_id.hex(),
            price=self.price(rate),
            base_volume=self.amount(quantity),
            target_volume=self.value(base_to_quote(rate, quantity)),
            trade_timestamp=stamp,
            type=side,
        )


class Page(NamedTuple, Generic[T]):
    """following: the parameters that ask for the next page instead of this one, none after the last."""

    rows: list[T]
    following: dict[str, object]


class MarketData:
    """Answers for all markets. Raises ApiError for unknown pairs."""

    def __init__(self, data: DataDesk, database: Database, clock: Clock) -> None:
        self._data = data
        self._database = database
        self._clock = clock

    def find(self, ticker_id: str) -> tuple[MarketManager, Units]:
        """A market by its name, in any case."""
        for market in self._data.markets():
            units = self.units(market)
            if units.ticker_id == ticker_id.upper():
                return market, units
        raise ApiError(404, "pair.unknown", f"there is no pair {ticker_id[:65]!r}", fix="name one of /api/v1/pairs")

    def units(self, market: MarketManager) -> Units:
        """The coins of a market."""
        return Units(self._data.coin(market.terms.base), self._data.coin(market.terms.quote))

    def markets(self) -> list[MarketManager]:
        """All markets."""
        return self._data.markets()

    def pairs(self) -> list[Pair]:
        """All markets and their terms."""
        return [self._pair(market, self.units(market)) for market in self._data.markets()]

    async def tickers(self) -> list[Ticker]:
        """The last day of all markets."""
        return [await self.ticker(market) for market in self._data.markets()]

    async def ticker(self, market: MarketManager) -> Ticker:
        """The last day of a market."""
        bids, asks = await market.between_epochs(lambda: market.public.depth(1))
        return self.ticker_now(market, bids, asks)

    def ticker_now(
        self, market: MarketManager, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]
    ) -> Ticker:
        """The last day of a market whose best levels are known."""
        units, terms, now = self.units(market), market.terms, self._clock.now_ms()
        bins = self._data.candles(terms.base, terms.quote, "5m", _DAY_OF_BINS)
        day = [number for number, stamp in enumerate(bins.end_stamps) if stamp > now - _DAY_MS]
        traded = [number for number in day if bins.match_volumes[number]]
        return Ticker(
            ticker_id=units.ticker_id,
            base_currency=units.base.unit,
            target_currency=units.quote.unit,
            last_price=units.price(bins.end_rates[-1] if bins.end_rates else 0),
            base_volume=units.amount(sum(bins.match_volumes[number] for number in day)),
            target_volume=units.value(sum(bins.quote_volumes[number] for number in day)),
            bid=units.price(bids[0][0] if bids else 0),
            ask=units.price(asks[0][0] if asks else 0),
            high=units.price(max((bins.high_rates[number] for number in traded), default=0)),
            low=units.price(min((bins.low_rates[number] for number in traded), default=0)),
            timestamp=now,
        )

    async def depth(self, query: BookQuery) -> Depth:
        """The book, as many levels as asked."""
        market, units = self.find(query.ticker_id)
        bids, asks = await market.between_epochs(lambda: market.public.depth(query.depth))
        return Depth(
            ticker_id=units.ticker_id,
            timestamp=self._clock.now_ms(),
            bids=units.levels(bids),
            asks=units.levels(asks),
        )

    async def trades(self, query: TradesQuery) -> Page[Trade]:
        """A page of trades, newest first."""
        market, units = self.find(query.ticker_id)
        time, _, match_id = (query.cursor or "").partition("-")
        wanted = TradeFilter(
            taker_sells=None if query.type is None else query.type == "sell",
            since=query.start_time,
            until=query.end_time,
            after=(int(time), bytes.fromhex(match_id)) if match_id else None,
        )
        found = await load_trades(self._database, market.terms.name, query.limit, wanted)
        last = found[-1] if len(found) == query.limit else None
        following: dict[str, object] = {"cursor": f"{last.match_time}-{last.match_id.hex()}"} if last else {}
        return Page([_stored_trade(trade, units) for trade in found], following)

    async def candles(self, query: CandlesQuery) -> Page[Candle]:
        """A page of candles, oldest first; the next is of older ones."""
        market, units = self.find(query.ticker_id)
        bin_ms = CANDLE_BINS[query.interval]
        before = self._clock.now_ms() + bin_ms if query.end_time is None else query.end_time
        wanted = market_candles(market.terms.name, bin_ms, before, query.limit)
        found = [units.candle(candle, bin_ms) for candle in await read_candles(self._database, wanted)][::-1]
        return Page(found, {"end_time": found[0].timestamp} if len(found) == query.limit else {})

    def _pair(self, market: MarketManager, units: Units) -> Pair:
        terms = market.terms
        return Pair(
            ticker_id=units.ticker_id,
            base=units.base.unit,
            target=units.quote.unit,
            lot_size=units.amount(terms.lot_size),
            price_step=units.price(terms.rate_step),
            epoch_ms=terms.epoch_ms,
            running=market.running(self._clock.now_ms()),
        )


def by_side(trades: Iterable[Trade]) -> TradesBySide:
    """Trades by what the taker did, in their order."""
    sides: dict[Side, list[Trade]] = {"buy": [], "sell": []}
    for trade in trades:
        sides[trade.type].append(trade)
    return TradesBySide(buy=sides["buy"], sell=sides["sell"])


def _stored_trade(trade: StoredMatch, units: Units) -> Trade:
    side: Side = "sell" if trade.taker_sells else "buy"
    return units.trade(trade.match_id, trade.rate, trade.quantity, side, trade.match_time)
