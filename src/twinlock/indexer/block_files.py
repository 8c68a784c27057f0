"""BlockFiles: the node's own block files (blk*.dat), read where the node runs on this machine.

Records of magic, length and block stand in the order in which blocks arrived, with stale ones between them; newer
nodes mask the files with a key. A file may end in space that is reserved but not written.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from twinlock.indexer.block_source import BlockSource, RawBlock
from twinlock.indexer.storage.seam import Spot
from twinlock.kernels.scan import sha256d, unmask

_RECORD = 8
_HEADER = 80
_LARGEST = 1 << 27
_OPEN_FILES = 32
_KEY = 8
_SPOT = struct.Struct("<8sIII")


class Spots:
    """Places of blocks by their hashes, in few bytes: a first sync has a million of them.

    Rows of a part of the hash and a spot, in buckets by another part of it. Those who look up check the block.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values())) // _SPOT.size

    def _at(self, block_hash: bytes) -> tuple[bytearray, int]:
        """(the bucket, where in it the row stands; negative where there is none)."""
        bucket = self._buckets.setdefault(int.from_bytes(block_hash[:2], "little") >> 4, bytearray())
        key, at = block_hash[2 : 2 + _KEY], -1
        while (at := bucket.find(key, at + 1)) % _SPOT.size and at >= 0:
            pass  # found across rows
        return bucket, at

    def add(self, block_hash: bytes, spot: Spot) -> None:
        """Keep one, the last one where a block is there twice."""
        self.take(block_hash)
        self._at(block_hash)[0].extend(_SPOT.pack(block_hash[2 : 2 + _KEY], *spot))

    def find(self, block_hash: bytes) -> Spot | None:
        """Where a block is, if that is known."""
        bucket, at = self._at(block_hash)
        return Spot(*_SPOT.unpack_from(bucket, at)[1:]) if at >= 0 else None

    def take(self, block_hash: bytes) -> Spot | None:
        """The same, and forget it."""
        spot = self.find(block_hash)
        if spot:
            bucket, at = self._at(block_hash)
            del bucket[at : at + _SPOT.size]
        return spot

    def clear(self) -> None:
        """Forget all."""
        self._buckets.clear()


class BlockFiles:
    """Finds blocks in a folder and reads them; in none, before `use`. Nothing is trusted: callers check hashes."""

    def __init__(self, magic: bytes) -> None:
        self._folder: Path | None = None
        self._magic = magic
        self._key = b""
        self._files: dict[int, int] = {}
        self._at = (0, 0)
        self._spots = Spots()

    def use(self, folder: Path) -> bool:
        """Read from this folder, if it holds block files that we may read."""
        if os.access(folder / "blk00000.dat", os.R_OK):
            self._folder = folder
            mask = folder / "xor.dat"
            key = mask.read_bytes() if mask.exists() else b""
            self._key = key if len(key) == 8 and any(key) else b""
        return self.usable

    @property
    def usable(self) -> bool:
        """Whether there is a folder to read from."""
        return self._folder is not None

    def _open(self, number: int) -> int | None:
        if self._folder is None:
            return None
        if number not in self._files:
            try:
                handle = os.open(self._folder / f"blk{number:05d}.dat", os.O_RDONLY)
            except OSError:
                return None
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[number] = handle
        return self._files[number]

    def _pread(self, number: int, position: int, size: int) -> bytes:
        handle = self._open(number)
        if handle is None:
            return b""
        data = os.pread(handle, size, position)
        return unmask(data, self._key, position) if self._key else data

    def start_after(self, spot: Spot) -> None:
        """Look for further blocks behind this one."""
        self._at = max(self._at, (spot.file, spot.position + spot.size))

    def catch_up(self) -> None:
        """Find the blocks that were written since the last time."""
        number, at = self._at
        while True:
            head = self._pread(number, at, _RECORD + _HEADER)
            size = struct.unpack_from("<I", head, 4)[0] if len(head) == _RECORD + _HEADER else 0
            if head[:4] == self._magic and _HEADER < size <= _LARGEST:
                self._spots.add(sha256d(head[_RECORD:]), Spot(number, at + _RECORD, size))
                at += _RECORD + size
            elif self._open(number + 1) is not None:
                number, at = number + 1, 0
            else:
                self._at = number, at
                return

    def find(self, block_hash: bytes) -> Spot | None:
        """Where a block is, of those found by `catch_up`."""
        return self._spots.find(block_hash)

    def take(self, block_hash: bytes) -> Spot | None:
        """The same, and forget it: the index keeps the places of its own blocks."""
        return self._spots.take(block_hash)

    def read(self, spot: Spot, offset: int = 0, size: int | None = None) -> bytes | None:
        """A block, or a part of it; None when it is not there (any more)."""
        wanted = spot.size if size is None else size
        data = self._pread(spot.file, spot.position + offset, wanted)
        return data if len(data) == wanted else None

    def start_over(self) -> None:
        """Look for blocks from the beginning again."""
        self._at = (0, 0)
        self._spots.clear()

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


class LocalSource:
    """Implements `BlockSource`: blocks from the node's files, and from the node where they are not there."""

    def __init__(self, files: BlockFiles, node: BlockSource) -> None:
        self._files = files
        self._node = node

    def blocks(self, hashes: Iterable[str]) -> Iterator[RawBlock]:
        """Raises DaemonGoneError."""
        self._files.catch_up()
        for block_hash in hashes:
            wanted = bytes.fromhex(block_hash)[::-1]
            spot = self._files.take(wanted)
            raw = self._files.read(spot) if spot else None
            if raw is not None and sha256d(raw[:_HEADER]) == wanted:
                yield RawBlock(raw, spot)
            else:
                yield from self._node.blocks([block_hash])
