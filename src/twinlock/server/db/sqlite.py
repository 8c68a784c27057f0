"""Writing to SQLite: a thread of its own, one visit for each transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
import structlog

from twinlock.server.db.prepared import Statements
from twinlock.server.db.writes import DatabaseError, Write

log = structlog.get_logger(__name__)

# FULL syncs the write-ahead log at each commit: an acknowledged order survives a power cut.
_DURABLE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000")
# A big epoch touches tens of thousands of pages, and what does not fit the cache is written twice (the unit is kB).
# The log is copied into the database by `tidy`, after the commit is acknowledged, instead of within it.
_WRITER = ("cache_size=-65536", "wal_autocheckpoint=0")
_TIDY_ROWS = 5_000


class SqliteStore:
    """A `Store`. Its one connection is the only one that writes."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(
            url.replace("+aiosqlite", ""), poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
        )
        make_durable(self._engine, *_WRITER)
        self._statements = Statements(self._engine.dialect)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._untidy = 0

    async def commit(self, writes: Sequence[Write]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, writes)

    async def tidy(self) -> None:
        """Copy the log into the database, so that it stays short: a read of the database looks at all of it."""
        if self._untidy >= _TIDY_ROWS:
            self._untidy = 0
            await asyncio.get_running_loop().run_in_executor(self._thread, self._checkpoint)

    def close(self) -> None:
        self._thread.shutdown()
        self._engine.dispose()

    def _commit(self, writes: Sequence[Write]) -> None:
        try:
            with self._engine.begin() as connection:
                for write in writes:
                    self._execute(connection, write)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"the database refused a write: {error}") from error
        self._untidy += sum(len(write.rows) or 1 for write in writes)

    def _execute(self, connection: sa.Connection, write: Write) -> None:
        if write.rows:
            prepared = self._statements.prepare(write.statement, write.rows[0])
            connection.exec_driver_sql(prepared.text, prepared.values(write.rows))
        else:
            connection.execute(write.statement)

    def _checkpoint(self) -> None:
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        except sa.exc.SQLAlchemyError as error:
            # Everything is safe in the log; the next time will do.
            log.warning("the database's log stays long", error=str(error))


def make_durable(engine: sa.Engine, *more: str) -> None:
    """Set up each new connection to survive a power cut. more: further pragmas."""

    @sa.event.listens_for(engine, "connect")
    def _durable(connection: Any, _: object) -> None:
        for pragma in (*_DURABLE, *more):
            connection.execute(f"PRAGMA {pragma}")
