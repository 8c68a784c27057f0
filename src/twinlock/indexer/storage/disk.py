"""The seam to the disk: a folder of named files that are appended to, synced, mapped, renamed and removed.

Nothing else in the storage touches files, so a test's disk can lose what was not synced, tear a write or die at the
n-th operation.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO, Protocol


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
        self._file: BinaryIO = path.open("r+b" if path.exists() and keep else "wb", buffering=0)
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

    def close(self) -> None:
        self._file.close()


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

    def let_go(self, view: memoryview) -> None:
        if isinstance(view.obj, mmap.mmap):
            view.obj.madvise(mmap.MADV_DONTNEED)

    def replace(self, old: str, new: str) -> None:
        target = self._root / new
        (self._root / old).replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

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
        if keep == 0:
            disk.synced[name] = 0
        disk.synced[name] = min(disk.synced.get(name, 0), keep)

    @property
    def size(self) -> int:
        return len(self._disk.files[self._name])

    def write(self, data: bytes | memoryview) -> None:
        try:
            self._disk.step()
        except OSError:
            self._disk.files[self._name] += bytes(data[: len(data) // 2])  # as much as there was room for
            raise
        self._disk.files[self._name] += bytes(data)

    def sync(self) -> None:
        self._disk.step()
        self._disk.synced[self._name] = self.size

    def close(self) -> None:
        """Nothing to let go."""


class DiskDied(Exception):  # noqa: N818
    """The disk of a test reached its last operation."""


class MemoryDisk:
    """A disk in memory that can die: at operation number `dies_at`, and for good; or be full, at `full_at`, once."""

    def __init__(self, dies_at: int = 0, full_at: int = 0) -> None:
        self.full_at = full_at
        self.files: dict[str, bytes] = {}
        self.synced: dict[str, int] = {}
        self.steps = 0
        self.dies_at = dies_at

    def step(self) -> None:
        """Count a change."""
        self.steps += 1
        if self.dies_at and self.steps >= self.dies_at:
            raise DiskDied(f"operation {self.steps}")
        if self.steps == self.full_at:
            raise OSError(errno.ENOSPC, "no space left")

    def after_power_cut(self, torn: int = 0) -> MemoryDisk:
        """What is left: the synced part of each file, and up to `torn` bytes of what was on its way."""
        left = MemoryDisk()
        left.files = {name: data[: self.synced.get(name, 0) + torn] for name, data in self.files.items()}
        left.synced = {name: len(data) for name, data in left.files.items()}
        return left

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

    def let_go(self, view: memoryview) -> None:
        """All of this disk is memory."""

    def replace(self, old: str, new: str) -> None:
        self.step()
        self.files[new] = self.files.pop(old)
        self.synced[new] = self.synced.pop(old, 0)

    def remove(self, name: str) -> None:
        self.step()
        self.files.pop(name, None)
        self.synced.pop(name, None)
