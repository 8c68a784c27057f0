"""The store on disk: one SQLite file in WAL mode, every body sealed by the vault, one process at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from twinlock.client.errors import StoreCorruptError, StoreError
from twinlock.client.store.base import Place, R, Record, Transactional, decode, encode
from twinlock.client.store.lock import ProcessLock
from twinlock.client.store.schema import MIGRATIONS, require_known
from twinlock.client.store.vault import Cost, Vault, VaultHeader
from twinlock.seams import Entropy

FILE_NAME = "client.db"

_MARKED = "marked/"
"""Begins the name of what says that the marks of a kind are in their table: an older store has none."""

_PAGE = 1_000
"""Records that are marked at once."""

_NEWEST = Place(2**63 - 1, "")


def has_store(folder: Path) -> bool:
    """Whether there is one, whatever its state."""
    return (folder / FILE_NAME).exists()


def forget_store(folder: Path) -> None:
    """Remove a closed store that was made in vain."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{FILE_NAME}{suffix}").unlink(missing_ok=True)


class SqliteStore(Transactional):
    """Opens or creates `<folder>/client.db`. The outermost transaction is one durable commit.

    Raises StoreLockedError, WrongPasswordError, StoreCorruptError (after copying the damaged file aside) or StoreError
    (a file written by a newer version).
    """

    def __init__(
        self,
        folder: Path,
        password: str,
        entropy: Entropy,
        *,
        cost: Cost | None = None,
        migrations: Sequence[Sequence[str]] = MIGRATIONS,
    ) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / FILE_NAME
        self._lock = ProcessLock(folder / "client.lock")
        try:
            self._db = _connect(self.path)
            try:
                _check(self._db, self.path)
                _migrate(self._db, self.path, migrations)
                self._vault = self._open_vault(password, entropy, cost)
                names = self._db.execute("SELECT name FROM meta WHERE name GLOB ?", (_MARKED + "*",)).fetchall()
                self._marked = {name.removeprefix(_MARKED) for (name,) in names}
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    def put(self, record: Record) -> None:
        sealed = self._vault.seal(f"{record.kind}/{record.key}", encode(record))
        with self.transaction():
            self._mark(record)
            self._execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", record.kind, record.key, sealed)

    def get(self, record_type: type[R], key: str) -> R | None:
        query = "SELECT body FROM records WHERE kind = ? AND key = ?"
        row = self._execute(query, record_type.kind, key).fetchone()
        return None if row is None else self._decode(record_type, key, row[0])

    def all(self, record_type: type[R], prefix: str = "", most: int | None = None) -> list[R]:
        query = "SELECT key, body FROM records WHERE kind = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
        # No key holds the last of all characters.
        rows = self._execute(query, record_type.kind, prefix, prefix + chr(0x10FFFF), _limit(most)).fetchall()
        return [self._decode(record_type, key, body) for key, body in rows]

    def marked(
        self, record_type: type[R], mark: str, *, before: Place | None = None, most: int | None = None
    ) -> list[R]:
        kind, (at, key) = record_type.kind, before or _NEWEST
        self._mark_older(record_type)
        query = (
            "SELECT key, body FROM marks JOIN records USING (kind, key)"
            " WHERE kind = ? AND mark = ? AND (at, key) < (?, ?) ORDER BY at DESC, key DESC LIMIT ?"
        )
        rows = self._execute(query, kind, self._blind(kind, mark), at, key, _limit(most)).fetchall()
        return [self._decode(record_type, key, body) for key, body in rows]

    def delete(self, record_type: type[Record], key: str) -> None:
        with self.transaction():
            self._unmark(record_type, key)
            self._execute("DELETE FROM records WHERE kind = ? AND key = ?", record_type.kind, key)

    def change_password(self, password: str, cost: Cost | None = None) -> None:
        """From now on the store opens with `password` only."""
        self._write_header(self._vault.rewrap(password, cost))

    def close(self) -> None:
        self._db.close()
        self._lock.release()

    # Marks -------------------------------------------------------------------------------------------------

    def _mark(self, record: Record) -> None:
        """Write down what the record that is about to be put is found by."""
        known = self._unmark(type(record), record.key, keep=record.marks)
        for mark in record.marks:
            if mark not in known:
                self._execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", *self._row(record, mark))

    def _row(self, record: Record, mark: str) -> tuple[str, bytes, int, str]:
        return (record.kind, self._blind(record.kind, mark), *record.place)

    def _unmark(self, record_type: type[Record], key: str, keep: Sequence[str] = ()) -> Sequence[str]:
        """Take away what the record as it is stored was found by, and shall not be any more; what it was found by."""
        before: Record | None = None
        if record_type.marks is Record.marks:  # none of that kind has any
            return ()
        with suppress(StoreCorruptError):  # one that cannot be read any more must not keep a better one out
            before = self.get(record_type, key)
        if before is None:
            return ()
        for mark in set(before.marks).difference(keep):
            query = "DELETE FROM marks WHERE kind = ? AND mark = ? AND at = ? AND key = ?"
            self._execute(query, *self._row(before, mark))
        return before.marks

    def _mark_older(self, record_type: type[R]) -> None:
        """Write down what the records are found by that are older than the table of marks: once for each kind."""
        kind = record_type.kind
        if kind in self._marked:
            return
        with self.transaction():
            # Gathered first and then written in order, so that each page of the table is touched once.
            self._execute("CREATE TEMP TABLE older (kind, mark, at, key)")
            key = ""
            while rows := self._after(record_type, key):
                key = rows[-1].key
                for row in (self._row(record, mark) for record in rows for mark in record.marks):
                    self._execute("INSERT INTO older VALUES (?, ?, ?, ?)", *row)
            self._execute("INSERT OR REPLACE INTO marks SELECT * FROM older ORDER BY kind, mark, at, key")
            self._execute("DROP TABLE older")
            self._execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", _MARKED + kind, b"")
            self.undo(partial(self._marked.discard, kind))
            self._marked.add(kind)

    def _after(self, record_type: type[R], key: str) -> list[R]:
        query = "SELECT key, body FROM records WHERE kind = ? AND key > ? ORDER BY key LIMIT ?"
        rows = self._execute(query, record_type.kind, key, _PAGE).fetchall()
        return [self._decode(record_type, key, body) for key, body in rows]

    def _blind(self, kind: str, mark: str) -> bytes:
        return self._vault.blind(f"{kind}/{mark}")

    # Inside ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def _keep(self) -> None:
        self._execute("COMMIT")

    def _take_back(self) -> None:
        with suppress(sqlite3.Error):  # where the disk is full, SQLite may have done so by itself
            self._db.execute("ROLLBACK")

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(
                f"the store {self.path} cannot be used: {error}", fix="see whether its disk is full or failing"
            ) from error

    def _decode(self, record_type: type[R], key: str, body: bytes) -> R:
        plain = self._vault.open(f"{record_type.kind}/{key}", body)
        try:
            return decode(record_type, plain)
        except msgspec.DecodeError as error:
            raise StoreCorruptError(f"record {record_type.kind}/{key} does not decode: {error}") from error

    def _open_vault(self, password: str, entropy: Entropy, cost: Cost | None) -> Vault:
        row = self._db.execute("SELECT value FROM meta WHERE name = 'vault'").fetchone()
        if row is not None:
            return Vault.unlock(msgspec.msgpack.decode(row[0], type=VaultHeader), password, entropy)
        vault, header = Vault.create(password, entropy, cost)
        self._write_header(header)
        return vault

    def _write_header(self, header: VaultHeader) -> None:
        with self.transaction():
            self._execute("INSERT OR REPLACE INTO meta VALUES ('vault', ?)", msgspec.msgpack.encode(header))


