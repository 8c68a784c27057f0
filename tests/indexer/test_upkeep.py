"""Looking after an index: compacting, checking it against the node, taking it elsewhere, telling how far a sync is."""

from __future__ import annotations

import asyncio
import io
import random
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.indexer import auxpow
from tests.indexer.chains import Block, extend, random_chain
from tests.indexer.test_auxpow import SCRIPT, at_height, check_scripts, serving
from tests.indexer.wire import Wallet

from twinlock.chain.coins import Coin, coin
from twinlock.indexer.block_source import NodeSource
from twinlock.indexer.check import Checker, CheckError, hashes_of
from twinlock.indexer.daemon import Daemon
from twinlock.indexer.lock import DirectoryLock, InUseError
from twinlock.indexer.progress import DONE, READING, SORTING, Forecast, LogLines, Progress, forecast
from twinlock.indexer.snapshot import SnapshotError, export_snapshot, import_snapshot
from twinlock.indexer.storage.disk import MemoryDisk, RealDisk
from twinlock.indexer.storage.piece import Piece, block_piece
from twinlock.indexer.storage.runs import write_merged
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.kernels.scan import scan_block
from twinlock.seams import SeededEntropy, VirtualClock
from twinlock.simnet.simulated_node import SimulatedNode


def quiet(_: str, __: int, ___: int) -> None:
    """Nobody listens."""


def build(folder: Path, blocks: list[Block], limit: int = 5) -> Coin:
    """An index that grew block by block; gives a coin whose chain it is."""
    row = replace(coin("btc", "regtest"), genesis_hash=blocks[0].hash[::-1].hex())
    storage = SegmentStorage(RealDisk(folder), row.genesis_hash, limit)
    for block in blocks:
        storage.append(block.hash, scan_block(block.raw))
        storage.tidy()
    storage.close()
    return row


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return random_chain(random.Random(8), 60, 6)[0]


async def problems(row: Coin, folder: Path, blocks: list[Block]) -> list[str]:
    async with SimulatedNode([block.raw for block in blocks]) as node:
        daemon = Daemon(node.url)
        checker = Checker(row, folder, SeededEntropy(2), quiet)
        try:
            hashes = await hashes_of(daemon, checker.index.height)
            return await asyncio.to_thread(checker.run, hashes, NodeSource(node.url), 1 << 30)
        finally:
            checker.close()
            daemon.close()


@pytest.mark.anyio
async def test_a_sound_index_passes_and_leaves_nothing_behind(blocks: list[Block], tmp_path: Path) -> None:
    row = build(tmp_path, blocks)
    before = RealDisk(tmp_path).names()
    assert await problems(row, tmp_path, blocks) == []
    assert RealDisk(tmp_path).names() == sorted({*before, "lock"})


@pytest.mark.anyio
async def test_an_index_of_another_branch_fails_and_says_where(blocks: list[Block], tmp_path: Path) -> None:
    row = build(tmp_path, blocks)
    other = random_chain(random.Random(8), 58, 6)[0]
    rnd = random.Random(99)
    while len(other) < 60:
        other.append(extend(rnd, other, [], 6, salt=5))
    found = await problems(row, tmp_path, other)
    assert "block 58: another header" in found
    assert any(problem.startswith("script ") for problem in found)


@pytest.mark.anyio
async def test_what_cannot_be_checked(blocks: list[Block], tmp_path: Path) -> None:
    row = build(tmp_path / "long", blocks)
    with pytest.raises(CheckError, match="the node's chain ends at 9"):
        await problems(row, tmp_path / "long", blocks[:10])
    with pytest.raises(CheckError, match="holds no index"):
        Checker(row, tmp_path / "empty", SeededEntropy(1), quiet)
    DirectoryLock(tmp_path / "empty").release()


@pytest.mark.parametrize("memory", [64 << 20, 3000], ids=["at once", "part by part"])
def test_compacting_leaves_one_run_and_the_same_answers(blocks: list[Block], memory: int, tmp_path: Path) -> None:
    row = build(tmp_path, blocks, limit=3)
    storage = SegmentStorage(RealDisk(tmp_path), row.genesis_hash, 3, memory)
    names = set(storage.names())
    before = {name: (storage.history(name), storage.unspent(name)) for name in names}
    storage.compact()
    storage.close()
    again = SegmentStorage(RealDisk(tmp_path), row.genesis_hash, 3)
    assert len({name.split("/")[0] for name in RealDisk(tmp_path).names() if name.startswith("run-")}) == 1
    assert again.height == 59
    assert {name: (again.history(name), again.unspent(name)) for name in set(again.names())} == before
    for _ in range(3):
        again.undo()
    again.close()


def test_runs_are_the_same_however_little_memory_merging_them_may_take(blocks: list[Block]) -> None:
    pieces: list[Piece] = []
    txs = 0
    for height, block in enumerate(blocks):
        scan = scan_block(block.raw)
        pieces.append(block_piece(tuple(piece.segment for piece in pieces), height, txs, scan, None))
        txs += scan.tx_count
    disk = MemoryDisk()
    files = [write_merged(disk, f"run-{memory}", pieces, memory).files for memory in (1 << 30, 20_000, 1000, 50)]
    assert files == [files[0]] * 4
    assert not any(name.startswith("points/") for name in disk.names())


