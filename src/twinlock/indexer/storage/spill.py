"""Rows on disk while an index is built: more of them than memory may take."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator

from twinlock.indexer.storage.disk import Appender, Disk
from twinlock.kernels.index import PARTS

_CHUNK = 4 << 20
"""Bytes read at once, about; always whole rows."""


class Spill:
    """Files of a kind of rows, one a part. `kept`: the files that exist already, and how much of each is valid."""

    def __init__(self, disk: Disk, kind: str, row_size: int, kept: dict[str, int] | None = None) -> None:
        self._disk = disk
        self._kind = kind
        self._chunk = _CHUNK - _CHUNK % row_size
        self._files: dict[str, Appender] = {
            name: disk.append(name, size) for name, size in (kept or {}).items() if name.startswith(f"{kind}/")
        }
        self._sizes: dict[str, int] = {name: file.size for name, file in self._files.items()}

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def put(self, part: int, data: bytes) -> None:
        """Append rows to a part."""
        name = f"{self._kind}/{part}"
        if data:
            if name not in self._files:
                self._files[name] = self._disk.append(name, 0)
            self._files[name].write(data)
            self._sizes[name] = self._files[name].size

    def sync(self) -> None:
        """Return when all rows survive a power cut."""
        for file in self._files.values():
            file.sync()

    def seal(self) -> None:
        """Close the files; nothing more is put in."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def sizes(self) -> dict[str, int]:
        """Bytes by name of file."""
        return dict(self._sizes)

    def size(self, part: int) -> int:
        """Bytes of a part."""
        return self._sizes.get(f"{self._kind}/{part}", 0)

    def chunks(self, part: int) -> Iterator[bytes]:
        """A part's rows, some at a time."""
        name, size = f"{self._kind}/{part}", self.size(part)
        for at in range(0, size, self._chunk):
            yield self._disk.read(name, at, min(self._chunk, size - at))

    def remove(self) -> None:
        """Forget everything."""
        self.seal()
        for name in self._sizes:
            self._disk.remove(name)
        self._sizes.clear()


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
