"""Runs: pieces of the index on disk, one folder each, one file a section; written once, mapped for reading."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from twinlock.indexer.storage.disk import Disk
from twinlock.indexer.storage.manifest import DamagedError, Run
from twinlock.indexer.storage.piece import SECTIONS, Piece
from twinlock.indexer.storage.spill import OutsideSort, Spill
from twinlock.kernels import index as kernel
from twinlock.kernels.index import BLOCK, COIN, OUTPOINT, SCRIPT, Buffer

_CHUNK = 4 << 20
"""Bytes copied or checked at once."""

_PER_BYTE = 6
"""Bytes of memory that merging a byte of sorted sections takes, at most."""

_MOST_BITS = 16


class RunWriter:
    """Writes the sections of a run side by side, each from its beginning to its end.

    kept: size and CRC-32 of the sections of a run that was begun before and goes on.
    """

    def __init__(self, disk: Disk, name: str, kept: dict[str, tuple[int, int]] | None = None) -> None:
        self._disk = disk
        self.name = name
        known = kept or {}
        self._files = {s: disk.append(f"{name}/{s}", known.get(s, (0, 0))[0]) for s in SECTIONS}
        self._checks = {section: known.get(section, (0, 0))[1] for section in SECTIONS}

    def begin(self, section: str) -> None:
        """Write a section from its beginning again, whatever was in it."""
        self._files[section].close()
        self._files[section] = self._disk.append(f"{self.name}/{section}", 0)
        self._checks[section] = 0

    def write(self, section: str, data: Buffer) -> None:
        """Append to a section."""
        self._files[section].write(memoryview(data))
        self._checks[section] = zlib.crc32(data, self._checks[section])

    def sync(self) -> dict[str, tuple[int, int]]:
        """Sync all; size and CRC-32 of each section."""
        self._disk.sync(self._files.values())
        return {section: (file.size, self._checks[section]) for section, file in self._files.items()}

    def read(self, section: str, at: int, size: int) -> bytes:
        """A piece of what was written to a section."""
        return self._disk.read(f"{self.name}/{section}", at, size)

    def finish(self, first_height: int, first_tx: int) -> Run:
        """Sync everything; the run is valid once the manifest names it."""
        files = self.sync()
        for file in self._files.values():
            file.close()
        blocks, txs = files["blocks"][0] // BLOCK.size, files["txids"][0] // 32
        return Run(self.name, first_height, blocks, first_tx, txs, files)


def write_merged(disk: Disk, name: str, pieces: Sequence[Piece], memory: int) -> Run:
    """Store adjacent pieces as one run, part by part. memory: bytes that this may take, about."""
    writer = RunWriter(disk, name)
    _copy_blocks(writer, pieces)
    segments = tuple(piece.segment for piece in pieces)
    size = sum(len(part) for piece in pieces for part in piece.parts[4:])
    bits = min(_MOST_BITS, max(0, _PER_BYTE * size // memory).bit_length())
    for part in range(1 << bits):
        writer.write("lookup", kernel.merge_lookup(segments, part, bits))
    spill = Spill(disk, "points", OUTPOINT.size)
    points = OutsideSort(spill, OUTPOINT, lambda tx, *_: tx, sum(piece.txs for piece in pieces), kernel.sort_outpoints)
    given = [0, 0, 0]
    for part in range(1 << bits):
        *rows, outpoints, spends = kernel.merge_part(segments, part, bits, *given)
        writer.write("spends", spends)
        for n, (section, row) in enumerate((("scripts", SCRIPT.size), ("history", 4), ("coins", COIN.size))):
            writer.write(section, rows[n])
            given[n] += len(rows[n]) // row
        if bits:
            points.add(outpoints)
        else:
            writer.write("outpoints", outpoints)
    for data in points.sections() if bits else ():
        writer.write("outpoints", data)
    spill.remove()
    return writer.finish(pieces[0].first_height, pieces[0].first_tx)


def _copy_blocks(writer: RunWriter, pieces: Sequence[Piece]) -> None:
    """What stands in the order of the chain only has to be joined."""
    shift = 0
    for piece in pieces:
        writer.write("blocks", piece.block_rows(shift))
        shift += len(piece.parts[0])
        for section, number in (("heads", 0), ("offsets", 2), ("txids", 3)):
            data = memoryview(piece.parts[number])
            for at in range(0, len(data), _CHUNK):
                writer.write(section, data[at : at + _CHUNK])


def verified(disk: Disk, name: str, size: int, wanted: int) -> Iterator[int]:
    """Compare a file's checksum, giving the bytes that were read each time. Raises DamagedError, FileNotFoundError.

    The file is read rather than mapped: what is mapped stays in memory.
    """
    check = 0
    for at in range(0, size, _CHUNK):
        data = disk.read(name, at, min(_CHUNK, size - at))
        check = zlib.crc32(data, check)
        yield len(data)
    if check != wanted:
        raise damaged(name)


def verified_run(disk: Disk, run: Run) -> Iterator[int]:
    """The same for all files of a run."""
    for section in SECTIONS:
        yield from verified(disk, f"{run.name}/{section}", *run.files[section])


def damaged(name: str) -> DamagedError:
    """A file is not what it was when it was written."""
    return DamagedError(f"{name} is damaged", fix="what it held is asked from the node again")


def open_run(disk: Disk, run: Run, verify: bool = True) -> Piece:
    """Map a run. Raises DamagedError when a file is not what the manifest says.

    verify: compare the checksums; not needed for what was just written.
    """
    parts: list[memoryview] = []
    for section in SECTIONS:
        name = f"{run.name}/{section}"
        try:
            parts.append(disk.view(name))
        except FileNotFoundError:
            parts.append(memoryview(b""))
        if len(parts[-1]) != run.files[section][0]:
            raise damaged(name)
    if verify:
        for _ in verified_run(disk, run):
            pass
    return Piece.of(run.first_height, run.first_tx, parts)


def remove_run(disk: Disk, name: str) -> None:
    """Delete a run's files."""
    for section in SECTIONS:
        disk.remove(f"{name}/{section}")
