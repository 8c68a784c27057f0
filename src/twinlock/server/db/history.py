"""Finished business, a page at a time: orders, matches and candles, the newest first.

A page begins after a `Place`, the time and the ID of the last row of the page before: no page costs more than
another, and rows that arrive meanwhile shift nothing. Who asks keeps `count` between 1 and `PAGE_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from twinlock.protocol.candles import Candle
from twinlock.server.db.backend import Database, Row
from twinlock.server.db.epochs import stored_candle
from twinlock.server.db.matches import StoredMatch, stored_match
from twinlock.server.db.orders import StoredOrder, stored_order
from twinlock.server.db.schema import MATCH_ACTIVE, candles, matches, orders

T = TypeVar("T")

PAGE_MAX = 1_000


class Place(NamedTuple):
    """Where a page begins. stamp: ms; id: 32 bytes."""

    stamp: int
    id: bytes


NEWEST = Place(2**63 - 1, b"")
"""Before the first page."""


def account_orders(account_id: bytes, after: Place = NEWEST, count: int = 100) -> sa.Select[Any]:
    """The orders of an account."""
    return _page(sa.select(orders).where(orders.c.account_id == account_id), _ORDER, after, count)


def market_orders(market: str, after: Place = NEWEST, count: int = 100) -> sa.Select[Any]:
    """The orders of a market."""
    return _page(sa.select(orders).where(orders.c.market == market), _ORDER, after, count)


def account_matches(account_id: bytes, after: Place = NEWEST, count: int = 100) -> sa.Select[Any]:
    """The matches of an account on either side.

    Each side gives a page of its own from its own index; the two are merged and cut. A trade with itself is there once.
    """
    sides = (matches.c.taker_account == account_id, matches.c.maker_account == account_id)
    pages = [
        _page(sa.select(matches.c.match_id).where(side), _MATCH, after, count).subquery(f"side{number}")
        for number, side in enumerate(sides)
    ]
    either = sa.union(*(sa.select(page.c.match_id) for page in pages))
    query = sa.select(matches).where(matches.c.match_id.in_(either))
    return query.order_by(*(column.desc() for column in _MATCH)).limit(count)


def market_matches(market: str, after: Place = NEWEST, count: int = 100, *, ended: bool = True) -> sa.Select[Any]:
    """The matches of a market; ended: also those that settle no more."""
    query = sa.select(matches).where(matches.c.market == market)
    return _page(query if ended else query.where(MATCH_ACTIVE), _MATCH, after, count)


def market_candles(market: str, bin_ms: int, before: int, count: int = 100) -> sa.Select[Any]:
    """The candles of a bin size whose bins begin before that moment (ms)."""
    query = sa.select(candles).where(candles.c.market == market, candles.c.bin_ms == bin_ms)
    return query.where(candles.c.bin < -(-before // bin_ms)).order_by(candles.c.bin.desc()).limit(count)


async def read_orders(database: Database, query: sa.Select[Any]) -> list[StoredOrder]:
    """The orders of a page."""
    return await database.fetch(query, stored_order)


async def read_matches(database: Database, query: sa.Select[Any]) -> list[StoredMatch]:
    """The matches of a page."""
    return await database.fetch(query, stored_match)


async def read_candles(database: Database, query: sa.Select[Any]) -> list[Candle]:
    """The candles of a page."""
    return await database.fetch(query, stored_candle)


async def orders_by_id(database: Database, ids: Sequence[bytes]) -> list[StoredOrder]:
    """Those of the orders that are there, in no order."""
    return await _by_id(database, orders.c.order_id, ids, stored_order)


async def matches_by_id(database: Database, ids: Sequence[bytes]) -> list[StoredMatch]:
    """Those of the matches that are there, in no order."""
    return await _by_id(database, matches.c.match_id, ids, stored_match)


async def _by_id(database: Database, key: sa.Column[bytes], ids: Sequence[bytes], build: Callable[[Row], T]) -> list[T]:
    found: list[T] = []
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        part = wanted[start : start + _IDS_AT_ONCE]
        found += await database.fetch(sa.select(key.table).where(key.in_(part)), build)
    return found


_IDS_AT_ONCE = 500
"""SQLite takes a bounded number of parameters."""
_ORDER = (orders.c.server_time, orders.c.order_id)
_MATCH = (matches.c.match_time, matches.c.match_id)


def _page(query: sa.Select[Any], place: tuple[sa.Column[Any], ...], after: Place, count: int) -> sa.Select[Any]:
    beyond = sa.tuple_(*place) < sa.tuple_(
        *(sa.bindparam(None, value, type_=c.type) for c, value in zip(place, after, strict=True))
    )
    return query.where(beyond).order_by(*(column.desc() for column in place)).limit(count)
