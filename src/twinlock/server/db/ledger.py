"""The epoch ledger as rows: each record in the very bytes that were signed."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from twinlock.protocol.ledger import Entry
from twinlock.protocol.wire import Hex
from twinlock.server.db.backend import Database, Row, Write
from twinlock.server.db.schema import ledger

_ADD = ledger.insert()


def add_entry(market: str, number: int, entry: Entry, digest: bytes, *, opening: bool) -> Write:
    """The next entry of a market's ledger."""
    row = {
        "market": market,
        "number": number,
        "opening": opening,
        "record": bytes(entry.record),
        "digest": digest,
        "signature": bytes(entry.sig),
    }
    return Write(_ADD, [row])


async def last_record(database: Database, market: str) -> tuple[int, bytes] | None:
    """(number, digest) of the newest record."""
    query = sa.select(ledger.c.number, ledger.c.digest).where(ledger.c.market == market)
    return await database.fetch_one(
        query.order_by(ledger.c.number.desc()), lambda row: (int(row["number"]), bytes(row["digest"]))
    )


async def last_opening(database: Database, market: str) -> bytes | None:
    """The bytes of the newest opening."""
    query = sa.select(ledger.c.record).where(ledger.c.market == market, ledger.c.opening)
    return await database.fetch_one(query.order_by(ledger.c.number.desc()), lambda row: bytes(row["record"]))


async def load_entries(database: Database, market: str, first: int, count: int) -> list[Entry]:
    """The entries from a record's number on, oldest first."""
    query = sa.select(ledger).where(ledger.c.market == market, ledger.c.number >= first)
    return await database.fetch(query.order_by(ledger.c.number).limit(count), _entry)


def _entry(row: Row) -> Entry:
    return Entry(record=msgspec.Raw(bytes(row["record"])), sig=Hex(bytes(row["signature"])))
