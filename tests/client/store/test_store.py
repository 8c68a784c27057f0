"""The store and its twin pass the same tests; the one on disk survives what disks and processes do."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.full_disk import full_disk

from twinlock.client.errors import StoreCorruptError, StoreError, StoreLockedError, WrongPasswordError
from twinlock.client.store import MemoryStore, Record, SqliteStore, Store, changing
from twinlock.client.store.base import Place
from twinlock.client.store.copies import back_up, put_back
from twinlock.client.store.schema import MIGRATIONS
from twinlock.client.store.sqlite import FILE_NAME
from twinlock.client.store.vault import Cost, Vault
from twinlock.seams import SeededEntropy, SystemEntropy

QUICK = Cost(passes=1, memory_kib=8, lanes=1)


class Note(Record):
    kind: ClassVar[str] = "note"
    name: str
    text: bytes
    number: int = 0

    @property
    def key(self) -> str:
        return self.name


class Other(Note):
    kind: ClassVar[str] = "other"


class Marked(Record):
    kind: ClassVar[str] = "marked"
    name: str
    time: int
    words: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.name

    @property
    def marks(self) -> tuple[str, ...]:
        return self.words

    @property
    def at(self) -> int:
        return self.time


def open_store(folder: Path, password: str = "open sesame") -> SqliteStore:
    return SqliteStore(folder, password, SystemEntropy(), cost=QUICK)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else open_store(tmp_path)
    yield store
    store.close()


def test_what_was_put_is_read_back_as_a_copy(store: Store) -> None:
    note = Note(name="a", text=b"\x00\xff", number=2**60)
    store.put(note)
    note.number = 1
    read = store.get(Note, "a")
    assert read is not None
    assert read.number == 2**60
    read.number = 3
    assert store.get(Note, "a") == Note(name="a", text=b"\x00\xff", number=2**60)


def test_kinds_do_not_mix_and_all_is_ordered_by_key(store: Store) -> None:
    for name in ("b", "a", "c"):
        store.put(Note(name=name, text=name.encode()))
    store.put(Other(name="a", text=b"other"))
    assert [note.name for note in store.all(Note)] == ["a", "b", "c"]
    assert store.all(Other) == [Other(name="a", text=b"other")]
    store.delete(Note, "b")
    store.delete(Note, "never there")
    assert store.get(Note, "b") is None
    assert len(store.all(Note)) == 2


def test_records_are_found_by_the_beginning_of_their_keys(store: Store) -> None:
    for name in ("a", "ab1", "ab2", "ab3", "b"):
        store.put(Note(name=name, text=b""))
    assert [note.name for note in store.all(Note, "ab")] == ["ab1", "ab2", "ab3"]
    assert [note.name for note in store.all(Note, "ab", most=2)] == ["ab1", "ab2"]
    assert store.all(Note, "c") == []


def test_records_are_found_by_their_marks_newest_first(store: Store) -> None:
    for number, name in enumerate("abcde"):
        store.put(Marked(name=name, time=number // 2, words=("odd",) if number % 2 else ("even", "both")))
    assert [record.name for record in store.marked(Marked, "even")] == ["e", "c", "a"]
    assert [record.name for record in store.marked(Marked, "odd")] == ["d", "b"]
    assert [record.name for record in store.marked(Marked, "even", most=2)] == ["e", "c"]
    assert [record.name for record in store.marked(Marked, "both", before=Place(1, "c"))] == ["a"]
    assert not store.marked(Marked, "eve")
    assert not store.marked(Note, "even")


def test_marks_change_with_their_records_and_are_taken_back_with_them(store: Store) -> None:
    def found() -> dict[str, list[str]]:
        return {word: [record.name for record in store.marked(Marked, word)] for word in "xyz"}

    def attempt() -> None:
        with store.transaction():
            store.delete(Marked, "a")
            store.put(Marked(name="b", time=2))
            assert found() == {"x": [], "y": [], "z": []}
            raise KeyboardInterrupt

    store.put(Marked(name="a", time=1, words=("x", "y")))
    store.put(Marked(name="b", time=2, words=("x",)))
    store.put(Marked(name="a", time=1, words=("y", "z")))
    assert found() == {"x": ["b"], "y": ["a"], "z": ["a"]}
    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert found() == {"x": ["b"], "y": ["a"], "z": ["a"]}
    store.delete(Marked, "a")
    assert found() == {"x": ["b"], "y": [], "z": []}


def test_a_store_that_is_older_than_marks_finds_its_records_by_them(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store, store.transaction():
        for number in range(2_500):
            store.put(Marked(name=f"{number:04}", time=number, words=("odd",) if number % 2 else ()))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:  # as version 1 left it
        db.executescript("DROP TABLE marks; DELETE FROM meta WHERE name <> 'vault'; PRAGMA user_version = 1")
    with closing(open_store(tmp_path)) as store:
        store.put(Marked(name="0001", time=1))  # before anybody has asked
        assert [record.time for record in store.marked(Marked, "odd")] == list(range(2_499, 1, -2))
    with closing(open_store(tmp_path)) as store:
        assert len(store.marked(Marked, "odd")) == 1_249
    assert (tmp_path / f"{FILE_NAME}.v1.backup").exists()


def test_marks_are_not_on_disk_in_the_clear(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        store.put(Marked(name="a", time=1, words=("my own name for it",)))
        assert store.marked(Marked, "my own name for it")
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"my own name" not in written


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    store.put(Note(name="kept", text=b"1"))

    def attempt() -> None:
        with store.transaction():
            store.put(Note(name="kept", text=b"2"))
            with store.transaction():
                store.put(Note(name="new", text=b"3"))
            store.delete(Note, "kept")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert store.all(Note) == [Note(name="kept", text=b"1")]
    with store.transaction():
        store.put(Note(name="new", text=b"3"))
    assert len(store.all(Note)) == 2


def test_what_was_not_kept_is_taken_back_in_memory(store: Store) -> None:
    note, other = Note(name="a", text=b"1"), Note(name="b", text=b"1")

    def attempt() -> None:
        with store.transaction():
            with changing(store, note, other):
                note.text, other.number = b"2", 2
            with changing(store, note):
                note.number = 3
            raise KeyboardInterrupt

    with changing(store, note, other):
        note.number = 1
    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert store.all(Note) == [note, other] == [Note(name="a", text=b"1", number=1), Note(name="b", text=b"1")]
    with pytest.raises(KeyboardInterrupt), store.transaction():
        raise KeyboardInterrupt  # what was kept before is not taken back by another failure
    assert note.number == 1


@pytest.mark.parametrize("nested", [False, True])
def test_a_full_disk_changes_nothing_and_the_store_goes_on(tmp_path: Path, nested: bool) -> None:
    store, note = open_store(tmp_path), Note(name="a", text=b"1")
    store.put(note)

    def attempt() -> None:
        with store.transaction() if nested else nullcontext(), changing(store, note):
            note.text = bytes(1_000_000)

    with full_disk(200_000), pytest.raises(StoreError) as caught:
        attempt()
    assert "disk" in caught.value.fix
    assert store.get(Note, "a") == note == Note(name="a", text=b"1")
    attempt()
    assert store.get(Note, "a") == note == Note(name="a", text=bytes(1_000_000))
    store.close()


def test_the_file_opens_again_with_its_password_only(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.put(Note(name="a", text=b"correct horse"))
    first.close()
    with pytest.raises(WrongPasswordError):
        open_store(tmp_path, "open barley")
    second = open_store(tmp_path)
    second.change_password("open barley", QUICK)
    second.close()
    third = open_store(tmp_path, "open barley")
    assert third.all(Note) == [Note(name="a", text=b"correct horse")]
    third.close()


def test_nothing_secret_is_on_disk_in_the_clear(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put(Note(name="a", text=b"correct horse battery staple"))
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    store.close()
    assert any(b"note" in content for content in files)
    assert not any(b"battery" in content or b"open sesame" in content for content in files)


def test_the_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StoreLockedError) as caught:
        open_store(tmp_path)
    assert caught.value.numbers == {"pid": str(os.getpid())}
    store.close()
    open_store(tmp_path).close()


def test_a_record_moved_to_another_key_does_not_open(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put(Note(name="mine", text=b"1"))
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("UPDATE records SET key = 'yours'")
    db.close()
    store = open_store(tmp_path)
    with pytest.raises(StoreCorruptError):
        store.get(Note, "yours")
    store.close()


def test_a_damaged_file_is_told_and_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(200):
        store.put(Note(name=str(number), text=bytes(100)))
    store.close()
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xaa" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreCorruptError) as caught:
        open_store(tmp_path)
    assert "damaged-1" in caught.value.fix
    assert (tmp_path / f"{FILE_NAME}.damaged-1").read_bytes() == bytes(content)
    with pytest.raises(StoreCorruptError, match="damaged"):
        open_store(tmp_path)
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1, "one copy of it is enough, however often it is tried"


def test_each_migration_is_preceded_by_a_backup(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put(Note(name="old", text=b"1"))
    store.close()
    longer = (*MIGRATIONS, ("CREATE TABLE extra (x)",))
    SqliteStore(tmp_path, "open sesame", SystemEntropy(), migrations=longer).close()
    version = len(MIGRATIONS)
    backup = tmp_path / f"{FILE_NAME}.v{version}.backup"
    with sqlite3.connect(backup) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert db.execute("SELECT key FROM records").fetchall() == [("old",)]
    db.close()
    with pytest.raises(StoreError, match="newer"):
        open_store(tmp_path)


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    broken = (*MIGRATIONS, ("CREATE TABLE extra (x)", "NOT SQL"))
    with pytest.raises(sqlite3.OperationalError):
        SqliteStore(tmp_path, "open sesame", SystemEntropy(), migrations=broken)
    open_store(tmp_path).close()


def test_a_copy_made_while_the_store_is_written_is_one_moment_of_it(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path), iter(range(1_000))

    def write() -> None:
        with store.transaction():
            number = next(numbers)
            store.put(Note(name="first", text=bytes(5_000), number=number))
            store.put(Note(name="second", text=b"", number=number))

    write()
    assert back_up(tmp_path, tmp_path / "copy.db") == 2
    write()
    with store.transaction():
        store.put(Note(name="first", text=b"", number=99))
        assert back_up(tmp_path, tmp_path / "meanwhile.db") == 2, "what is not committed is not in it"
    with pytest.raises(StoreError) as exists:
        back_up(tmp_path, tmp_path / "copy.db")
    assert exists.value.code == "store.exists"
    store.close()
    for name, expected in (("copy.db", 0), ("meanwhile.db", 1)):
        folder = tmp_path / f"of-{name}"
        assert put_back(tmp_path / name, folder) is None
        again = open_store(folder)
        assert [note.number for note in again.all(Note)] == [expected, expected]
        again.close()
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_takes_the_place_of_a_store_that_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put(Note(name="a", text=b"", number=1))
    back_up(tmp_path, tmp_path / "copy.db")
    store.put(Note(name="a", text=b"", number=2))
    with pytest.raises(StoreLockedError):
        put_back(tmp_path / "copy.db", tmp_path)
    store.close()
    kept = put_back(tmp_path / "copy.db", tmp_path)
    assert kept is not None
    back = open_store(tmp_path)
    assert [note.number for note in back.all(Note)] == [1]
    back.close()
    put_back(kept, tmp_path)
    newest = open_store(tmp_path)
    assert [note.number for note in newest.all(Note)] == [2]
    newest.close()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, None])
def test_what_is_no_copy_is_refused_and_changes_nothing(tmp_path: Path, content: bytes | None) -> None:
    store = open_store(tmp_path)
    for number in range(200):
        store.put(Note(name=str(number), text=bytes(100)))
    back_up(tmp_path, tmp_path / "copy.db")
    store.close()
    if content is None:
        damaged = bytearray((tmp_path / "copy.db").read_bytes())
        damaged[4096:8192] = b"\xaa" * 4096
        content = bytes(damaged)
    (tmp_path / "copy.db").write_bytes(content)
    with pytest.raises(StoreCorruptError):
        put_back(tmp_path / "copy.db", tmp_path)
    open_store(tmp_path).close()
    with pytest.raises(StoreError) as missing:
        back_up(tmp_path / "elsewhere", tmp_path / "other.db")
    assert missing.value.code == "store.missing"


WRITER = """
import sys
from pathlib import Path
from tests.client.store.test_store import Note, open_store
store = open_store(Path(sys.argv[1]))
for number in range(100_000):
    with store.transaction():
        store.put(Note(name="first", text=b"", number=number))
        store.put(Note(name="second", text=b"", number=number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_kill_9_loses_no_acknowledged_write_and_tears_none(tmp_path: Path, lines: int) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert writer.stdout is not None
    acknowledged = -1
    for _ in range(lines):
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    store = open_store(tmp_path)
    first, second = store.get(Note, "first"), store.get(Note, "second")
    store.close()
    assert first is not None
    assert second is not None
    assert first.number == second.number >= acknowledged


@given(st.binary(max_size=300), st.text(max_size=20), st.integers(0, 400))
def test_any_altered_byte_is_noticed(plain: bytes, label: str, position: int) -> None:
    vault, _ = Vault.create("x", SeededEntropy(1), QUICK)
    sealed = bytearray(vault.seal(label, plain))
    assert vault.open(label, bytes(sealed)) == plain
    sealed[position % len(sealed)] ^= 1
    with pytest.raises(StoreCorruptError):
        vault.open(label, bytes(sealed))
