"""Backup of a running exchange, and its restoration.

What is backed up is what cannot be made again: the database, the sealed signing key, and the certificate that clients
have pinned. The database is saved as an SQLite file whatever engine serves it, and is restored to the engine that the
configuration names then: so this is the way from one engine to the other, too.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.errors import Fault
from twinlock.server.db.copying import copy_rows
from twinlock.server.db.migrate import migrate
from twinlock.server.db.writes import DatabaseError
from twinlock.server.errors import ServerError

DATABASE_FILE = "server.db"
_SQLITE = "sqlite+aiosqlite:///"
FILES = ("signing.key.json", "tls/server.cert", "tls/server.key")


class BackupError(ServerError):
    """The backup cannot be made or restored; nothing was overwritten."""

    code = "server.backup"
    fault: Fault = "user"


async def backup(url: str, data_dir: Path, target: Path) -> list[Path]:
    """Copy everything into a new folder while the server runs; the files written.

    The database is copied in one read transaction, so it is the state of one moment. Raises BackupError.
    """
    written = await asyncio.to_thread(_copy_files, data_dir, target)
    await _save(url, target / DATABASE_FILE)
    return [*written, target / DATABASE_FILE]


def _copy_files(data_dir: Path, target: Path) -> list[Path]:
    if target.exists():
        raise BackupError(f"{target} is there already", fix="name a new folder")
    target.mkdir(parents=True, mode=0o700)
    written = []
    for name in FILES:
        source = data_dir / name
        if source.exists():
            copy = target / name
            copy.parent.mkdir(exist_ok=True, mode=0o700)
            written.append(Path(shutil.copy2(source, copy)))
    return written


async def restore(source: Path, data_dir: Path, url: str = "") -> list[Path]:
    """Put a backup into an empty data directory, before the server starts; the files written.

    url: of an empty database that is to hold it, if that is not the file in the data directory. Raises BackupError.
    """
    files = [name for name in (DATABASE_FILE, *FILES) if (source / name).exists()]
    if not files:
        raise BackupError(f"{source} holds no backup", fix="name the folder that a backup was written to")
    taken = [name for name in files if (data_dir / name).exists()]
    if taken:
        raise BackupError(f"{data_dir / taken[0]} is there already", fix="restore into an empty data directory")
    if url and DATABASE_FILE in files:
        files.remove(DATABASE_FILE)
        await _fill(source / DATABASE_FILE, url)
    for name in files:
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [Path(shutil.copy2(source / name, data_dir / name)) for name in files]


async def _save(url: str, target: Path) -> None:
    try:
        if url.startswith("sqlite"):
            await _vacuum(url, target)
        else:
            await copy_rows(url, f"{_SQLITE}{target}")
    except (DatabaseError, sa.exc.SQLAlchemyError) as error:
        fix = "start this version of the exchange once"
        raise BackupError(f"the database was not saved: {error}", fix=fix) from error
    await asyncio.to_thread(target.chmod, 0o600)


async def _fill(saved: Path, url: str) -> None:
    """Through a copy, because what an older version saved must be brought to the present schema first."""
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{_SQLITE}{shutil.copy(saved, folder)}"
        try:
            await migrate(copy)
            await copy_rows(copy, url)
        except DatabaseError as error:
            raise BackupError(str(error), fix="restore into an empty database") from error


async def _vacuum(url: str, target: Path) -> None:
    """Quicker than row by row, and the very same database."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text("VACUUM INTO :target"), {"target": str(target)})
    finally:
        await engine.dispose()
