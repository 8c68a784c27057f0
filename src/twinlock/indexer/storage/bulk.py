"""The bulk build: a chain's blocks from the first on become one run, without looking anything up per input.

The kernel keeps a row for each output and each input while blocks are read; at the end rows are matched and sorted
part by part, and each part's sections are appended to the run's files. When rows take more memory than allowed they
go to files, one a part. Each such time everything is synced and noted, and a build that was broken off goes on from
there. Parts that are too large for the memory are worked on in slices; what is sorted across all parts (`lookup`,
`outpoints`) is sorted outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from twinlock.errors import TwinlockError
from twinlock.indexer.storage.checked import read_checked, write_checked
from twinlock.indexer.storage.disk import Disk
from twinlock.indexer.storage.manifest import FORMAT, DamagedError, Run
from twinlock.indexer.storage.runs import RunWriter, verified
from twinlock.indexer.storage.seam import Spot
from twinlock.indexer.storage.spill import OutsideSort, Spill
from twinlock.kernels import index as kernel
from twinlock.kernels.index import BLOCK, LOOKUP, OUTPOINT, PARTS
from twinlock.kernels.scan import sha256d
from twinlock.seams import Entropy

_FLUSH = 4 << 20
_NOTE = "bulk"
_CHECK_EVERY = 32
"""Blocks between two looks at the memory held."""

_SLICES = 16
"""Slices of a part, at most."""

_KINDS = {"fundings": 40, "spendings": 16, "touches": 16, "coins": 32, "lookups": LOOKUP.size, "points": OUTPOINT.size}
"""What may be spilled, and the bytes of a row."""


class BulkError(TwinlockError):
    """The blocks given do not make a chain."""

    code = "indexer.bulk"
    fault = "node"


class _Note(msgspec.Struct, frozen=True):
    """Where a build stands: what of its files is valid, and what is needed to go on. format: as the manifest's."""

    run: str
    seed: bytes
    blocks: int
    txs: int
    heads_size: int
    tip: bytes
    sections: dict[str, tuple[int, int]]
    spills: dict[str, tuple[int, int]]
    format: int = 1


def _read_note(disk: Disk) -> _Note | None:
    with suppress(FileNotFoundError, msgspec.MsgspecError):
        body = read_checked(disk, _NOTE)
        return None if body is None else msgspec.json.decode(body, type=_Note)
    return None


def _whole(disk: Disk, note: _Note) -> bool:
    """Whether everything that the note names is what it was, and what this program would have written."""
    if note.format != FORMAT:
        return False
    try:
        for name, marks in (*note.spills.items(), *((f"{note.run}/{s}", m) for s, m in note.sections.items())):
            for _ in verified(disk, name, *marks):
                pass
    except (DamagedError, FileNotFoundError):
        return False
    return True


def unfinished_files(disk: Disk) -> set[str]:
    """Files of a build that can go on."""
    note = _read_note(disk)
    return {_NOTE, *note.spills, *(f"{note.run}/{name}" for name in note.sections)} if note else set()


