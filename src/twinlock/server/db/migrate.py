"""Bring a database to the present schema."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.server.db.writes import DatabaseError

_STEPS = Path(__file__).parent / "migrations"
_FIX = "start the database, or correct server.db_url; `twinlock server doctor` looks at both"


async def migrate(url: str, target: str = "head") -> None:
    """Run the missing steps in order; a database that is up to date is left alone. Raises DatabaseError."""
    try:
        if url.startswith("sqlite"):
            await asyncio.to_thread(_migrate_file, url, target)
        else:
            await _migrate_server(url, target)
    except CommandError as error:
        fix = "use the newer version of Twinlock"
        raise DatabaseError(f"the database was made by a newer Twinlock: {error}", fix=fix) from error
    except (SQLAlchemyError, OSError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise DatabaseError(f"the database cannot be opened: {reason}", fix=_FIX) from error


def _migrate_file(url: str, target: str) -> None:
    """By the plain driver: the one beside the loop leaves a thread behind when it cannot open the file."""
    engine = create_engine(url.replace("+aiosqlite", ""))
    try:
        with engine.begin() as connection:
            _upgrade(connection, target)
    finally:
        engine.dispose()


async def _migrate_server(url: str, target: str) -> None:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, target)
    finally:
        await engine.dispose()


def newest_step() -> str:
    """The step that this program's tables are made by."""
    newest = ScriptDirectory(str(_STEPS)).get_current_head()
    assert newest is not None
    return newest


def present_step(connection: Connection) -> str | None:
    """The last step that a database has seen; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, target: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_STEPS))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
