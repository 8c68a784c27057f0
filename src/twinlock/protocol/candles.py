"""Candles: epochs merged into bins (protocol section 6.11). Volumes in base and quote atoms, stamps in ms."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from twinlock.protocol.constants import CANDLES_MAX
from twinlock.protocol.matcher import Statistics
from twinlock.protocol.messages.book import Candles


class Candle(msgspec.Struct, frozen=True):
    """One bin, or one epoch. `end_stamp` decides which bin it belongs to."""

    start_stamp: int
    end_stamp: int
    match_volume: int = 0
    quote_volume: int = 0
    high_rate: int = 0
    low_rate: int = 0
    start_rate: int = 0
    end_rate: int = 0


def epoch_candle(start_ms: int, end_ms: int, statistics: Statistics, last_rate: int) -> Candle:
    """The candle of an epoch; without matches all four rates repeat the last known one."""
    if not statistics.volume:
        return Candle(start_ms, end_ms, 0, 0, last_rate, last_rate, last_rate, last_rate)
    return Candle(
        start_ms,
        end_ms,
        statistics.volume,
        statistics.quote_volume,
        statistics.high,
        statistics.low,
        statistics.start,
        statistics.end,
    )


def merge(candle: Candle, later: Candle) -> Candle:
    """Two candles of one bin as one. A low of 0 is no rate."""
    lows = [low for low in (candle.low_rate, later.low_rate) if low]
    return Candle(
        candle.start_stamp,
        later.end_stamp,
        candle.match_volume + later.match_volume,
        candle.quote_volume + later.quote_volume,
        max(candle.high_rate, later.high_rate),
        min(lows, default=0),
        candle.start_rate,
        later.end_rate,
    )


class CandleSeries:
    """The candles of one bin size, oldest first, at most 1000."""

    def __init__(self, bin_ms: int, candles: Iterable[Candle] = ()) -> None:
        self.bin_ms = bin_ms
        self.candles: deque[Candle] = deque(maxlen=CANDLES_MAX)
        for candle in candles:
            self.add(candle)

    def add(self, candle: Candle) -> Candle:
        """Merge an epoch's candle into the last bin, or start the next; the bin as it is now."""
        last = self.candles[-1] if self.candles else None
        if last is not None and last.end_stamp // self.bin_ms == candle.end_stamp // self.bin_ms:
            candle = merge(self.candles.pop(), candle)
        self.candles.append(candle)
        return candle

    def last(self, count: int) -> Candles:
        """The newest `count` candles in the form of the wire."""
        return to_wire(list(self.candles)[-count:] if count else [])


def to_wire(candles: Sequence[Candle]) -> Candles:
    """Parallel arrays."""
    return Candles(
        start_stamps=[candle.start_stamp for candle in candles],
        end_stamps=[candle.end_stamp for candle in candles],
        match_volumes=[candle.match_volume for candle in candles],
        quote_volumes=[candle.quote_volume for candle in candles],
        high_rates=[candle.high_rate for candle in candles],
        low_rates=[candle.low_rate for candle in candles],
        start_rates=[candle.start_rate for candle in candles],
        end_rates=[candle.end_rate for candle in candles],
    )


def rate_at(candles: Sequence[Candle], stamp: int) -> int:
    """The rate at a moment, interpolated linearly inside the candle that holds it; 0 if none reaches back so far."""
    for candle in candles:
        if candle.start_stamp <= stamp < candle.end_stamp:
            elapsed, length = stamp - candle.start_stamp, candle.end_stamp - candle.start_stamp
            return candle.start_rate + (candle.end_rate - candle.start_rate) * elapsed // length
        if candle.start_stamp > stamp:
            return candle.start_rate
    return candles[-1].end_rate if candles else 0


def change24(candles: Sequence[Candle], now_ms: int) -> float:
    """The change of the rate over the last 24 hours as a fraction, from five-minute candles."""
    if not candles:
        return 0.0
    then = rate_at(candles, now_ms - 24 * 3_600_000)
    return (candles[-1].end_rate - then) / then if then else 0.0
