"""The database: group commits for writing, short transactions for reading.

Writes are `Work`: statements with their rows, all or nothing. Works that arrive while a commit is under way
are committed together by the next one, so a burst of orders costs a few disk syncs. `write` returns after the
commit: what was acknowledged survives the loss of power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from twinlock.server.db.prepared import Row as Row
from twinlock.server.db.prepared import Statements
from twinlock.server.errors import ServerError

T = TypeVar("T")

_GROUP_MAX = 2_000


class Write(NamedTuple):
    """A statement and the rows it runs for; an empty list of rows means that it stands alone."""

    statement: sa.Executable
    rows: Sequence[Row] = ()


Work = Sequence[Write]
"""Writes that commit together or not at all."""


class DatabaseError(ServerError):
    """The database refused or lost a write; nothing of that work was stored."""

    code = "server.database"


class Database:
    """One engine, one writer task, any number of readers.

    Use as an async context manager after the migrations ran (`twinlock.server.db.migrate`).
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._statements = Statements(self._engine.dialect)
        self._local = _local_engine(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._queue: asyncio.Queue[tuple[Work, asyncio.Future[None]]] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Database:
        self._writer = asyncio.create_task(self._write_forever(), name="database writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._queue.join()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        self._thread.shutdown()
        if self._local is not None:
            self._local.dispose()
        await self._engine.dispose()

    def abort(self) -> None:
        """Write nothing more, not even what is queued."""
        if self._writer is not None:
            self._writer.cancel()
        self._queue = asyncio.Queue()

    def submit(self, work: Work) -> asyncio.Future[None]:
        """Queue a work in order; the future is done once it is committed, or carries a DatabaseError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((work, done))
        return done

    async def write(self, *work: Write) -> None:
        """Commit the writes as one work. Raises DatabaseError."""
        await self.submit(work)

    async def fetch(self, statement: sa.Select[Any], build: Callable[[Row], T]) -> list[T]:
        """All rows of a query, each made into a value."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(statement)
            return [build(row) for row in rows.mappings()]

    async def fetch_one(self, statement: sa.Select[Any], build: Callable[[Row], T]) -> T | None:
        """The first row of a query, or None."""
        found = await self.fetch(statement.limit(1), build)
        return found[0] if found else None

    async def _write_forever(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < _GROUP_MAX and not self._queue.empty():
                group.append(self._queue.get_nowait())
            try:
                await self._commit(group)
            finally:
                for _ in group:
                    self._queue.task_done()

    async def _commit(self, group: Sequence[tuple[Work, asyncio.Future[None]]]) -> None:
        """Commit a group at once; if that fails, each work alone, so that a bad one fails by itself."""
        try:
            await self._transaction(work for work, _ in group)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            for single in group:
                await self._commit([single])
            return
        for _, done in group:
            if not done.done():
                done.set_result(None)

    async def _transaction(self, works: Iterable[Work]) -> None:
        merged = _merged(write for work in works for write in work)
        if self._local is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._commit_in_thread, self._local, merged)
            return
        async with self._engine.begin() as connection:
            await connection.run_sync(self._execute, merged)

    def _commit_in_thread(self, engine: sa.Engine, merged: Iterable[Write]) -> None:
        with engine.begin() as connection:
            self._execute(connection, merged)

    def _execute(self, connection: sa.Connection, merged: Iterable[Write]) -> None:
        for statement, rows in merged:
            if len(rows) > 1:
                prepared = self._statements.prepare(statement, rows[0])
                connection.exec_driver_sql(prepared.text, prepared.values(rows))
            elif rows:
                connection.execute(statement, rows)
            else:
                connection.execute(statement)


def _merged(writes: Iterable[Write]) -> list[Write]:
    """Neighbouring writes with the very same statement become one with all their rows."""
    merged: list[Write] = []
    together: list[Row] = []
    for statement, rows in writes:
        if together and rows and merged[-1].statement is statement:
            together.extend(rows)
        else:
            together = list(rows)
            merged.append(Write(statement, together))
    return merged


def _fail(done: asyncio.Future[None], error: Exception) -> None:
    if not done.done():
        done.set_exception(DatabaseError(f"the database refused a write: {error}"))


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=5, pool_pre_ping=True)
    engine = create_async_engine(url)
    _make_durable(engine.sync_engine)
    return engine


def _local_engine(url: str) -> sa.Engine | None:
    """Where SQLite writes: a whole transaction is one visit to a thread, not one for each statement."""
    if not url.startswith("sqlite"):
        return None
    engine = sa.create_engine(
        url.replace("+aiosqlite", ""), poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
    )
    _make_durable(engine)
    return engine


def _make_durable(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _durable(connection: Any, _: object) -> None:
        # FULL syncs the write-ahead log at each commit: an acknowledged order survives a power cut.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")
