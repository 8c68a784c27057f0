"""Backup of a running exchange on SQLite, and its restoration.

What is backed up is what cannot be made again: the database, the sealed signing key, and the certificate that clients
have pinned. On PostgreSQL the database is saved with PostgreSQL's own tools; the files here are saved all the same.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.errors import Fault
from twinlock.server.errors import ServerError

DATABASE_FILE = "server.db"
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
    if url.startswith("sqlite"):
        await _copy_database(url, target / DATABASE_FILE)
        written.append(target / DATABASE_FILE)
    return written


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


def restore(source: Path, data_dir: Path) -> list[Path]:
    """Put a backup into an empty data directory, before the server starts; the files written. Raises BackupError."""
    files = [name for name in (DATABASE_FILE, *FILES) if (source / name).exists()]
    if not files:
        raise BackupError(f"{source} holds no backup", fix="name the folder that a backup was written to")
    taken = [name for name in files if (data_dir / name).exists()]
    if taken:
        raise BackupError(f"{data_dir / taken[0]} is there already", fix="restore into an empty data directory")
    for name in files:
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [Path(shutil.copy2(source / name, data_dir / name)) for name in files]


async def _copy_database(url: str, target: Path) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text("VACUUM INTO :target"), {"target": str(target)})
    finally:
        await engine.dispose()
    await asyncio.to_thread(target.chmod, 0o600)
