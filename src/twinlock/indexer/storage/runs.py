"""Runs: pieces of the index on disk, one folder each, one file a section; written once, mapped for reading."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from twinlock.indexer.storage.disk import Disk
from twinlock.indexer.storage.manifest import DamagedError, Run
from twinlock.indexer.storage.piece import SECTIONS, Piece
from twinlock.kernels.index import BLOCK, Buffer

_CHECKED_ON_OPEN = 1 << 30
"""Runs up to this size (bytes) have their checksums verified whenever they are opened."""


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
        for file in self._files.values():
            file.sync()
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


def write_run(disk: Disk, name: str, piece: Piece) -> Run:
    """Store a piece."""
    writer = RunWriter(disk, name)
    for section, data in zip(SECTIONS, piece.parts, strict=True):
        writer.write(section, data)
    return writer.finish(piece.first_height, piece.first_tx)


def open_run(disk: Disk, run: Run) -> Piece:
    """Map a run. Raises DamagedError when a file is not what the manifest says."""
    parts: list[memoryview] = []
    verify = sum(size for size, _ in run.files.values()) <= _CHECKED_ON_OPEN
    for section in SECTIONS:
        size, check = run.files[section]
        try:
            data = disk.view(f"{run.name}/{section}")
        except FileNotFoundError:
            data = memoryview(b"")
        if len(data) != size or (verify and zlib.crc32(data) != check):
            raise DamagedError(f"{run.name}/{section} is damaged", fix="the index has to be built anew")
        parts.append(data)
    return Piece.of(run.first_height, run.first_tx, parts)


def remove_run(disk: Disk, name: str) -> None:
    """Delete a run's files."""
    for section in SECTIONS:
        disk.remove(f"{name}/{section}")


def stray_files(disk: Disk, runs: Sequence[Run], log: str, unfinished: set[str]) -> list[str]:
    """Files that a broken-off change left behind."""
    known = {f"{run.name}/{section}" for run in runs for section in SECTIONS} | {log, "manifest"} | unfinished
    return [name for name in disk.names() if name not in known]
