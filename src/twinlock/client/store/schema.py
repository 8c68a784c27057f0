"""The schema's history. Version N is reached by running migration N; never edit one that was released."""

from __future__ import annotations

from pathlib import Path

from twinlock.client.errors import StoreError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE records (kind TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE marks (kind TEXT, mark BLOB, at INTEGER, key TEXT, PRIMARY KEY (kind, mark, at, key))
        WITHOUT ROWID""",
    ),
)


def require_known(path: Path, version: int, known: int = len(MIGRATIONS)) -> None:
    """Raises StoreError for a version of the schema, found in `path`, that is later than those that are known."""
    if version > known:
        raise StoreError(
            f"the store {path} was written by a newer Twinlock",
            code="store.newer",
            numbers={"store": version, "known": known},
            fix="use the newer version of Twinlock",
        )
