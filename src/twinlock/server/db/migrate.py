"""Bring a database to the present schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.server.db.writes import DatabaseError

_STEPS = Path(__file__).parent / "migrations"
_SQLITE = b"SQLite format 3\0"
_FIX = "start the database, or correct server.db_url; `twinlock server doctor` looks at both"


async def migrate(url: str, target: str = "head") -> None:
    """Run the missing steps in order; a database that is up to date is left alone. Raises DatabaseError."""
    _check_file(make_url(url))
    try:
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade, target)
        finally:
            await engine.dispose()
    except CommandError as error:
        fix = "use the newer version of Twinlock"
        raise DatabaseError(f"the database was made by a newer Twinlock: {error}", fix=fix) from error
    except (SQLAlchemyError, OSError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise DatabaseError(f"the database cannot be opened: {reason}", fix=_FIX) from error


def _check_file(url: URL) -> None:
    """A file that is no database is told before its driver opens it, which leaves a thread behind when it fails."""
    path = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except OSError as error:
        raise DatabaseError(f"the database cannot be opened: {error}", fix=_FIX) from error
    if head and head != _SQLITE:
        raise DatabaseError(f"the database cannot be opened: {path} is not a database", fix=_FIX)


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
