"""The database: group commits for writing, short transactions for reading.

Writes are `Work`: statements with their rows, all or nothing. Works that arrive while a commit is under way
are committed together by the next one, so a burst of orders costs a few disk syncs. `write` returns after the
commit: what was acknowledged survives the loss of power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from twinlock.server.db.sqlite import SqliteStore, make_durable
from twinlock.server.db.writes import DatabaseError as DatabaseError
from twinlock.server.db.writes import Row as Row
from twinlock.server.db.writes import Store, merged
from twinlock.server.db.writes import Work as Work
from twinlock.server.db.writes import Write as Write

T = TypeVar("T")

_GROUP_MAX = 2_000


class Database:
    """One engine, one writer task, any number of readers.

    Use as an async context manager after the migrations ran (`twinlock.server.db.migrate`).
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._store = _store(url, self._engine)
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
        self._store.close()
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
                await self._store.tidy()
            finally:
                for _ in group:
                    self._queue.task_done()

    async def _commit(self, group: Sequence[tuple[Work, asyncio.Future[None]]]) -> None:
        """Commit a group at once; if that fails, each work alone, so that a bad one fails by itself."""
        try:
            await self._store.commit(merged(work for work, _ in group))
        except DatabaseError as error:
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            for single in group:
                await self._commit([single])
            return
        for _, done in group:
            if not done.done():
                done.set_result(None)


def _fail(done: asyncio.Future[None], error: DatabaseError) -> None:
    if not done.done():
        done.set_exception(error)


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=5, pool_pre_ping=True)
    engine = create_async_engine(url)
    make_durable(engine.sync_engine)
    return engine


def _store(url: str, engine: AsyncEngine) -> Store:
    if url.startswith("sqlite"):
        return SqliteStore(url)
    from twinlock.server.db.postgresql import PostgresStore  # its driver is an extra

    return PostgresStore(engine)
