"""Results of epochs, candles and markets, as rows."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from twinlock.protocol.candles import Candle
from twinlock.server.db.backend import Database, Row, Write
from twinlock.server.db.schema import candles, epochs, markets
from twinlock.server.market.core import Processed, Report

_ADD_EPOCH = epochs.insert()
_ADD_CANDLE = candles.insert()
_DROP_CANDLE = candles.delete().where(
    candles.c.market == sa.bindparam("in_market"),
    candles.c.bin_ms == sa.bindparam("in_bin_ms"),
    candles.c.bin == sa.bindparam("in_bin"),
)
_CANDLE_FIELDS = tuple(field.name for field in msgspec.structs.fields(Candle))


class MarketRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a market remembers between runs. final_epoch: 0 unless a suspension is scheduled or in effect."""

    name: str
    base: int
    quote: int
    lot_size: int
    epoch_ms: int
    start_epoch: int
    final_epoch: int = 0
    persist_book: bool = True


def add_epoch(market: str, epoch_ms: int, processed: Processed) -> Write:
    """The result and the report of one epoch."""
    report = processed.report
    return Write(
        _ADD_EPOCH,
        [
            {
                "market": market,
                "epoch": processed.epoch,
                "epoch_ms": epoch_ms,
                "match_time": processed.match_time,
                "csum": processed.csum,
                "seed": processed.seed,
                "revealed": b"".join(order.id for order in processed.revealed),
                "missed": b"".join(order.id for order in processed.missed),
                "fee_rate_base": report.fee_rate_base,
                "fee_rate_quote": report.fee_rate_quote,
                "match_volume": report.match_volume,
                "quote_volume": report.quote_volume,
                "high_rate": report.high_rate,
                "low_rate": report.low_rate,
                "start_rate": report.start_rate,
                "end_rate": report.end_rate,
            }
        ],
    )


def epoch_candle(report: Report) -> Candle:
    """The candle that an epoch's report is."""
    return Candle(**{name: getattr(report, name) for name in _CANDLE_FIELDS})


def put_candle(market: str, bin_ms: int, candle: Candle) -> list[Write]:
    """The newest candle of a bin size, replacing its earlier state."""
    number = candle.end_stamp // bin_ms
    key = {"in_market": market, "in_bin_ms": bin_ms, "in_bin": number}
    row = {name: getattr(candle, name) for name in _CANDLE_FIELDS}
    return [
        Write(_DROP_CANDLE, [key]),
        Write(_ADD_CANDLE, [row | {"market": market, "bin_ms": bin_ms, "bin": number}]),
    ]


async def load_candles(database: Database, market: str, bin_ms: int, count: int) -> list[Candle]:
    """The newest candles of a bin size, oldest first."""
    query = sa.select(candles).where(candles.c.market == market, candles.c.bin_ms == bin_ms)
    found = await database.fetch(query.order_by(candles.c.bin.desc()).limit(count), stored_candle)
    return found[::-1]


class LastEpoch(NamedTuple):
    """The last epoch that was processed, its length in ms, and its last rate; zeros before the first."""

    epoch: int = 0
    epoch_ms: int = 0
    end_rate: int = 0


async def last_epoch(database: Database, market: str) -> LastEpoch:
    """Where a market's epochs end."""
    query = sa.select(*(epochs.c[name] for name in LastEpoch._fields)).where(epochs.c.market == market)
    found = await database.fetch_one(
        query.order_by(epochs.c.epoch.desc()), lambda row: LastEpoch(*(int(row[name]) for name in LastEpoch._fields))
    )
    return found or LastEpoch()


async def load_market(database: Database, name: str) -> MarketRow | None:
    """What is remembered of a market."""
    fields = [field.name for field in msgspec.structs.fields(MarketRow)]
    return await database.fetch_one(
        sa.select(markets).where(markets.c.name == name), lambda row: MarketRow(**{name: row[name] for name in fields})
    )


def put_market(row: MarketRow) -> list[Write]:
    """Remember a market, replacing what was remembered."""
    return [
        Write(markets.delete().where(markets.c.name == row.name)),
        Write(markets.insert(), [msgspec.structs.asdict(row)]),
    ]


def stored_candle(row: Row) -> Candle:
    """The value of a row."""
    return Candle(**{name: row[name] for name in _CANDLE_FIELDS})
