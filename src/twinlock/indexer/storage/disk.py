"""The seam to the disk: a folder of named files that are appended to, synced, mapped, renamed and removed.

Nothing else in the storage touches files, so a test's disk can lose what was not synced, tear a write or die at the
n-th operation.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol

_SYNCED_AT_ONCE = 16


class Appender(Protocol):
    """An open file that grows at its end."""

    @property
    def size(self) -> int:
        """Bytes in the file."""
        ...

    def write(self, data: bytes | memoryview) -> None: ...

    def sync(self) -> None:
        """Return when everything written survives a power cut."""
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    """A folder. Names may contain one slash; folders come and go by themselves."""

    def names(self) -> list[str]:
        """All files."""
        ...

    def append(self, name: str, keep: int) -> Appender:
        """Open for appending after the first `keep` bytes; whatever follows them is cut off. 0 begins anew."""
        ...

    def view(self, name: str) -> memoryview:
        """The file's present content, mapped. Raises FileNotFoundError."""
        ...

    def read(self, name: str, at: int, size: int) -> bytes:
        """A piece of the file, shorter where that ends; it does not stay in memory as what is mapped may."""
        ...

    def sync(self, files: Iterable[Appender]) -> None:
        """Return when everything written to these files survives a power cut."""
        ...

    def let_go(self, view: memoryview) -> None:
        """Take what is mapped out of memory; it comes back when it is looked at."""
        ...

    def replace(self, old: str, new: str) -> None:
        """Rename in one step, surviving a power cut."""
        ...

    def remove(self, name: str) -> None:
        """Forget a file."""
        ...


class _RealAppender:
    def __init__(self, path: Path, keep: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._named = path, path.exists()
        self._file: BinaryIO = path.open("r+b" if self._named and keep else "wb", buffering=0)
        self._file.truncate(keep)
        self._file.seek(keep)
        self.size = keep

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            done = self._file.write(rest)
            self.size += done
            rest = rest[done:]

    def sync(self) -> None:
        os.fsync(self._file.fileno())
        if not self._named:  # that a file is there is written in its folder, and so on upwards
            sync_folder(self._path.parent)
            sync_folder(self._path.parent.parent)
            self._named = True

    def close(self) -> None:
        self._file.close()


def sync_folder(path: Path) -> None:
    """What was made, renamed or removed in a folder is so on the disk too. Raises OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class RealDisk:
    """A folder of the file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())

    def append(self, name: str, keep: int) -> Appender:
        return _RealAppender(self._root / name, keep)

    def view(self, name: str) -> memoryview:
        with (self._root / name).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")  # an empty file cannot be mapped
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def read(self, name: str, at: int, size: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(at)
            return file.read(size)

    def sync(self, files: Iterable[Appender]) -> None:
        # Side by side: file systems write down many files' news at once, and hundreds in a row take seconds.
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            for _ in pool.map(lambda file: file.sync(), files):
                pass

    def let_go(self, view: memoryview) -> None:
        if isinstance(view.obj, mmap.mmap):
            view.obj.madvise(mmap.MADV_DONTNEED)

    def replace(self, old: str, new: str) -> None:
        target = self._root / new
        (self._root / old).replace(target)
        sync_folder(target.parent)

    def remove(self, name: str) -> None:
        path = self._root / name
        path.unlink(missing_ok=True)
        if path.parent != self._root and path.parent.exists() and not any(path.parent.iterdir()):
            path.parent.rmdir()


class _MemoryAppender:
    def __init__(self, disk: MemoryDisk, name: str, keep: int) -> None:
        self._disk = disk
        self._name = name
        disk.files[name] = disk.files.get(name, b"")[:keep]

    @property
    def size(self) -> int:
        return len(self._disk.files[self._name])

    def write(self, data: bytes | memoryview) -> None:
        half = len(data) // 2
        for piece in (data[:half], data[half:]):  # what goes wrong may do so in the middle
            if piece:
                self._disk.step()
                self._disk.files[self._name] += bytes(piece)

    def sync(self) -> None:
        self._disk.step()
        self._disk.durable[self._name] = self._disk.files[self._name]

    def close(self) -> None:
        """Nothing to let go."""


class DiskDied(Exception):  # noqa: N818
    """The disk of a test reached its last operation."""


class MemoryDisk:
    """A disk in memory that can die: at operation number `dies_at`, and for good; or be full, at `full_at`, once.

    `files` is what programs see. `durable` is what a power cut is sure to leave: content that was synced; it also
    keeps what was cut off or removed since a folder was last synced, which may come back.
    """

    def __init__(self, dies_at: int = 0, full_at: int = 0) -> None:
        self.full_at = full_at
        self.files: dict[str, bytes] = {}
        self.durable: dict[str, bytes] = {}
        self.steps = 0
        self.dies_at = dies_at

    def step(self) -> None:
        """Count a change."""
        self.steps += 1
        if self.dies_at and self.steps >= self.dies_at:
            raise DiskDied(f"operation {self.steps}")
        if self.steps == self.full_at:
            raise OSError(errno.ENOSPC, "no space left")

    def after_kill(self) -> MemoryDisk:
        """The program died, the machine did not: all is left."""
        return _disk_of(dict(self.files))

    def after_power_cut(self, torn: int = 0) -> MemoryDisk:
        """What is left of each file where it still is what was synced, and up to `torn` bytes of what follows."""
        left = {}
        for name, data in self.files.items():
            synced = self.durable.get(name, b"")
            left[name] = data if data is synced else data[: _same(data, synced) + torn]
        return _disk_of(left)

    def after_lost_writes(self) -> MemoryDisk:
        """Of all that was not synced, cutting and removing too, nothing has happened."""
        return _disk_of(dict(self.durable))

    def names(self) -> list[str]:
        return sorted(self.files)

    def append(self, name: str, keep: int) -> Appender:
        self.step()
        return _MemoryAppender(self, name, keep)

    def view(self, name: str) -> memoryview:
        if name not in self.files:
            raise FileNotFoundError(name)
        return memoryview(self.files[name])

    def read(self, name: str, at: int, size: int) -> bytes:
        return self.files[name][at : at + size]

    def sync(self, files: Iterable[Appender]) -> None:
        for file in files:
            file.sync()

    def let_go(self, view: memoryview) -> None:
        """All of this disk is memory."""

    def replace(self, old: str, new: str) -> None:
        self.step()
        self.files[new] = self.files.pop(old)
        self.durable[new] = self.durable.pop(old, b"")
        self.durable = {name: data for name, data in self.durable.items() if name in self.files}

    def remove(self, name: str) -> None:
        self.step()
        self.files.pop(name, None)


def _same(data: bytes, other: bytes) -> int:
    """Bytes that both begin with."""
    size = min(len(data), len(other))
    if data[:size] == other[:size]:
        return size
    return next(at for at in range(size) if data[at] != other[at])


def _disk_of(files: dict[str, bytes]) -> MemoryDisk:
    disk = MemoryDisk()
    disk.files, disk.durable = files, dict(files)
    return disk
