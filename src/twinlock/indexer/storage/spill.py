"""Rows on disk while an index is built: more of them than memory may take. What is read back is verified."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from twinlock.indexer.storage.disk import Appender, Disk
from twinlock.indexer.storage.manifest import DamagedError
from twinlock.kernels.index import PARTS

_CHUNK = 4 << 20
"""Bytes read at once, about; always whole rows."""


class Spill:
    """Files of a kind of rows, one a part. `kept`: the files that exist already, the size of what is valid of each, and
    its CRC-32."""

    def __init__(self, disk: Disk, kind: str, row_size: int, kept: Mapping[str, tuple[int, int]] | None = None) -> None:
        self._disk = disk
        self._kind = kind
        self._chunk = _CHUNK - _CHUNK % row_size
        ours = {name: marks for name, marks in (kept or {}).items() if name.startswith(f"{kind}/")}
        self._files: dict[str, Appender] = {name: disk.append(name, size) for name, (size, _) in ours.items()}
        self._marks = ours

    def __bool__(self) -> bool:
        return bool(self._marks)

    def put(self, part: int, data: bytes) -> None:
        """Append rows to a part."""
        name = f"{self._kind}/{part}"
        if data:
            if name not in self._files:
                self._files[name] = self._disk.append(name, 0)
            self._files[name].write(data)
            self._marks[name] = self._files[name].size, zlib.crc32(data, self._marks.get(name, (0, 0))[1])

    def sync(self) -> None:
        """Return when all rows survive a power cut."""
        self._disk.sync(self._files.values())

    def seal(self) -> None:
        """Close the files; nothing more is put in."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def marks(self) -> dict[str, tuple[int, int]]:
        """Bytes and their CRC-32 by name of file."""
        return dict(self._marks)

    def size(self, part: int) -> int:
        """Bytes of a part."""
        return self._mark(part)[0]

    def _mark(self, part: int) -> tuple[int, int]:
        return self._marks.get(f"{self._kind}/{part}", (0, 0))

    def chunks(self, part: int) -> Iterator[bytes]:
        """A part's rows, some at a time. Raises DamagedError at their end when they are not what was put in."""
        name, (size, wanted) = f"{self._kind}/{part}", self._mark(part)
        check = 0
        for at in range(0, size, self._chunk):
            data = self._disk.read(name, at, min(self._chunk, size - at))
            check = zlib.crc32(data, check)
            yield data
        if check != wanted:
            raise DamagedError(f"{name} is damaged", fix="the index is built anew")

    def remove(self) -> None:
        """Forget everything."""
        self.seal()
        for name in self._marks:
            self._disk.remove(name)
        self._marks.clear()


class OutsideSort:
    """Sorts rows that memory does not take: sorted pieces are dealt by their leading number to files, and each of
    those is sorted once.

    lead: a row's leading number. bound: what all of those are below. sort: sorts rows.
    """

    def __init__(
        self, spill: Spill, row: struct.Struct, lead: Callable[..., int], bound: int, sort: Callable[[bytes], bytes]
    ) -> None:
        self.spill = spill
        self._row = row
        self._lead = lead
        self._bound = bound
        self._sort = sort

    def add(self, rows: bytes) -> None:
        """Take in a sorted piece."""
        size = self._row.size
        numbers = range(len(rows) // size)
        start = 0
        for part in range(PARTS):
            # The first number of the next part is the least n for which n * PARTS // bound > part.
            limit = -(-(part + 1) * self._bound // PARTS)
            end = bisect_left(
                numbers, limit, lo=start, key=lambda n: self._lead(*self._row.unpack_from(rows, n * size))
            )
            self.spill.put(part, rows[start * size : end * size])
            start = end

    def sections(self) -> Iterator[bytes]:
        """All rows in order, part by part."""
        self.spill.seal()
        for part in range(PARTS):
            yield self._sort(b"".join(self.spill.chunks(part)))
