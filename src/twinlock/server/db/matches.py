"""Matches as rows: every signature, address, contract, coin and time of a settlement (protocol section 10.1)."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from twinlock.server.db.backend import Database, Row, Write
from twinlock.server.db.schema import IS_TRADE, MATCH_ACTIVE, matches


class MadeMatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A match as an epoch makes it, column by column. IDs 32 bytes; times ms.

    *_address: of the order. match_time: end of the epoch, the base of lock times.
    """

    match_id: bytes
    market: str
    active: bool
    is_cancel: bool = False
    taker_sells: bool
    taker_order: bytes
    taker_account: bytes
    taker_address: str
    maker_order: bytes
    maker_account: bytes
    maker_address: str
    quantity: int
    rate: int
    fee_rate_base: int
    fee_rate_quote: int
    epoch: int
    epoch_ms: int
    match_time: int


class StoredMatch(MadeMatch, frozen=True, kw_only=True, gc=False):
    """The same with what has become of it: times 0 and bytes b"" while unknown.

    *_swap_address: of this match. *_sig: the client's signature of init, audit, redeem and redemption.
    """

    forgiven: bool = False
    status: int = 0
    taker_swap_address: str = ""
    maker_swap_address: str = ""
    taker_match_sig: bytes = b""
    maker_match_sig: bytes = b""
    addresses_time: int = 0
    maker_contract: bytes = b""
    maker_swap_coin: bytes = b""
    maker_swap_time: int = 0
    maker_swap_sig: bytes = b""
    taker_audit_sig: bytes = b""
    taker_contract: bytes = b""
    taker_swap_coin: bytes = b""
    taker_swap_time: int = 0
    taker_swap_sig: bytes = b""
    maker_audit_sig: bytes = b""
    secret: bytes = b""
    maker_redeem_coin: bytes = b""
    maker_redeem_time: int = 0
    maker_redeem_sig: bytes = b""
    taker_redemption_sig: bytes = b""
    taker_redeem_coin: bytes = b""
    taker_redeem_time: int = 0
    taker_redeem_sig: bytes = b""
    maker_redemption_sig: bytes = b""


_ADD = matches.insert()
_END = matches.update().where(matches.c.match_id == sa.bindparam("key")).values(active=sa.bindparam("now_active"))
_MADE = tuple(field.name for field in msgspec.structs.fields(MadeMatch))
_made = attrgetter(*_MADE)
_FIELDS = tuple(field.name for field in msgspec.structs.fields(StoredMatch))
_BINARY = frozenset(field.name for field in msgspec.structs.fields(StoredMatch) if field.type is bytes)


def add_matches(new: Iterable[MadeMatch]) -> list[Write]:
    """Matches that were just made, by ID: neighbours of an index are then touched one after the other.

    What becomes of them is not looked at: it begins as the constants of the table, and those need not be passed.
    """
    rows = [dict(zip(_MADE, _made(match), strict=True)) for match in sorted(new, key=attrgetter("match_id"))]
    return [Write(_ADD, rows)] if rows else []


def change_match(match_id: bytes, **columns: Any) -> Write:
    """New values of some columns of one match."""
    return Write(matches.update().where(matches.c.match_id == match_id).values(**columns))


def end_matches(match_ids: Iterable[bytes]) -> Write:
    """Matches that settle no more."""
    return Write(_END, [{"key": match_id, "now_active": False} for match_id in match_ids])


async def load_active_matches(database: Database) -> list[StoredMatch]:
    """The matches that are still settling, on all markets."""
    return await database.fetch(sa.select(matches).where(MATCH_ACTIVE), stored_match)


class TradeFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which trades: of one side, within times (ms, both included), after a (time, match ID) in pages."""

    taker_sells: bool | None = None
    since: int | None = None
    until: int | None = None
    after: tuple[int, bytes] | None = None


def market_trades(market: str, count: int, wanted: TradeFilter) -> sa.Select[Any]:
    """Trades of a market, newest first; those of one moment by descending match ID."""
    query = sa.select(matches).where(matches.c.market == market, IS_TRADE)
    if wanted.taker_sells is not None:
        query = query.where(matches.c.taker_sells.is_(wanted.taker_sells))
    if wanted.since is not None:
        query = query.where(matches.c.match_time >= wanted.since)
    if wanted.until is not None:
        query = query.where(matches.c.match_time <= wanted.until)
    if wanted.after is not None:
        # One comparison of rows, so that the index is entered where the page begins.
        place = sa.tuple_(matches.c.match_time, matches.c.match_id)
        query = query.where(place < sa.tuple_(*(sa.literal(part) for part in wanted.after)))
    return query.order_by(matches.c.match_time.desc(), matches.c.match_id.desc()).limit(count)


async def load_trades(database: Database, market: str, count: int, wanted: TradeFilter) -> list[StoredMatch]:
    """Those trades."""
    return await database.fetch(market_trades(market, count, wanted), stored_match)


def stored_match(row: Row) -> StoredMatch:
    """The value of a row."""
    values: dict[str, Any] = {name: bytes(row[name]) if name in _BINARY else row[name] for name in _FIELDS}
    return StoredMatch(**values)