class BulkBuild:
    """Builds the first run of an index. `blocks` is how many it has; feed it the ones that follow.

    replaced: hashes of blocks whose coins do not count.
    memory: bytes that rows may take.
    """

    def __init__(
        self,
        disk: Disk,
        name: str,
        entropy: Entropy,
        auxpow: bool,
        memory: int,
        replaced: frozenset[bytes] = frozenset(),
    ) -> None:
        self._disk = disk
        self._auxpow = auxpow
        self._replaced = replaced
        self._memory = memory
        note = _read_note(disk)
        if note is not None and not _whole(disk, note):
            for file in unfinished_files(disk):
                disk.remove(file)
            note = None
        if note is None or note.run != name:
            note = _Note(name, entropy.token(64), 0, 0, 0, bytes(32), {}, {})
        self._seed = note.seed
        self._builder = kernel.Builder(note.seed, note.txs)
        self._writer = RunWriter(disk, name, note.sections)
        self._spills = {kind: Spill(disk, kind, size, note.spills) for kind, size in _KINDS.items()}
        self._txs, self._heads_size, self._tip, self.blocks = note.txs, note.heads_size, note.tip, note.blocks
        self._waiting: dict[str, list[bytes]] = {"heads": [], "blocks": [], "offsets": [], "txids": []}
        self._waiting_size = 0

    @property
    def tip(self) -> str:
        """Display hex of the last block's hash."""
        return self._tip[::-1].hex()

    def add(self, raw: bytes, spot: Spot | None = None) -> None:
        """The next block. Raises BulkError when it does not follow the last one, ValueError when it is none."""
        block_hash = sha256d(raw[:80])
        header, txids, offsets = self._builder.add(raw, self._auxpow, block_hash in self._replaced)
        if header[4:36] != self._tip:
            raise BulkError(f"the block for height {self.blocks} does not follow the one before")
        self._tip = block_hash
        row = BLOCK.pack(self._txs, self._heads_size, *(spot or (0xFFFFFFFF, 0, 0)), 0)
        for section, data in zip(self._waiting, (header, row, offsets, txids), strict=True):
            self._waiting[section].append(data)
        self._waiting_size += len(txids) + len(offsets) + len(header)
        self._txs += len(txids) // 32
        self._heads_size += len(header)
        self.blocks += 1
        if self._waiting_size > _FLUSH:
            self._flush()
        if self.blocks % _CHECK_EVERY == 0 and self._builder.held() > self._memory:
            self._save()

    def _flush(self) -> None:
        for section, pieces in self._waiting.items():
            self._writer.write(section, b"".join(pieces))
            pieces.clear()
        self._waiting_size = 0

    def _save(self) -> None:
        """Move all rows to files, and note that the build can go on from here."""
        self._flush()
        for part in range(PARTS):
            fundings, spendings = self._builder.take(part)
            self._spills["fundings"].put(part, fundings)
            self._spills["spendings"].put(part, spendings)
        sections = self._writer.sync()
        spills: dict[str, tuple[int, int]] = {}
        for kind in ("fundings", "spendings"):
            self._spills[kind].sync()
            spills |= self._spills[kind].marks()
        note = _Note(
            self._writer.name, self._seed, self.blocks, self._txs, self._heads_size, self._tip, sections, spills, FORMAT
        )
        write_checked(self._disk, _NOTE, msgspec.json.encode(note))

    def finish(self) -> Run:
        """Match, sort and write everything; the run still has to be adopted, then `clean` called."""
        self._flush()
        if self._spills["fundings"]:
            self._save()
            self._spills["fundings"].seal()
            self._spills["spendings"].seal()
        for part in range(PARTS):
            self._join(part)
        for section in ("lookup", "scripts", "history", "coins", "outpoints", "spends"):
            self._writer.begin(section)
        self._write_scripts()
        self._write_lookup()
        return self._writer.finish(0, 0)

    def _slices(self, first: str, second: str, part: int) -> int:
        """Into how many slices a part has to go, so that working on one takes a quarter of the memory."""
        size = self._spills[first].size(part) + self._spills[second].size(part)
        return min(_SLICES, 1 + 3 * size // max(1, self._memory // 4))

    def _join(self, part: int) -> None:
        fundings, spendings = self._spills["fundings"], self._spills["spendings"]
        slices = self._slices("fundings", "spendings", part)
        for slice_ in range(slices):
            for rows in fundings.chunks(part):
                self._builder.give(part, rows, b"", slice_, slices)
            for rows in spendings.chunks(part):
                self._builder.give(part, b"", rows, slice_, slices)
            self._builder.join(part)
            if fundings and self._builder.held() > self._memory // 2:
                self._spill_joined()

    def _spill_joined(self) -> None:
        for part in range(PARTS):
            touches, coins = self._builder.take_joined(part)
            self._spills["touches"].put(part, touches)
            self._spills["coins"].put(part, coins)

    def _write_scripts(self) -> None:
        points = OutsideSort(self._spills["points"], OUTPOINT, lambda tx, *_: tx, self._txs, kernel.sort_outpoints)
        if self._spills["touches"]:
            self._spill_joined()
            self._spills["touches"].seal()
            self._spills["coins"].seal()
        for sections in self._parts():
            for section, data in zip(("scripts", "history", "coins"), sections, strict=True):
                self._writer.write(section, data)
            if self._spills["touches"] and self._builder.held() > self._memory // 2:
                points.add(self._builder.outpoints())
        rest = self._builder.outpoints()
        if not points.spill:
            self._writer.write("outpoints", rest)
            return
        points.add(rest)
        for rows in points.sections():
            self._writer.write("outpoints", rows)

    def _parts(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        touches, coins = self._spills["touches"], self._spills["coins"]
        for part in range(PARTS):
            slices = self._slices("touches", "coins", part)
            for slice_ in range(slices):
                for rows in touches.chunks(part):
                    self._builder.give_joined(part, rows, b"", slice_, slices)
                for rows in coins.chunks(part):
                    self._builder.give_joined(part, b"", rows, slice_, slices)
                yield self._builder.part(part, part == PARTS - 1 and slice_ == slices - 1)

    def _write_lookup(self) -> None:
        """By the first bytes of the transactions' hashes, which are read again from the run."""
        at_once = max(64, self._memory // 128)
        if self._txs <= at_once or not self._spills["fundings"]:
            self._writer.write("lookup", kernel.lookup(self._writer.read("txids", 0, 32 * self._txs)))
            return
        rows = OutsideSort(self._spills["lookups"], LOOKUP, lambda row: row >> 32, 1 << 32, kernel.sort_lookup)
        for first in range(0, self._txs, at_once):
            rows.add(kernel.lookup(self._writer.read("txids", 32 * first, 32 * at_once), first))
        for piece in rows.sections():
            self._writer.write("lookup", piece)

    def clean(self) -> None:
        """Remove what only the build needed."""
        self._disk.remove(_NOTE)
        for spill in self._spills.values():
            spill.remove()
