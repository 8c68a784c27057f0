"""The real storage: immutable runs on disk, and the newest blocks in a log and in memory.

The index is a row of pieces, oldest first; newer ones take away from older ones. The last `reorg_limit` blocks at least
are never in a run: undoing a block drops the last piece. Chores merge the pieces of single blocks by eights, so that a
question has few pieces to look into; where an undone block is inside a merged piece, the log has the single ones.

Merged pieces are mapped from files of their own, lest hundreds of full blocks take memory. Those files are nobody's
promise: they are not synced, and what a crash leaves of them is removed at the next start.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import msgspec

from twinlock.indexer.storage.bulk import BulkBuild, unfinished_files
from twinlock.indexer.storage.disk import Disk
from twinlock.indexer.storage.log import BlockLog
from twinlock.indexer.storage.manifest import (
    FORMAT,
    DamagedError,
    Manifest,
    OutdatedError,
    Run,
    StorageError,
    TooDeepError,
    mend_manifest,
    read_manifest,
    write_manifest,
)
from twinlock.indexer.storage.opening import open_runs, remove_everything, sweep
from twinlock.indexer.storage.piece import REPLACED, Piece, TouchedPiece, block_piece, merge_pieces
from twinlock.indexer.storage.piece_row import PieceRow
from twinlock.indexer.storage.runs import open_run, remove_run, verified_run, write_merged
from twinlock.indexer.storage.seam import Spot
from twinlock.kernels import index as kernel
from twinlock.kernels.scan import HASHX, Scan
from twinlock.seams import Entropy

_FAN = 8
"""Pieces of one size that are merged into one."""


class Chore(NamedTuple):
    """Work on what does not change, and what then takes its result in."""

    work: Callable[[], Piece | Run]
    settle: Callable[[Piece | Run], None]


class SegmentStorage(PieceRow):
    """Implements `Storage`. `chain` names the chain (its first block's hash), lest another one's index be opened.

    memory: bytes that a chore may take, about. verified_at_once: runs up to this size (bytes) are verified whenever the
    index is opened; larger ones would keep wallets waiting for minutes.
    """

    def __init__(
        self,
        disk: Disk,
        chain: str,
        reorg_limit: int,
        memory: int = 64 << 20,
        verified_at_once: int = 1 << 30,
        replaced: frozenset[bytes] = REPLACED,
    ) -> None:
        self._disk = disk
        self._replaced = replaced
        self._reorg_limit = reorg_limit
        self._memory = memory
        self._verified_at_once = verified_at_once
        self._era = 0  # how often everything was opened again
        self._serials = itertools.count(1)
        self._manifest = read_manifest(disk) or Manifest(chain, log="log-0")
        if self._manifest.chain != chain:
            raise StorageError(
                f"the data directory holds the index of another chain, {self._manifest.chain}",
                fix="give each chain a data directory of its own",
            )
        mend_manifest(disk, self._manifest)
        super().__init__()
        self._pieces, self._manifest, self.damage = open_runs(disk, self._manifest, verified_at_once)
        """What was damaged and is left out; empty when nothing was."""
        sweep(disk, self._manifest, set() if self._pieces else unfinished_files(disk))
        self._log = BlockLog(disk, self._manifest.log)
        self._renew()
        self._replay()
        if self._manifest.format < FORMAT:
            self._modernise()

    def _modernise(self) -> None:
        """Take over what an earlier version wrote, if it is right. Raises OutdatedError."""
        if any(self.block_hash(height) in self._replaced for height in range(self.height + 1)):
            self._log.close()
            raise OutdatedError(
                "an earlier version of the program made the index, and counted transactions twice",
                fix="run the indexer: it builds the index anew",
            )
        self._manifest = msgspec.structs.replace(self._manifest, format=FORMAT)
        with suppress(OSError):  # a full disk: it is found right once more at the next start
            write_manifest(self._disk, self._manifest)

    def _replay(self) -> None:
        """Take in what the log holds, as far as it fits together."""
        good = 0
        for body in self._log.records(0, len(self._log)):
            try:
                piece = Piece.unpack(body)
            except (ValueError, struct.error):
                break
            if piece.first_height != self.height + 1 or piece.first_tx != self.tx_count or not self._links(piece):
                break
            self._push(piece)
            good += 1
            while chore := self._merging():
                chore.settle(chore.work())
        self._log.cut(good)
        self.tidy()

    def _links(self, piece: Piece) -> bool:
        parent = self.block_hash(self.height) if self.height >= 0 else bytes(32)
        return piece.header(piece.first_height)[4:36] == parent

    @property
    def _run_count(self) -> int:
        return len(self._manifest.runs)

    @property
    def _logged_from(self) -> int:
        """Height of the log's first block."""
        return self.height + 1 - len(self._log)

    @property
    def chain(self) -> str:
        """Display hex of the first block's hash."""
        return self._manifest.chain

    # -- changes

    def append(self, block_hash: bytes, scan: Scan, spot: Spot | None = None) -> TouchedPiece:
        coinless = block_hash in self._replaced
        piece = block_piece(self.segments, self.height + 1, self.tx_count, scan, spot, coinless)
        if not self._log and not self._manifest.runs:
            write_manifest(self._disk, self._manifest)
        self._log.append(piece.pack())
        self._push(piece)
        return TouchedPiece(piece, scan.inputs)

    def undo(self) -> TouchedPiece:
        if not len(self._log):
            raise TooDeepError(f"the chain was reorganised deeper than {self._reorg_limit} blocks")
        piece = self._split_last()
        self._log.cut(len(self._log) - 1)
        self._pieces.pop()
        self._renew()
        return TouchedPiece(piece, b"")

    def _split_last(self) -> Piece:
        """Make the tip block a piece of its own."""
        last = self._pieces[-1]
        if last.size > 1:
            start = last.first_height - self._logged_from
            singles = [Piece.unpack(body) for body in self._log.records(start, start + last.size)]
            self._pieces[-1:] = singles
            self._forget([last])
        return self._pieces[-1]

    def _forget(self, pieces: Sequence[Piece]) -> None:
        """Remove the files of merged pieces that have had their time; who still looks at one may go on."""
        for piece in pieces:
            if piece.file:
                self._disk.remove(piece.file)

    # -- chores: what keeps questions quick and the log short

    def tidy(self) -> None:
        """Do all chores now."""
        while chore := self.chore():
            chore.settle(chore.work())

    def chore(self) -> Chore | None:
        """The next thing to do, if any. Its `work` may run in a thread while blocks come and go; one at a time."""
        era, found = self._era, self._next_chore()
        if found is None:
            return None
        # Should everything be opened again meanwhile, the files that it wrote were removed.
        return Chore(found.work, lambda result: found.settle(result) if era == self._era else None)

    def _next_chore(self) -> Chore | None:
        if len(self._log) >= 2 * self._reorg_limit and (chore := self._folding()):
            return chore
        runs = self._manifest.runs
        small = [n for n, run in enumerate(runs) if run.blocks < _FAN * self._reorg_limit]
        if len(small) >= _FAN:
            return self._compacting(small[0])
        return self._merging()

    def _merging(self) -> Chore | None:
        """Make one piece of several equally large ones that are in no run."""
        known, size = self._run_count, 1
        while size <= self._reorg_limit:
            same = [n for n in range(known, len(self._pieces)) if self._pieces[n].size == size]
            if len(same) >= 2 * _FAN:
                return self._merging_from(same[0])
            size *= _FAN
        return None

    def _merging_from(self, first: int) -> Chore:
        group = self._pieces[first : first + _FAN]
        name = f"merged-{next(self._serials)}"

        def settle(merged: Piece | Run) -> None:
            assert isinstance(merged, Piece)
            if self._pieces[first : first + _FAN] == group:  # else blocks were undone meanwhile
                self._pieces[first : first + _FAN] = [merged]
                self._renew()
                self._forget(group)
            else:
                self._forget([merged])

        return Chore(lambda: self._mapped(name, merge_pieces(group)), settle)

    def _mapped(self, name: str, piece: Piece) -> Piece:
        """The piece, mapped from a file; as it is where the disk has no room for that."""
        try:
            file = self._disk.append(name, 0)
            try:
                file.write(piece.pack())
            finally:
                file.close()
        except OSError:
            self._disk.remove(name)
            return piece
        return replace(Piece.unpack(self._disk.view(name)), file=name)

    def _foldable(self) -> int:
        """How many of the pieces that are in no run lie deeper than what can be undone."""
        last = self.height - self._reorg_limit
        return sum(piece.last_height <= last for piece in self._pieces[self._run_count :])

    def _folding(self) -> Chore | None:
        """Move the oldest blocks of the log into a run."""
        known, count = self._run_count, self._foldable()
        if not count:
            return None
        serial = self._manifest.serial + 1
        group = self._pieces[known : known + count]

        def settle(run: Piece | Run) -> None:
            assert isinstance(run, Run)
            if self._pieces[known : known + count] == group:  # else blocks were undone meanwhile, very deep
                self._fold(run, count)
                self._forget(group)

        return Chore(lambda: write_merged(self._disk, f"run-{serial}", group, self._memory), settle)

    def _fold(self, run: Run, count: int) -> None:
        """Let a run take the place of the first pieces that are in none, and of their records in the log."""
        serial, known = self._manifest.serial + 1, self._run_count
        old, new = self._log, BlockLog(self._disk, f"log-{serial}")
        new.cut(0)  # an attempt that failed may have left some
        for body in old.records(run.blocks, len(old)):
            new.append(body)
        new.sync()
        manifest = Manifest(self._manifest.chain, serial, (*self._manifest.runs, run), new.name)
        write_manifest(self._disk, manifest)
        self._manifest, self._log = manifest, new
        self._pieces[known : known + count] = [open_run(self._disk, run, verify=False)]
        self._renew()
        old.close()
        self._disk.remove(old.name)

    def _compacting(self, first: int) -> Chore:
        """Make one run of the newest ones."""
        serial, runs = self._manifest.serial + 1, self._manifest.runs
        group = self._pieces[first : len(runs)]

        def settle(run: Piece | Run) -> None:
            assert isinstance(run, Run)
            manifest = Manifest(self._manifest.chain, serial, (*runs[:first], run), self._log.name)
            write_manifest(self._disk, manifest)
            self._manifest = manifest
            self._pieces[first : len(runs)] = [open_run(self._disk, run, verify=False)]
            self._renew()
            for gone in runs[first:]:
                remove_run(self._disk, gone.name)

        return Chore(lambda: write_merged(self._disk, f"run-{serial}", group, self._memory), settle)

    def compact(self) -> None:
        """Move all blocks but those that can be undone into one run."""
        self.tidy()
        if chore := self._folding():
            chore.settle(chore.work())
        if self._run_count > 1:
            chore = self._compacting(0)
            chore.settle(chore.work())

    def let_go(self) -> None:
        """Take what is mapped out of memory; it comes back when somebody asks for it."""
        for piece in self._pieces:
            for part in piece.parts:
                if isinstance(part, memoryview):
                    self._disk.let_go(part)

    def names(self) -> Iterator[bytes]:
        """hashX of every script in the index, those that several pieces hold several times."""
        for piece in self._pieces:
            rows = piece.parts[5]
            for at in range(0, len(rows) - kernel.SCRIPT.size, kernel.SCRIPT.size):  # the last row only closes
                yield bytes(rows[at : at + HASHX])

    def bulk(self, entropy: Entropy, auxpow: bool = False, memory: int = 1 << 40) -> BulkBuild:
        """Begin, or continue, the build of an index that is still empty; give it to `adopt` when it is complete."""
        assert self.height < 0
        name = f"run-{self._manifest.serial + 1}"
        return BulkBuild(self._disk, name, entropy, auxpow, memory, self._replaced)

    def adopt(self, build: BulkBuild) -> None:
        """Make a bulk build the index's beginning. Raises DamagedError, and forgets the build."""
        try:
            run = build.finish()
        except DamagedError:
            build.clean()
            raise
        manifest = Manifest(self._manifest.chain, self._manifest.serial + 1, (run,), self._log.name)
        write_manifest(self._disk, manifest)
        self._manifest = manifest
        self._pieces = [open_run(self._disk, run, verify=False)]
        self._renew()
        build.clean()

    def unverified(self) -> list[Run]:
        """The runs that are too large for being verified whenever the index is opened."""
        return [run for run in self._manifest.runs if run.size > self._verified_at_once]

    def verification(self, run: Run) -> Iterator[int]:
        """Verify one of them in steps, each giving the bytes read. Raises DamagedError."""
        return verified_run(self._disk, run)

    def recover(self) -> str:
        """Open everything again, in place, without what is damaged; what that was."""
        sound = self.reopened()
        self.become(sound)
        return sound.damage

    def reopened(self) -> SegmentStorage:
        """What is sound of this index, found out by reading all of it: elsewhere, if need be. To be taken over then."""
        self._log.close()
        self._era += 1
        return open_storage(self._disk, self._manifest.chain, self._reorg_limit, self._memory, 1 << 62, self._replaced)[
            0
        ]

    def become(self, other: SegmentStorage) -> None:
        """Go on as that one, which nobody else uses."""
        self._era += 1
        self._manifest, self._log, self._pieces = other._manifest, other._log, other._pieces
        self._renew()

    def reset(self) -> None:
        """Forget everything: the index begins anew."""
        self._era += 1
        serial = self._manifest.serial + 1
        manifest = Manifest(self._manifest.chain, serial, (), f"log-{serial}")
        log = BlockLog(self._disk, manifest.log)
        write_manifest(self._disk, manifest)
        self._log.close()
        self._manifest, self._log, self._pieces = manifest, log, []
        self._renew()
        sweep(self._disk, self._manifest, set())

    def close(self) -> None:
        """Sync and let go."""
        self._log.sync()
        self._log.close()


def open_storage(
    disk: Disk,
    chain: str,
    reorg_limit: int,
    memory: int = 64 << 20,
    verified_at_once: int = 1 << 30,
    replaced: frozenset[bytes] = REPLACED,
) -> tuple[SegmentStorage, str]:
    """(the storage without what is damaged or outdated of it, what that was; empty when nothing was)."""

    def opened() -> SegmentStorage:
        return SegmentStorage(disk, chain, reorg_limit, memory, verified_at_once, replaced)

    try:
        storage = opened()
        return storage, storage.damage
    except DamagedError as error:
        remove_everything(disk)
        storage = opened()
        storage.damage = f"{error}; the index is built anew"
        return storage, storage.damage
