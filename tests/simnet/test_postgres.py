"""A real PostgreSQL server runs beside the tests, whoever runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.simnet.postgres import Postgres
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node]


async def test_postgres_answers_and_dies_with_the_story(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("postgres")
    async with Processes(tmp_path / "logs") as processes:
        postgres = Postgres(tmp_path / "cluster", processes)
        await postgres.start()
        engine = create_async_engine(postgres.url)
        async with engine.connect() as connection:
            version = (await connection.execute(text("select version()"))).scalar_one()
        await engine.dispose()
        assert version.startswith("PostgreSQL 1")
    assert postgres.process is not None
    assert not postgres.process.running
