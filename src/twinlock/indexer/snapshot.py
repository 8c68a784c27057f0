"""Snapshots: a whole index in one file, to begin another server with, or to come back to.

A tar archive: first `snapshot.json`, which says of which chain it is and gives size and SHA-256 of every file, then the
files. What is imported is checked byte by byte before it becomes the index. Who imports a snapshot trusts its maker
with the histories that wallets are shown; `twinlock indexer check` compares them with one's own node.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from twinlock.chain.coins import Coin
from twinlock.errors import TwinlockError
from twinlock.indexer.lock import DirectoryLock
from twinlock.indexer.storage.disk import RealDisk
from twinlock.indexer.storage.manifest import FORMAT, read_manifest
from twinlock.indexer.storage.segments import SegmentStorage

_TABLE = "snapshot.json"
_LONGEST_TABLE = 1 << 24
_CHUNK = 1 << 20
_NAME = re.compile(r"(manifest|log-\d+|run-\d+/[a-z]+)")
_IMPORT = "import"
_ENDLESS = 1 << 30

Say = Callable[[str, int, int], None]
"""Receives a file's name, and how many bytes of how many are done."""


class SnapshotError(TwinlockError):
    """The snapshot cannot be made or taken."""

    code = "indexer.snapshot"
    fault = "user"


class Table(msgspec.Struct, frozen=True):
    """What a snapshot holds. chain: the first block's hash; files: size and SHA-256 (hex) of each."""

    coin: str
    network: str
    chain: str
    height: int
    tip: str
    format: int
    files: dict[str, tuple[int, str]]


def export_snapshot(coin: Coin, data_dir: Path, target: Path, say: Say) -> Table:
    """Write the index of a server that is stopped. Raises SnapshotError, InUseError."""
    lock = DirectoryLock(data_dir)
    try:
        if read_manifest(RealDisk(data_dir)) is None:
            raise SnapshotError(f"{data_dir} holds no index")
        storage = SegmentStorage(RealDisk(data_dir), coin.genesis_hash, _ENDLESS)
        height, tip = storage.height, storage.block_hash(storage.height)[::-1].hex()
        storage.close()
        names = [name for name in RealDisk(data_dir).names() if _NAME.fullmatch(name)]
        names.sort(key=lambda name: (name == "manifest", name))
        sizes = {name: (data_dir / name).stat().st_size for name in names}
        files = {name: (sizes[name], _digest(data_dir / name)) for name in names}
        table = Table(coin.symbol, str(coin.network), coin.genesis_hash, height, tip, FORMAT, files)
        _write(table, data_dir, target, say)
        return table
    finally:
        lock.release()


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _write(table: Table, data_dir: Path, target: Path, say: Say) -> None:
    total, done = sum(size for size, _ in table.files.values()), 0
    draft = target.with_name(target.name + ".part")
    with tarfile.open(draft, "w") as archive:
        body = msgspec.json.format(msgspec.json.encode(table))
        head = tarfile.TarInfo(_TABLE)
        head.size = len(body)
        archive.addfile(head, io.BytesIO(body))
        for name, (size, _) in table.files.items():
            info = tarfile.TarInfo(name)
            info.size = size
            with (data_dir / name).open("rb") as data:
                archive.addfile(info, data)
            done += size
            say(name, done, total)
    draft.replace(target)


def import_snapshot(coin: Coin, data_dir: Path, source: Path, say: Say) -> Table:
    """Make a snapshot the index of an empty data directory. Raises SnapshotError, InUseError."""
    lock = DirectoryLock(data_dir)
    try:
        if read_manifest(RealDisk(data_dir)) is not None:
            raise SnapshotError(f"{data_dir} holds an index already", fix="name an empty data directory")
        folder = data_dir / _IMPORT
        shutil.rmtree(folder, ignore_errors=True)
        try:
            table = _read(coin, source, folder, say)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        for name in sorted(table.files, key=lambda name: name == "manifest"):
            (data_dir / name).parent.mkdir(exist_ok=True)
            RealDisk(data_dir).replace(f"{_IMPORT}/{name}", name)
        shutil.rmtree(folder)
        _prove(coin, data_dir, table)
        return table
    finally:
        lock.release()


def _read(coin: Coin, source: Path, folder: Path, say: Say) -> Table:
    """Unpack into a folder of its own, checking everything."""
    try:
        with tarfile.open(source, "r:") as archive:
            table = _read_table(coin, archive)
            total, done = sum(size for size, _ in table.files.values()), 0
            missing = dict(table.files)
            for member in archive:
                if member.name == _TABLE:
                    continue
                wanted = missing.pop(member.name, None)
                data = archive.extractfile(member) if member.isfile() else None
                if wanted is None or data is None or not _NAME.fullmatch(member.name):
                    raise SnapshotError(f"{member.name!r} does not belong into a snapshot")
                _copy(data, folder / member.name, *wanted)
                done += wanted[0]
                say(member.name, done, total)
    except (tarfile.TarError, OSError) as error:
        raise SnapshotError(f"{source} cannot be read: {error}") from error
    if missing:
        raise SnapshotError(f"the snapshot lacks {', '.join(sorted(missing))}", fix="copy it again, completely")
    return table


def _read_table(coin: Coin, archive: tarfile.TarFile) -> Table:
    head = archive.next()
    data = archive.extractfile(head) if head and head.name == _TABLE and head.size <= _LONGEST_TABLE else None
    if data is None:
        raise SnapshotError("this is no snapshot of an index")
    try:
        table = msgspec.json.decode(data.read(), type=Table)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the snapshot's table cannot be read: {error}") from error
    if (table.coin, table.network, table.chain) != (coin.symbol, str(coin.network), coin.genesis_hash):
        raise SnapshotError(
            f"the snapshot is of {table.coin} {table.network}, this server is of {coin.symbol} {coin.network}",
            fix="name the coin and network of the snapshot",
        )
    if table.format != FORMAT:
        raise SnapshotError(
            f"the snapshot has format {table.format}, this program reads {FORMAT}",
            fix="make it with this version of the program",
        )
    return table


def _copy(data: IO[bytes], target: Path, size: int, digest: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    check = hashlib.sha256()
    written = 0
    with target.open("wb") as file:
        while chunk := data.read(_CHUNK):
            check.update(chunk)
            written += file.write(chunk)
    if written != size or check.hexdigest() != digest:
        raise SnapshotError(f"{target.name} in the snapshot is damaged", fix="copy the snapshot again")
    RealDisk(target.parent).append(target.name, size).sync()


def _prove(coin: Coin, data_dir: Path, table: Table) -> None:
    """Open what was imported, as a server would."""
    storage = SegmentStorage(RealDisk(data_dir), coin.genesis_hash, _ENDLESS)
    height, tip = storage.height, storage.block_hash(storage.height)[::-1].hex()
    storage.close()
    if (height, tip) != (table.height, table.tip):
        raise SnapshotError(f"the imported index ends at {height}, not at {table.height} as the snapshot says")
