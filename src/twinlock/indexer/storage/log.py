"""The log of the newest blocks: one checksummed record a block, appended when it comes, cut when it is undone.

Records are not synced one by one: what a power cut takes from the end, the node gives again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from twinlock.indexer.storage.disk import Disk
from twinlock.indexer.storage.manifest import DamagedError

_HEAD = struct.Struct("<4sII")
_MAGIC = b"TWB1"


class BlockLog:
    """Packed pieces of one block each, in one file."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self.name = name
        self._spans: list[tuple[int, int, int]] = []  # where a body is, its size, its CRC-32
        self._file = disk.append(name, self._measure())

    def _measure(self) -> int:
        """Find the whole records; where they end, the file ends."""
        at = 0
        try:
            data = self._disk.view(self.name)
        except FileNotFoundError:
            return 0
        while at + _HEAD.size <= len(data):
            magic, size, check = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + size]
            if magic != _MAGIC or len(body) < size or zlib.crc32(body) != check:
                break
            self._spans.append((at + _HEAD.size, size, check))
            at += _HEAD.size + size
        return at

    def __len__(self) -> int:
        return len(self._spans)

    def append(self, body: bytes) -> None:
        """Add a record."""
        at, check = self._file.size, zlib.crc32(body)
        try:
            self._file.write(_HEAD.pack(_MAGIC, len(body), check) + body)
        except OSError:  # the disk is full, as a rule
            self._reopen(at)
            raise
        self._spans.append((at + _HEAD.size, len(body), check))

    def records(self, start: int, end: int) -> Iterator[bytes]:
        """The bodies of records `start` to `end` (excluded). Raises DamagedError for one that is not what it was."""
        data = self._disk.view(self.name)
        for at, size, check in self._spans[start:end]:
            body = bytes(data[at : at + size])
            if zlib.crc32(body) != check:
                raise DamagedError(f"{self.name} is damaged", fix="it is read again, and the node asked for the rest")
            yield body

    def cut(self, count: int) -> None:
        """Keep the first `count` records."""
        if count < len(self._spans):
            self._reopen(self._spans[count][0] - _HEAD.size)
            del self._spans[count:]

    def _reopen(self, size: int) -> None:
        fresh = self._disk.append(self.name, size)  # should the system refuse, nothing has changed
        self._file.close()
        self._file = fresh

    def sync(self) -> None:
        """Return when all records survive a power cut."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
