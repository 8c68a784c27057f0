"""The record of what operators changed, as rows. It is only ever added to."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from twinlock.server.db.backend import Database, Row, Write
from twinlock.server.db.schema import audit

_ADD = audit.insert()


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One request of an operator. stamp: ms; address: where it came from; operator: the name given at login.

    request: the path with its query; status: of the HTTP answer; number: counted from 1, 0 before it is stored.
    """

    stamp: int
    address: str
    operator: str
    request: str
    body: str
    status: int
    number: int = 0


def add_audit(entry: AuditEntry) -> Write:
    """A new entry; what is longer than its column is cut."""
    row = {
        "stamp": entry.stamp,
        "address": entry.address[:64],
        "operator": _text(entry.operator)[:64],
        "request": _text(entry.request)[:512],
        "body": _text(entry.body)[:4096],
        "status": entry.status,
    }
    return Write(_ADD, [row])


def _text(given: str) -> str:
    """PostgreSQL has no text with a zero in it."""
    return given.replace("\0", "\ufffd")


async def load_audit(database: Database, before: int = 0, count: int = 100) -> list[AuditEntry]:
    """The newest entries, newest first; with `before` those older than that number."""
    query = sa.select(audit).order_by(audit.c.number.desc()).limit(count)
    return await database.fetch(query.where(audit.c.number < before) if before else query, _entry)


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(**{field.name: row[field.name] for field in msgspec.structs.fields(AuditEntry)})
