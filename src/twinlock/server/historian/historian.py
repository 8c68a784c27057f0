"""Epoch results, candles and spot prices of all markets."""

from __future__ import annotations

from collections.abc import Mapping

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.candles import CandleSeries, change24, merge
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import CANDLE_BINS, CANDLES_MAX, HOUR_MS
from twinlock.protocol.ledger import Entry
from twinlock.protocol.messages.book import Candles, Spot
from twinlock.protocol.routes import PRICE_UPDATE
from twinlock.seams import Clock
from twinlock.server.comms.channel import Channel
from twinlock.server.comms.outgoing import notification_frame
from twinlock.server.db import Database, Write
from twinlock.server.db.epochs import add_epoch, epoch_candle, load_candles, put_candle
from twinlock.server.db.ledger import load_entries
from twinlock.server.historian.ledger import LedgerDraft, LedgerKeeper
from twinlock.server.market.core import Processed
from twinlock.server.market.terms import MarketTerms

LEDGER_PAGE = 1_000
_PAGE_BYTES = 8 * 2**20
_DAY_MS = 24 * HOUR_MS
_SPOT_BIN_MS = CANDLE_BINS["5m"]


class Historian:
    """The history of every market. `price_feed` is who hears of new prices."""

    def __init__(self, database: Database, markets: Mapping[str, MarketTerms], key: PrivateKey, clock: Clock) -> None:
        self._database = database
        self._ledger = LedgerKeeper(database, key, clock)
        self._markets = markets
        self._series: dict[tuple[str, int], CandleSeries] = {}
        self.price_feed = Channel()

    async def load(self) -> None:
        """Read the newest candles of every market and bin, and where its ledger stands."""
        for name, terms in self._markets.items():
            await self._ledger.load(name)
            for bin_ms in _bins(terms).values():
                found = await load_candles(self._database, name, bin_ms, CANDLES_MAX)
                self._series[name, bin_ms] = CandleSeries(bin_ms, found)

    def ledger_draft(self, terms: MarketTerms) -> LedgerDraft:
        """Records of the epoch ledger, to be stored with what they tell."""
        return self._ledger.draft(terms)

    async def ledger(self, market: str, first: int, count: int) -> list[Entry]:
        """Entries of the epoch ledger from a number on, oldest first; at least one if there is one."""
        found = await load_entries(self._database, market, first, min(count, LEDGER_PAGE))
        size = 0
        for number, entry in enumerate(found):
            size += len(bytes(entry.record))
            if number and size > _PAGE_BYTES:
                return found[:number]
        return found

    def epoch_writes(self, terms: MarketTerms, processed: Processed) -> list[Write]:
        """What the epoch adds to the history."""
        writes = [add_epoch(terms.name, terms.epoch_ms, processed)]
        candle = epoch_candle(processed.report)
        for bin_ms in set(_bins(terms).values()):
            series = self._series[terms.name, bin_ms]
            last = series.candles[-1] if series.candles else None
            together = last is not None and last.end_stamp // bin_ms == candle.end_stamp // bin_ms
            writes += put_candle(terms.name, bin_ms, merge(last, candle) if last is not None and together else candle)
        return writes

    def epoch_stored(self, terms: MarketTerms, processed: Processed) -> None:
        """The epoch is committed: take it into memory and tell the price feed."""
        candle = epoch_candle(processed.report)
        for bin_ms in set(_bins(terms).values()):
            self._series[terms.name, bin_ms].add(candle)
        self.price_feed.publish(notification_frame(PRICE_UPDATE, self.spot(terms)))

    def candles(self, terms: MarketTerms, bin_size: str, count: int) -> Candles:
        """The newest candles of a bin such as ``5m``. Raises RpcError 54."""
        bins = _bins(terms)
        if bin_size not in bins:
            raise RpcError(ErrorCode.HTTP_ROUTE, f"no bin {bin_size!r}", fix=f"use one of {', '.join(bins)}")
        return self._series[terms.name, bins[bin_size]].last(min(count, CANDLES_MAX))

    def spot(self, terms: MarketTerms) -> Spot:
        """The last price and the last day."""
        candles = self._series[terms.name, _SPOT_BIN_MS].candles
        stamp = candles[-1].end_stamp if candles else 0
        day = [candle for candle in candles if candle.end_stamp > stamp - _DAY_MS and candle.match_volume]
        return Spot(
            stamp=stamp,
            base=terms.base,
            quote=terms.quote,
            rate=candles[-1].end_rate if candles else 0,
            change24=change24(candles, stamp),
            vol24=sum(candle.match_volume for candle in day),
            high24=max((candle.high_rate for candle in day), default=0),
            low24=min((candle.low_rate for candle in day if candle.low_rate), default=0),
        )


def _bins(terms: MarketTerms) -> dict[str, int]:
    """Bin sizes by name; the epoch's own is named like a Go duration."""
    return {**CANDLE_BINS, go_duration(terms.epoch_ms): terms.epoch_ms}


def go_duration(milliseconds: int) -> str:
    """A duration as Go writes it.

    >>> go_duration(20_000), go_duration(90_000), go_duration(3_600_000), go_duration(500), go_duration(1_500)
    ('20s', '1m30s', '1h0m0s', '500ms', '1.5s')
    """
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, fraction = divmod(rest, 1_000)
    text = f"{seconds}" + (f".{fraction:03d}".rstrip("0") if fraction else "") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
