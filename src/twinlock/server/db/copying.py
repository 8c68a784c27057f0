"""All rows of one database into another, whatever engines the two have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from twinlock.server.db.migrate import migrate, newest_step, present_step
from twinlock.server.db.schema import metadata
from twinlock.server.db.writes import DatabaseError

_ROWS = 1_000


async def copy_rows(source: str, target: str) -> None:
    """Fill an empty database with what another one held at one moment; both are URLs.

    The source may be in use. Its schema must be the present one. Raises DatabaseError; then nothing was copied.
    """
    async with _transaction(source, isolation_level=_SNAPSHOT.get(sa.make_url(source).get_backend_name())) as old:
        step = await old.run_sync(present_step)
        if step != newest_step():
            raise DatabaseError(f"the database is at step {step} of its schema, not at {newest_step()}")
        await migrate(target)
        async with _transaction(target) as new:
            for table in metadata.sorted_tables:
                if await new.scalar(sa.select(sa.literal(1)).select_from(table).limit(1)):
                    raise DatabaseError(f"there are {table.name} in the database already")
                rows = await old.stream(sa.select(table), execution_options={"yield_per": _ROWS})
                async for portion in rows.mappings().partitions():
                    await new.execute(table.insert(), [dict(row) for row in portion])
                await _count_on(new, table)


_SNAPSHOT = {"postgresql": "REPEATABLE READ", "sqlite": None}
"""What makes a transaction see one moment only; SQLite's do by themselves."""


@asynccontextmanager
async def _transaction(url: str, isolation_level: str | None = None) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url, **({"isolation_level": isolation_level} if isolation_level else {}))
    try:
        async with engine.begin() as connection:
            yield connection
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"the database cannot be copied: {error}") from error
    finally:
        await engine.dispose()


async def _count_on(connection: AsyncConnection, table: sa.Table) -> None:
    """PostgreSQL numbers new rows by a sequence, which knows nothing of rows that brought their numbers along."""
    counter = table.autoincrement_column
    if counter is None or connection.dialect.name != "postgresql" or counter.autoincrement is not True:
        return
    last = sa.select(sa.func.max(counter)).scalar_subquery()
    sequence = sa.func.pg_get_serial_sequence(table.name, counter.name)
    await connection.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(last, 0) + 1, sa.false())))
