"""Bits flip anywhere on the disk: it is found before it is served, and what was there comes from the node again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.indexer.test_power_cuts import LIMIT, Plot, follow, opened, synced
from tests.indexer.test_storage import picture, truth

from twinlock.indexer.storage.disk import MemoryDisk
from twinlock.indexer.storage.manifest import DamagedError, StorageError
from twinlock.indexer.storage.segments import SegmentStorage, open_storage
from twinlock.indexer.trouble import Troubles
from twinlock.indexer.upkeep import Upkeep
from twinlock.kernels.scan import scan_block
from twinlock.seams import SeededEntropy, VirtualClock

PLOT = Plot(7, 12)
FLIPS = 6
"""Bits tried in each file, at places drawn by a fixed seed."""


def flip(disk: MemoryDisk, name: str, bit: int) -> None:
    """Change one bit of a file."""
    data = bytearray(disk.files[name])
    data[bit // 8] ^= 1 << bit % 8
    disk.files[name] = bytes(data)


def grown() -> MemoryDisk:
    """The disk of an index with several runs and a log."""
    disk = MemoryDisk()
    storage = synced(disk, PLOT, 1 << 30)
    follow(storage, PLOT)
    storage.close()
    return disk


def places(disk: MemoryDisk, names: Callable[[str], bool]) -> list[tuple[str, int]]:
    rnd = random.Random(3)
    return [
        (name, rnd.randrange(8 * len(data)))
        for name, data in sorted(disk.files.items())
        if data and names(name) and not name.startswith("merged-")
        for _ in range(FLIPS)
    ]


def test_wherever_a_bit_flips_the_index_becomes_what_it_was() -> None:
    wanted, whole = picture(truth(PLOT.goal)), grown()
    first = next(name.split("/")[0] for name in sorted(whole.files) if name.startswith("run-"))
    later = set()
    for name, bit in places(whole, lambda _: True):
        disk = whole.after_kill()
        disk.files["certificate.pem"] = b"not ours"
        flip(disk, name, bit)
        storage, damage = open_storage(disk, "chain", LIMIT)
        assert picture(storage) == picture(truth(PLOT.goal[: storage.height + 1])), "what there is, is right"
        if name.startswith("run-"):
            assert f"{name} is damaged" in damage
            assert (storage.height == -1) is name.startswith(first), "the runs before the damaged one stay"
            later.add(storage.height)
        elif name.startswith("manifest"):
            assert (storage.height, damage) == (len(PLOT.goal) - 1, ""), "there are two of it"
        follow(synced_again(storage), PLOT)
        assert picture(storage) == wanted
        assert picture(opened(disk)) == wanted
        assert disk.files["certificate.pem"] == b"not ours"
    assert len(later) > 1


def synced_again(storage: SegmentStorage) -> SegmentStorage:
    if storage.height < 0:
        bulk = storage.bulk(SeededEntropy(9))
        for block in PLOT.first:
            bulk.add(block.raw)
        storage.adopt(bulk)
    return storage


def test_a_bit_that_flips_in_the_log_while_the_program_runs_is_found_when_it_is_read() -> None:
    disk = MemoryDisk()
    storage = SegmentStorage(disk, "chain", 40)
    for block in PLOT.first[:20]:
        storage.append(block.hash, scan_block(block.raw))
        storage.tidy()
    flip(disk, "log-0", 4 * len(disk.files["log-0"]) // 2)
    with pytest.raises(DamagedError, match="log-0 is damaged"):
        for _ in range(20):  # where blocks were merged, the log has the single ones
            storage.undo()
    assert storage.recover() == "", "the log's good part stays, nothing else was damaged"
    assert 0 < storage.height < 19
    assert picture(storage) == picture(truth(PLOT.first[: storage.height + 1]))
    for block in PLOT.first[storage.height + 1 :]:
        storage.append(block.hash, scan_block(block.raw))
    assert picture(storage) == picture(truth(PLOT.first))


async def finished(work: Coroutine[Any, Any, None], clock: VirtualClock) -> None:
    """Let time pass until the work is done; threads take part in it."""
    task = asyncio.create_task(work)
    while not task.done():
        await clock.advance(1)
    await task


@pytest.mark.anyio
async def test_a_large_run_is_verified_while_it_is_served() -> None:
    disk = grown()
    storage = SegmentStorage(disk, "chain", LIMIT, verified_at_once=0)
    runs = storage.unverified()
    assert len(runs) > 1
    told: list[str] = []

    async def mend(error: DamagedError) -> None:
        told.append(str(error))
        told.append(storage.recover())

    clock = VirtualClock()
    upkeep = Upkeep(storage, clock, Troubles(clock), asyncio.Lock(), mend)
    await finished(upkeep.verify(), clock)
    assert (upkeep.verified, told) == (1, [])
    flip(disk, f"{runs[1].name}/history", 5)
    await finished(upkeep.verify(), clock)
    assert told[0] == f"{runs[1].name}/history is damaged"
    assert told[1].endswith(f"goes on from height {runs[1].first_height - 1}")
    assert storage.height == runs[1].first_height - 1
    follow(storage, PLOT)
    assert picture(storage) == picture(truth(PLOT.goal))


def test_a_chore_whose_files_were_swept_away_is_not_taken_in() -> None:
    disk = MemoryDisk()
    storage = SegmentStorage(disk, "chain", 4)
    for block in PLOT.first[:12]:
        storage.append(block.hash, scan_block(block.raw))
    chore = storage.chore()
    assert chore is not None
    result = chore.work()
    assert storage.recover() == ""
    chore.settle(result)
    storage.tidy()
    assert picture(storage) == picture(truth(PLOT.first[:12]))
    assert picture(opened(disk)) == picture(truth(PLOT.first[:12]))


def broken_off(memory: int = 1) -> MemoryDisk:
    """The disk of a sync that was killed behind its last note."""
    disk = MemoryDisk()
    bulk = opened(disk).bulk(SeededEntropy(2), memory=memory)
    for block in PLOT.first[:36]:
        bulk.add(block.raw)
    assert "bulk" in disk.files
    return disk.after_kill()


def test_a_bit_that_flips_in_an_unfinished_sync_is_found_and_the_sync_begins_anew() -> None:
    wanted, whole = picture(truth(PLOT.first)), broken_off()
    tried = 0
    spilled = sorted(name for name in whole.files if name.startswith(("fundings/", "spendings/")))
    chosen = {*random.Random(1).sample(spilled, 12), "bulk", *(n for n in whole.files if n.startswith("run-"))}
    for name, bit in places(whole, chosen.__contains__):
        disk = whole.after_kill()
        flip(disk, name, bit)
        storage = opened(disk)
        bulk = storage.bulk(SeededEntropy(2), memory=1)
        assert bulk.blocks in (0, 32)  # it may be behind what the note names
        tried += bulk.blocks == 0
        for block in PLOT.first[bulk.blocks :]:
            bulk.add(block.raw)
        storage.adopt(bulk)
        assert picture(storage) == wanted, name
        assert not [left for left in disk.names() if left.startswith(("fundings/", "bulk"))]
    assert tried > 20


@pytest.mark.parametrize("kind", ["fundings", "spendings"])
def test_a_bit_that_flips_in_rows_on_disk_is_found_when_they_are_read(kind: str) -> None:
    disk = MemoryDisk()
    storage = opened(disk)
    bulk = storage.bulk(SeededEntropy(2), memory=1)
    for block in PLOT.first:
        bulk.add(block.raw)
    flip(disk, next(name for name in sorted(disk.files) if name.startswith(f"{kind}/") and disk.files[name]), 77)
    with pytest.raises(DamagedError, match=f"{kind}/"):
        storage.adopt(bulk)
    assert storage.height == -1
    assert not [name for name in disk.names() if name.startswith((kind, "bulk"))]
    follow(synced_again(storage), PLOT)
    assert picture(storage) == picture(truth(PLOT.goal))


def test_both_manifests_damaged_and_one_of_a_later_format() -> None:
    disk = grown()
    for name in ("manifest", "manifest.copy"):
        flip(disk, name, 100)
    storage, damage = open_storage(disk.after_kill(), "chain", LIMIT)
    assert (storage.height, "the manifest is damaged" in damage) == (-1, True)
    with pytest.raises(StorageError, match="another chain"):
        SegmentStorage(grown(), "other", LIMIT)
