"""Where the time of a first sync goes, and what it needs by transaction: the build alone, in one thread."""

from __future__ import annotations

import cProfile
import pstats
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.indexer.machine import size_mb

from twinlock.chain.coins import Network, coin
from twinlock.indexer.block_files import BlockFiles, LocalSource
from twinlock.indexer.block_source import RawBlock
from twinlock.indexer.storage.disk import RealDisk
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.seams import SystemEntropy

STAGES = {
    "reading and unmasking the block files": ("pread", "unmask", "open"),
    "transactions, hashes, Merkle roots, rows": ("Builder' objects>.add", "'add' of 'twinlock.kernels._index"),
    "matching inputs with outputs": ("'join' of 'twinlock.kernels._index",),
    "sorting by script": ("'part' of 'twinlock.kernels._index", "'outpoints' of 'twinlock.kernels._index"),
    "sorting by transaction": ("_index.lookup", "_index.sort_lookup", "_index.sort_outpoints"),
    "rows to files and back": ("'take' of", "'give' of", "'take_joined' of", "'give_joined' of", "'read' of"),
    "writing": ("'write' of '_io.FileIO'",),
    "checksums": ("zlib.crc32",),
    "syncing": ("posix.fsync",),
}
"""By the names of the functions in C that a profile shows; the rest is Python."""


class NoNode:
    """Every block is in the files."""

    def blocks(self, hashes: Iterable[str]) -> Any:
        """Never asked."""
        raise RuntimeError(f"the node's files lack {list(hashes)}")


class _Build:
    def __init__(self, folder: Path, node_folder: Path, hashes: list[str], memory: int) -> None:
        self._folder, self._hashes, self._memory = folder, hashes, memory
        shutil.rmtree(folder, ignore_errors=True)
        row = coin("btc", Network.REGTEST)
        self._files = BlockFiles(row.p2p_magic)
        self._files.use(node_folder / "regtest" / "blocks")
        self._storage = SegmentStorage(RealDisk(folder), row.genesis_hash, 200)
        self.size = self.most_mb = self.reading = self.sorting = 0.0

    def run(self) -> None:
        bulk = self._storage.bulk(SystemEntropy(), False, self._memory)
        began = time.perf_counter()
        for block in LocalSource(self._files, NoNode()).blocks(self._hashes):
            assert isinstance(block, RawBlock)
            bulk.add(*block)
            self.size += len(block.raw)
        self.reading = time.perf_counter() - began
        self._storage.adopt(_Watched(bulk, self))  # type: ignore[arg-type]
        self.sorting = time.perf_counter() - began - self.reading

    def look(self) -> None:
        self.most_mb = max(self.most_mb, size_mb(self._folder))

    def end(self) -> float:
        """The size of the index, MB."""
        size = size_mb(self._folder)
        self._storage.close()
        shutil.rmtree(self._folder)
        return size


class _Watched:
    """A build whose files are looked at when there are most of them: just before it removes what only it needed."""

    def __init__(self, bulk: Any, build: _Build) -> None:
        self._bulk, self._build = bulk, build

    def finish(self) -> Any:
        return self._bulk.finish()

    def clean(self) -> None:
        self._build.look()
        self._bulk.clean()


def stages(folder: Path, node_folder: Path, hashes: list[str], txs: int) -> dict[str, Any]:
    """Seconds of each stage of a build in memory; and what one with little memory needs besides."""
    build = _Build(folder, node_folder, hashes, 4 << 30)
    profile = cProfile.Profile()
    profile.enable()
    build.run()
    profile.disable()
    spent = _stages_of(profile)
    result: dict[str, Any] = {"seconds": {name: round(s, 3) for name, s in spent.items()}}
    result["reading_s"], result["sorting_s"] = round(build.reading, 2), round(build.sorting, 2)
    result["bytes_per_tx"] = round(build.size / txs)
    result["index_bytes_per_tx"] = round(1e6 * build.end() / txs)
    small = _Build(folder, node_folder, hashes, 32 << 20)
    small.run()
    result["spilled_reading_s"], result["spilled_sorting_s"] = round(small.reading, 2), round(small.sorting, 2)
    most = small.most_mb
    result["spilled_bytes_per_tx"] = round(1e6 * (most - small.end()) / txs)
    return result


def _stages_of(profile: cProfile.Profile) -> dict[str, float]:
    spent = dict.fromkeys((*STAGES, "the rest"), 0.0)
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        where = function if file == "~" else ""
        stage = next((stage for stage, names in STAGES.items() if any(name in where for name in names)), "the rest")
        spent[stage] += own
    return spent