def _limit(most: int | None) -> int:
    return -1 if most is None else most  # to SQLite, none


def _connect(path: Path) -> sqlite3.Connection:
    new = not path.exists()
    db = sqlite3.connect(path, isolation_level=None)
    if new:
        path.chmod(0o600)
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        verdict = [row[0] for row in db.execute("PRAGMA integrity_check(4)")]
    except sqlite3.DatabaseError as error:
        verdict = [str(error)]
    if verdict != ["ok"]:
        aside = _copy_aside(path)
        raise StoreCorruptError(
            f"the store {path} is damaged: {'; '.join(verdict)}",
            fix=f"a copy is kept in {aside}; {_way_back(path)}",
        )


def _way_back(path: Path) -> str:
    backups = sorted(path.parent.glob(f"{path.name}.v*.backup"), key=lambda found: found.stat().st_mtime)
    recover = "remove it and run `twinlock client recover`: the words and the recovery file bring back all but labels"
    return f"put {backups[-1]} in its place, or {recover}" if backups else recover


def _copy_aside(path: Path) -> Path:
    """Once for each damage: whatever starts the client again and again must not fill the disk with copies."""
    damaged, number = path.read_bytes(), 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        if aside.read_bytes() == damaged:
            return aside
        number += 1
    aside.write_bytes(damaged)
    return aside


def _migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    require_known(path, version, len(migrations))
    for target in range(version + 1, len(migrations) + 1):
        if target > 1:
            _backup(db, path.with_name(f"{path.name}.v{target - 1}.backup"))
        db.execute("BEGIN IMMEDIATE")
        for statement in migrations[target - 1]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {target}")
        db.execute("COMMIT")


def _backup(db: sqlite3.Connection, path: Path) -> None:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as copy:
        db.backup(copy)
    copy.close()
    path.chmod(0o600)