def test_one_program_at_a_time(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with pytest.raises(InUseError):
        DirectoryLock(tmp_path)
    lock.release()
    DirectoryLock(tmp_path).release()


# -- snapshots


@pytest.mark.anyio
async def test_a_snapshot_is_taken_elsewhere_and_follows_the_node_from_there(tmp_path: Path) -> None:
    chain = auxpow.chain(150, SCRIPT)
    doge = coin("doge", "regtest")
    async with SimulatedNode([b.raw for b in chain[:140]], auxpow=True) as node:
        async with serving(node, tmp_path / "old", reorg_limit=20):
            with pytest.raises(InUseError):
                export_snapshot(doge, tmp_path / "old", tmp_path / "file", quiet)
        made = export_snapshot(doge, tmp_path / "old", tmp_path / "file", quiet)
        assert (made.height, made.tip) == (139, chain[139].hash[::-1].hex())
        taken = import_snapshot(doge, tmp_path / "new", tmp_path / "file", quiet)
        assert taken == made
        node.extend([b.raw for b in chain[140:]])
        node.calls.clear()
        async with serving(node, tmp_path / "new", reorg_limit=20) as (_, port):
            wallet = await Wallet.connect(port, "1.6")
            await at_height(wallet, 149)
            await check_scripts(wallet, chain)
            wallet.close()
        assert node.calls.count("getblockhash") < 60, "it went on from the snapshot"


def test_a_foreign_or_damaged_snapshot_is_refused_and_changes_nothing(blocks: list[Block], tmp_path: Path) -> None:
    row = build(tmp_path / "old", blocks)
    file = tmp_path / "file"
    export_snapshot(row, tmp_path / "old", file, quiet)
    new = tmp_path / "new"
    for foreign in (replace(row, symbol="ltc"), replace(row, genesis_hash="00" * 32)):
        with pytest.raises(SnapshotError, match="the snapshot is of"):
            import_snapshot(foreign, new, file, quiet)
    with pytest.raises(SnapshotError, match="already"):
        import_snapshot(row, tmp_path / "old", file, quiet)
    good = file.read_bytes()
    found = re.search(rb"run-\d+/txids\0", good)
    assert found
    at = found.start() + 512 + 40
    for damaged, message in (
        (good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "is damaged"),
        (good[: len(good) // 2], "cannot be read|lacks|damaged"),
        (b"not a snapshot at all" * 100, "cannot be read"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(SnapshotError, match=message):
            import_snapshot(row, new, file, quiet)
        assert RealDisk(new).names() == ["lock"]
    file.write_bytes(good)
    assert import_snapshot(row, new, file, quiet).height == 59


def test_a_snapshot_writes_nowhere_else(blocks: list[Block], tmp_path: Path) -> None:
    row = build(tmp_path / "old", blocks)
    export_snapshot(row, tmp_path / "old", tmp_path / "file", quiet)
    with tarfile.open(tmp_path / "file", "a") as archive:
        evil = tarfile.TarInfo("../evil")
        evil.size = 1
        archive.addfile(evil, io.BytesIO(b"x"))
    with pytest.raises(SnapshotError, match="does not belong"):
        import_snapshot(row, tmp_path / "new", tmp_path / "file", quiet)
    assert not (tmp_path / "evil").exists()


# -- what a sync costs, and how far it is


def test_a_forecast_grows_with_the_chain() -> None:
    small = forecast({"blocks": 2000, "size_on_disk": 416e6}, {"txcount": 1_000_000}, 600 << 20, 200)
    large = forecast({"blocks": 950_000, "size_on_disk": 720e9}, {"txcount": 1_368_000_000}, 600 << 20, 200)
    assert 2 < small.seconds < 20
    assert small.disk_at_most == small.disk < 160e6
    assert forecast({"blocks": 1}, {"txcount": 2_000_000}, 300 << 20, 200).disk_at_most > 700e6, "rows go to files"
    assert large.seconds > 1000 * small.seconds
    assert large.disk_at_most > large.disk
    short = forecast({"blocks": 300}, {"txcount": 100_000}, 600 << 20, 200)
    assert short.disk > 2 * 100_000 * 110, "most of a short chain stands where it can be undone"
    assert forecast({"blocks": 100}, {"txcount": 100_000}, 600 << 20, 200).disk == 43e6
    assert "1,000,000 transactions (416 MB)" in str(small)
    assert isinstance(large, Forecast)


@pytest.mark.anyio
async def test_the_time_left_is_what_this_machine_needs() -> None:
    clock = VirtualClock()
    progress = Progress(1000, clock)
    assert progress.seconds_left() is None
    progress.begin(0, 100)
    for _ in range(50):
        progress.read(5)  # the first half of the blocks is a quarter of the bytes
    await clock.advance(10)
    assert progress.part == 0.25
    left = progress.seconds_left()
    assert left == pytest.approx(30 + 0.5 * 40)
    assert progress.text() == "reading blocks: block 50 of 100, 25.0 %, 50 s left"
    progress.phase = SORTING
    assert progress.seconds_left() is None


@pytest.mark.anyio
async def test_nobody_is_flooded_with_lines() -> None:
    clock, said = VirtualClock(), list[str]()
    show = LogLines(clock, said.append)
    progress = Progress(100, clock)
    progress.begin(0, 10)
    for _ in range(10):
        progress.read(10)
        show(progress)
        await clock.advance(10)
    progress.phase = SORTING
    show(progress)
    assert [line.split(":")[0] for line in said] == [READING] * 4 + [SORTING]
    assert DONE not in said
