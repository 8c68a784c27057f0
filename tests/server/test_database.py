"""Group commits, on each engine: together when all is well, each for itself when one fails."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.server.db import Database, DatabaseError, Write
from twinlock.server.db.migrate import migrate
from twinlock.server.db.schema import meta, metadata

pytestmark = pytest.mark.anyio

ADD = meta.insert()


def row(key: str) -> Write:
    return Write(ADD, [{"key": key, "value": b"x"}])


@pytest.fixture
def url(db_url: str, tmp_path: object) -> str:
    return db_url or f"sqlite+aiosqlite:///{tmp_path}/test.db"


async def keys(database: Database) -> list[str]:
    return await database.fetch(sa.select(meta.c.key).order_by(meta.c.key), lambda found: str(found["key"]))


async def test_a_bad_work_fails_alone(url: str) -> None:
    await migrate(url)
    async with Database(url) as database:
        works = [[row("a")], [row("b"), row("a")], [row("c")]]
        results = await asyncio.gather(*(database.submit(work) for work in works), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), DatabaseError, type(None)]
        assert await keys(database) == ["a", "c"]


async def test_writes_keep_their_order_and_survive(url: str) -> None:
    await migrate(url)
    async with Database(url) as database:
        change = Write(meta.update().where(meta.c.key == "k7").values(value=b"changed"))
        pending = [database.submit([row(f"k{number}")]) for number in range(200)]
        pending.append(database.submit([change]))
    await asyncio.gather(*pending)
    async with Database(url) as database:
        assert len(await keys(database)) == 200
        found = await database.fetch_one(sa.select(meta.c.value).where(meta.c.key == "k7"), lambda r: bytes(r["value"]))
        assert found == b"changed"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql+nothing://x/y",
        "postgresql+asyncpg://nobody@127.0.0.1:1/x",
        "sqlite+aiosqlite:////nonexistent/server.db",
    ],
)
async def test_what_is_no_database_is_told_so(url: str) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened") as caught:
        await migrate(url)
    assert "db_url" in caught.value.fix


async def test_another_file_and_a_newer_schema_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        await migrate(f"sqlite+aiosqlite:///{tmp_path}/no.db")
    await migrate(f"sqlite+aiosqlite:///{tmp_path}/new.db")
    with sqlite3.connect(tmp_path / "new.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="newer Twinlock"):
        await migrate(f"sqlite+aiosqlite:///{tmp_path}/new.db")


async def test_the_steps_lead_to_the_schema(url: str) -> None:
    await migrate(url)
    await migrate(url)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: set(sa.inspect(sync).get_table_names()))
        columns = await connection.run_sync(
            lambda sync: {t: {c["name"] for c in sa.inspect(sync).get_columns(t)} for t in metadata.tables}
        )
    await engine.dispose()
    assert tables == set(metadata.tables) | {"alembic_version"}
    assert columns == {name: set(table.columns.keys()) for name, table in metadata.tables.items()}


CHANGE = meta.update().where(meta.c.key == sa.bindparam("wanted")).values(value=sa.bindparam("new"))


async def values(database: Database) -> dict[str, bytes]:
    return dict(await database.fetch(sa.select(meta), lambda found: (str(found["key"]), bytes(found["value"]))))


async def test_many_rows_of_one_statement_are_stored_as_one_by_one(url: str) -> None:
    await migrate(url)
    async with Database(url) as database:
        await database.write(Write(ADD, [{"key": f"k{number}", "value": b""} for number in range(100)]))
        await database.write(Write(CHANGE, [{"wanted": f"k{n}", "new": b"%d" % n} for n in range(99)]))
        assert await values(database) == {f"k{n}": b"%d" % n for n in range(99)} | {"k99": b""}
        await database.write(Write(CHANGE, [{"wanted": "k7", "new": b"first"}, {"wanted": "k7", "new": b"last"}]))
        assert (await values(database))["k7"] == b"last"
        assert (await values(database))["k8"] == b"8"


async def test_one_bad_row_among_many_undoes_the_whole_work(url: str) -> None:
    await migrate(url)
    async with Database(url) as database:
        await database.write(row("there"))
        bad = [{"key": name, "value": b"x"} for name in ("a", "b", "there", "c")]
        with pytest.raises(DatabaseError):
            await database.write(row("before"), Write(ADD, bad))
        assert await keys(database) == ["there"]
        await database.write(row("after"))
        assert await keys(database) == ["after", "there"]
