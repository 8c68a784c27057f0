"""Accounts, their bonds, prepaid codes and outcomes, as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from twinlock.protocol.reputation import WEIGHTS, WINDOWS, Outcome, OutcomeClass
from twinlock.server.db.backend import Database, Row, Write
from twinlock.server.db.schema import accounts, bonds, points, prepaid_bonds


class StoredBond(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted bond. amount: atoms; strength: tiers; lock_time: s."""

    asset_id: int
    coin_id: bytes
    account_id: bytes
    version: int
    amount: int
    strength: int
    lock_time: int

    @property
    def key(self) -> tuple[int, bytes]:
        """What identifies a bond."""
        return self.asset_id, self.coin_id


class Point(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One outcome of an account. link: the match or order it came from; stamp: ms."""

    account_id: bytes
    outcome: Outcome
    link: bytes
    stamp: int


class StoredAccount(msgspec.Struct, frozen=True):
    """An account as the database knows it; outcomes oldest first."""

    account_id: bytes
    pubkey: bytes
    bonds: Sequence[StoredBond]
    points: Sequence[Point]


class PrepaidCode(msgspec.Struct, frozen=True):
    """A code that the operator sold: 16 bytes, tiers, s."""

    code: bytes
    strength: int
    lock_time: int


_ADD_ACCOUNT = accounts.insert()
_ADD_BOND = bonds.insert()
_ADD_POINT = points.insert()
_ADD_CODE = prepaid_bonds.insert()


def add_account(account_id: bytes, pubkey: bytes, created: int) -> Write:
    """A new account; created in ms."""
    return Write(_ADD_ACCOUNT, [{"account_id": account_id, "pubkey": pubkey, "created": created}])


def add_bond(bond: StoredBond) -> Write:
    """A new bond of an existing account."""
    return Write(
        _ADD_BOND,
        [
            {
                "asset_id": bond.asset_id,
                "coin_id": bond.coin_id,
                "account_id": bond.account_id,
                "version": bond.version,
                "amount": bond.amount,
                "strength": bond.strength,
                "lock_time_s": bond.lock_time,
            }
        ],
    )


def drop_bond(bond: StoredBond) -> Write:
    """Forget an expired bond."""
    return Write(bonds.delete().where(bonds.c.asset_id == bond.asset_id, bonds.c.coin_id == bond.coin_id))


def add_codes(codes: Iterable[PrepaidCode]) -> Write:
    """New prepaid codes."""
    rows = [{"code": code.code, "strength": code.strength, "lock_time_s": code.lock_time} for code in codes]
    return Write(_ADD_CODE, rows)


def use_code(code: bytes) -> Write:
    """A prepaid code is used up."""
    return Write(prepaid_bonds.delete().where(prepaid_bonds.c.code == code))


def add_points(outcomes: Iterable[Point]) -> list[Write]:
    """Outcomes, in order."""
    rows = [
        {
            "account_id": point.account_id,
            "outcome_class": int(WEIGHTS[point.outcome].window),
            "outcome": int(point.outcome),
            "link": point.link,
            "stamp": point.stamp,
        }
        for point in outcomes
    ]
    return [Write(_ADD_POINT, rows)] if rows else []


def forgive_all(account_id: bytes) -> Write:
    """Drop every outcome that costs points."""
    bad = [int(outcome) for outcome, weight in WEIGHTS.items() if weight.score < 0]
    return Write(points.delete().where(points.c.account_id == account_id, points.c.outcome.in_(bad)))


def forgive_link(account_id: bytes, link: bytes) -> Write:
    """Turn what one match cost an account into forgiveness."""
    own = (points.c.account_id == account_id, points.c.link == link)
    return Write(points.update().where(*own).values(outcome=int(Outcome.FORGIVEN)))


async def load_account(database: Database, account_id: bytes) -> StoredAccount | None:
    """An account with its bonds and newest outcomes, or None."""
    pubkey = await database.fetch_one(
        sa.select(accounts.c.pubkey).where(accounts.c.account_id == account_id), lambda row: bytes(row["pubkey"])
    )
    if pubkey is None:
        return None
    own_bonds = await database.fetch(sa.select(bonds).where(bonds.c.account_id == account_id), _bond)
    return StoredAccount(account_id, pubkey, own_bonds, await load_points(database, account_id))


def newest_points(account_id: bytes, count: int) -> sa.Select[Any]:
    """The newest outcomes of each class: those in its window, and `count` at least."""
    pages = []
    for outcome_class, window in WINDOWS.items():
        own = points.c.account_id == account_id, points.c.outcome_class == int(outcome_class)
        page = sa.select(points).where(*own).order_by(points.c.number.desc()).limit(max(window, count))
        pages.append(sa.select(page.subquery(f"window{int(outcome_class)}")))
    return sa.select(sa.union_all(*pages).subquery("windows"))


async def load_points(database: Database, account_id: bytes, count: int = 0) -> list[Point]:
    """The newest outcomes of an account, oldest first: all that are in their windows, and `count` at least.

    However many of one class there are, they push none of another out: what costs points stays until its own window
    moves on.
    """
    found = await database.fetch(newest_points(account_id, count), _numbered)
    found.sort(key=lambda numbered: -numbered[0])
    seen: Counter[OutcomeClass] = Counter()
    kept: list[Point] = []
    for place, (_, point) in enumerate(found):
        window = WEIGHTS[point.outcome].window
        seen[window] += 1
        if place < count or seen[window] <= WINDOWS[window]:
            kept.append(point)
    return kept[::-1]


async def bond_owner(database: Database, asset_id: int, coin_id: bytes) -> bytes | None:
    """The account that a bond was accepted for."""
    query = sa.select(bonds.c.account_id).where(bonds.c.asset_id == asset_id, bonds.c.coin_id == coin_id)
    return await database.fetch_one(query, lambda row: bytes(row["account_id"]))


async def load_code(database: Database, code: bytes) -> PrepaidCode | None:
    """An unused prepaid code."""
    query = sa.select(prepaid_bonds).where(prepaid_bonds.c.code == code)
    return await database.fetch_one(
        query, lambda row: PrepaidCode(bytes(row["code"]), row["strength"], row["lock_time_s"])
    )


async def list_accounts(database: Database, after: bytes = b"", count: int = 100) -> list[bytes]:
    """Account IDs in their own order, a page at a time."""
    query = sa.select(accounts.c.account_id).where(accounts.c.account_id > after).order_by(accounts.c.account_id)
    return await database.fetch(query.limit(count), lambda row: bytes(row["account_id"]))


def _bond(row: Row) -> StoredBond:
    return StoredBond(
        asset_id=row["asset_id"],
        coin_id=bytes(row["coin_id"]),
        account_id=bytes(row["account_id"]),
        version=row["version"],
        amount=row["amount"],
        strength=row["strength"],
        lock_time=row["lock_time_s"],
    )


def _numbered(row: Row) -> tuple[int, Point]:
    point = Point(
        account_id=bytes(row["account_id"]),
        outcome=Outcome(row["outcome"]),
        link=bytes(row["link"]),
        stamp=row["stamp"],
    )
    return row["number"], point
