"""Writing to PostgreSQL: many rows are one COPY, or one UPDATE that joins an array for each parameter.

A statement for each row costs a visit to the executor, and one for each index; thousands of rows in one statement
cost a third of that. All of them are in one transaction that the server syncs to disk (`synchronous_commit` stays as
the operator set it; PostgreSQL's default waits for the disk).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from twinlock.server.db.prepared import Prepared, Statements
from twinlock.server.db.writes import DatabaseError, Write

_PARAMETER = re.compile(r"\$(\d+)::(\w+)")
_REFUSALS = (sa.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class PostgresStore:
    """A `Store` on connections of an engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        # The transaction is the driver's, because COPY is; SQLAlchemy must not begin another one.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statements = Statements(engine.dialect)

    async def commit(self, writes: Sequence[Write]) -> None:
        try:
            async with self._engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                async with driver.transaction():
                    for write in writes:
                        await self._execute(connection, driver, write)
        except _REFUSALS as error:
            raise DatabaseError(f"the database refused a write: {error}") from error

    async def tidy(self) -> None:
        """PostgreSQL does so by itself."""

    def close(self) -> None:
        """The engine belongs to whoever made it."""

    async def _execute(self, connection: AsyncConnection, driver: Any, write: Write) -> None:
        statement, rows = write
        if not rows:
            await connection.execute(statement)
            return
        prepared = self._statements.prepare(statement, rows[0])
        if isinstance(statement, sa.Insert) and len(rows) > 1:
            records = prepared.records(rows)
            await driver.copy_records_to_table(statement.table.name, records=records, columns=prepared.columns)
            return
        values = prepared.values(rows)
        if isinstance(statement, sa.Update) and len(rows) > 1 and _distinct(prepared, values):
            columns = [list(column) for column in zip(*values, strict=True)]
            await driver.execute(joined(prepared.text), *columns)
        else:
            await driver.executemany(prepared.text, values)


def joined(text: str) -> str:
    """An UPDATE of one row, made to take an array for each of its parameters.

    >>> joined("UPDATE t SET a=$1::BIGINT WHERE t.b = $2::BYTEA")
    'UPDATE t SET a=given.p1 FROM unnest($1::BIGINT[], $2::BYTEA[]) AS given(p1, p2) WHERE t.b = given.p2'
    """
    kinds = sorted({(int(number), kind) for number, kind in _PARAMETER.findall(text)})
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in kinds)
    names = ", ".join(f"p{number}" for number, _ in kinds)
    named = _PARAMETER.sub(r"given.p\1", text)
    return named.replace(" WHERE ", f" FROM unnest({arrays}) AS given({names}) WHERE ", 1)


def _distinct(prepared: Prepared, values: Sequence[tuple[Any, ...]]) -> bool:
    """Whether each row is about another one of the table's: a join would change a row once, to any of its values."""
    condition = prepared.text.partition(" WHERE ")[2]
    keys = [int(number) - 1 for number, _ in _PARAMETER.findall(condition)]
    return bool(keys) and len({tuple(row[key] for key in keys) for row in values}) == len(values)
