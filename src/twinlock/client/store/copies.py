"""Copies of the store: made while a client uses it, and put back. Neither takes the password: they stay encrypted."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from twinlock.client.errors import StoreCorruptError, StoreError
from twinlock.client.store.files import sync_folder, write_durably
from twinlock.client.store.lock import ProcessLock
from twinlock.client.store.schema import require_known
from twinlock.client.store.sqlite import FILE_NAME, has_store

_FILES = ("", "-wal", "-shm")
"""A store in use is these; they stay together."""


def back_up(folder: Path, target: Path) -> int:
    """Copy the store in `folder`, as it is at this moment, into the new file `target`; returns how many records it has.

    The file is whole, checked and on disk when the call returns. Raises StoreError, StoreCorruptError.
    """
    if not has_store(folder):
        raise StoreError(f"there is no store in {folder}", code="store.missing", fix="look at data_dir")
    if target.exists():
        raise StoreError(f"{target} exists already", code="store.exists", fix="name a file that does not, or a folder")
    draft = target.with_name(f".{target.name}.new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL, 0o600))
        with (
            closing(sqlite3.connect(f"file:{folder / FILE_NAME}?mode=rw", uri=True)) as source,
            closing(sqlite3.connect(draft)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        records = _check(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        draft.unlink(missing_ok=True)
        raise StoreError(f"the store cannot be copied to {target}: {error}", fix="choose another place") from error
    return records


def put_back(file: Path, folder: Path) -> Path | None:
    """Make a copy that `back_up` made the store in `folder`; returns where the one that was there is kept now.

    Raises StoreLockedError, StoreCorruptError or StoreError, and changes nothing then.
    """
    _check(file)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = ProcessLock(folder / "client.lock")
    try:
        aside = _move_aside(folder) if has_store(folder) else None
        write_durably(folder / FILE_NAME, file.read_bytes())
    finally:
        lock.release()
    return aside


def _move_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder / f"{FILE_NAME}.replaced-{number}").exists():
        number += 1
    # What a crash left in the log goes into the file, where it can; a damaged one is kept as it is.
    with suppress(sqlite3.Error), closing(sqlite3.connect(folder / FILE_NAME)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # The main file goes last: a crash in between leaves a store that opens, or is found again under the new name.
    for suffix in reversed(_FILES):
        source = folder / f"{FILE_NAME}{suffix}"
        if source.exists():
            source.rename(f"{aside}{suffix}")
    return aside


def _check(file: Path) -> int:
    """How many records the copy holds. Raises StoreCorruptError, StoreError."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
            verdict = [row[0] for row in db.execute("PRAGMA integrity_check(4)")]
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            vault = db.execute("SELECT count(*) FROM meta WHERE name = 'vault'").fetchone()[0]
            records = int(db.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.Error as error:
        raise StoreCorruptError(f"{file} is no copy of a store: {error}", fix="name another copy") from error
    if verdict != ["ok"] or not vault:
        raise StoreCorruptError(f"the copy {file} is damaged: {'; '.join(verdict)}", fix="name another copy")
    require_known(file, version)
    return records
