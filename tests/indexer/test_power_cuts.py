"""The storage dies at every single operation of a sync and of a tip's life with reorganisations, and its disk is full
at every one; what comes back always becomes the index that was built in one go.

A film of the disk is made of one run: its content before each operation, and in the middle of each write. From each
picture several things can be left: what the program had written (it was killed); what was synced (the power was cut)
with nothing, one or some bytes of what was on its way; what was synced with nothing of what came after, cuts and
removals included.

A sync does the same to each of hundreds of parts, and a full disk refuses the same whatever was written before: there
the soak takes every operation, the default run some of each kind (`ALIKE`).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise

import pytest
from tests.indexer.chains import Block, Coin, extend
from tests.indexer.test_storage import picture, truth

from twinlock.indexer.storage.disk import MemoryDisk
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.kernels.scan import scan_block
from twinlock.seams import SeededEntropy

SOAK = "TWINLOCK_SOAK" in os.environ
LIMIT, BULK = 4, 40
ALIKE = 2
"""Of operations that do the same to files of the same kind: so many of the first, of the last, and of those between."""

LEFT: dict[str, Callable[[MemoryDisk], MemoryDisk]] = {
    "killed": MemoryDisk.after_kill,
    "power cut": MemoryDisk.after_power_cut,
    "one byte more": lambda disk: disk.after_power_cut(1),
    "some bytes more": lambda disk: disk.after_power_cut(77),
    "writes lost": MemoryDisk.after_lost_writes,
}


class Film(MemoryDisk):
    """Remembers its content before every operation. Bytes are shared, so that a picture costs little."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[MemoryDisk] = []

    def step(self) -> None:
        super().step()
        moment = MemoryDisk()
        moment.files, moment.durable = dict(self.files), dict(self.durable)
        self.pictures.append(moment)


class Plot:
    """Blocks, and in which order they come and go. `goal` is the chain at the end."""

    def __init__(self, seed: int, reorganisations: int) -> None:
        rnd = random.Random(seed)
        self.known: dict[bytes, Block] = {}
        self.scenes: list[tuple[int, list[Block]]] = []  # so many blocks are undone, then these follow
        chain: list[tuple[Block, list[Coin]]] = []
        coins: list[Coin] = []

        def grow(count: int, salt: int) -> list[Block]:
            new = []
            for _ in range(count):
                before = list(coins)
                new.append(extend(rnd, [block for block, _ in chain], coins, 3, salt))
                chain.append((new[-1], before))
                self.known[new[-1].hash] = new[-1]
            return new

        self.first = grow(BULK, 0)
        self.scenes.append((0, grow(12, 0)))
        for salt in range(1, reorganisations + 1):
            depth = rnd.randint(1, LIMIT)
            coins[:] = chain[-depth][1]
            del chain[-depth:]
            self.scenes.append((depth, grow(depth + rnd.randint(-1, 5), salt)))
        self.goal = [block for block, _ in chain]


def opened(disk: MemoryDisk) -> SegmentStorage:
    return SegmentStorage(disk, "chain", LIMIT)


def synced(disk: MemoryDisk, plot: Plot, memory: int) -> SegmentStorage:
    """The storage with a first sync done, which goes on where it was broken off."""
    storage = opened(disk)
    if storage.height < 0:
        bulk = storage.bulk(SeededEntropy(2), memory=memory)
        for block in plot.first[bulk.blocks :]:
            bulk.add(block.raw)
        storage.adopt(bulk)
    return storage


def play(storage: SegmentStorage, plot: Plot) -> None:
    """The life of a tip."""
    for undone, blocks in plot.scenes:
        for _ in range(undone):
            storage.undo()
        for block in blocks:
            storage.append(block.hash, scan_block(block.raw))
            storage.tidy()


def follow(storage: SegmentStorage, plot: Plot) -> None:
    """From wherever the storage is to the goal, as if a node had led there."""
    while [b.hash for b in plot.goal[: storage.height + 1]] != chain_of(storage):
        storage.undo()
    for block in plot.goal[storage.height + 1 :]:
        storage.append(block.hash, scan_block(block.raw))
        storage.tidy()


def chain_of(storage: SegmentStorage) -> list[bytes]:
    return [storage.block_hash(height) for height in range(storage.height + 1)]


def kind_of(file: str) -> str:
    """Where a file of this kind stands: runs and parts have numbers."""
    folder, _, name = file.partition("/")
    return folder.split("-")[0] + ("" if name.isdigit() else f"/{name}")


def done_between(before: MemoryDisk, after: MemoryDisk) -> frozenset[tuple[str, str]]:
    """What an operation did, to which kinds of files."""
    deeds = set()
    for file in before.files.keys() | after.files.keys():
        old, new = before.files.get(file), after.files.get(file)
        if old is None or new is None:
            deeds.add((kind_of(file), "made" if old is None else "removed"))
        elif old is not new:
            deeds.add((kind_of(file), "grown" if new.startswith(old) else "changed"))
    for file in before.durable.keys() | after.durable.keys():
        if before.durable.get(file) is not after.durable.get(file):
            deeds.add((kind_of(file), "synced" if file in after.durable else "forgotten"))
    return frozenset(deeds)


def some_of_each_kind(film: Film) -> list[int]:
    """Numbers of the pictures before and after the chosen operations; in the soak, of all."""
    pictures = film.pictures
    if SOAK:
        return list(range(len(pictures)))
    alike: dict[frozenset[tuple[str, str]], list[int]] = {}
    for number, (before, after) in enumerate(pairwise(pictures)):
        alike.setdefault(done_between(before, after), []).append(number)
    chosen = set()
    for found in alike.values():
        between = found[ALIKE:-ALIKE]
        chosen |= {*found[:ALIKE], *found[-ALIKE:], *random.Random(1).sample(between, min(ALIKE, len(between)))}
    return sorted(chosen | {number + 1 for number in chosen})


def recoveries(film: Film, numbers: Iterable[int]) -> Iterator[tuple[str, MemoryDisk]]:
    """Each thing that can be left of each of these pictures, but no two alike."""
    seen = set()
    for number in numbers:
        moment = film.pictures[number]
        for name, left in LEFT.items():
            disk = left(moment)
            key = frozenset(disk.files.items())
            if key not in seen:
                seen.add(key)
                yield f"{name} before operation {number + 1}", disk


def kinds(disk: MemoryDisk) -> set[str]:
    """What kinds of files there are."""
    return {name.split("/")[0].split("-")[0] for name in disk.names()}


def check_all(film: Film, plot: Plot, memory: int, numbers: Iterable[int]) -> int:
    """Let every recovery from these pictures become the goal; how many different ones there were."""
    wanted = picture(truth(plot.goal))
    done: set[frozenset[tuple[str, bytes]]] = set()

    @cache
    def truth_of(tip: bytes) -> object:
        chain = [plot.known[tip]]
        while chain[-1].raw[4:36] in plot.known:
            chain.append(plot.known[chain[-1].raw[4:36]])
        return picture(truth(chain[::-1]))

    for where, disk in recoveries(film, numbers):
        storage = opened(disk)
        if storage.height >= 0:
            assert picture(storage) == truth_of(storage.block_hash(storage.height)), where
        else:
            storage.bulk(SeededEntropy(2), memory=memory)  # cuts files to what is valid of them
        if (state := frozenset(disk.files.items())) in done and not SOAK:
            continue  # from the same files the same follows
        done.add(state)
        storage = synced(disk, plot, memory)
        follow(storage, plot)
        assert picture(storage) == wanted, where
        assert picture(opened(disk)) == wanted, where
        assert kinds(disk) == kinds(film), f"{where}: nothing is left lying about"
    return len(done)


@pytest.mark.parametrize("memory", [1 << 30, 1], ids=["in memory", "spilled"])
def test_a_sync_that_dies_at_any_operation_goes_on(memory: int) -> None:
    plot = Plot(5, 0)
    film = Film()
    synced(film, plot, memory)
    assert check_all(film, plot, memory, some_of_each_kind(film)) >= 2


def test_a_tip_that_dies_at_any_operation_goes_on() -> None:
    plot = Plot(4, 40 if SOAK else 14)
    film = Film()
    storage = synced(film, plot, 1 << 30)
    film.pictures.clear()
    play(storage, plot)
    assert picture(storage) == picture(truth(plot.goal))
    assert len({name.split("/")[0] for name in film.names() if name.startswith("run-")}) > 1, "blocks moved into runs"
    assert check_all(film, plot, 1 << 30, range(len(film.pictures))) > 50


def test_a_disk_that_is_full_at_any_operation_changes_nothing() -> None:
    """Of a tip's life: what was known before is served, and it goes on when there is room again."""
    plot = Plot(14, 3)
    blocks = plot.goal
    film = Film()
    follow(opened(film), plot)
    truths = [picture(truth(blocks[:count])) for count in range(len(blocks) + 1)]

    def patiently(storage: SegmentStorage) -> int:
        refused = 0
        while storage.height < len(blocks) - 1 or storage.chore():
            before = storage.height, storage.tx_count
            try:
                if chore := storage.chore():
                    chore.settle(chore.work())
                else:
                    block = blocks[storage.height + 1]
                    storage.append(block.hash, scan_block(block.raw))
            except OSError:
                refused += 1
                assert (storage.height, storage.tx_count) == before
                assert picture(storage) == truths[storage.height + 1], "what there is, is served"
        return refused

    refused, tried = 0, some_of_each_kind(film)[1:]
    for full_at in tried:
        disk = MemoryDisk(full_at=full_at + 1)
        storage = opened(disk)
        refused += patiently(storage)
        assert picture(storage) == truths[-1]
        storage.close()
        assert picture(opened(disk)) == truths[-1]
    assert refused > len(tried) // 2


def test_a_sync_that_a_full_disk_broke_off_goes_on() -> None:
    plot = Plot(15, 0)
    counting = MemoryDisk()
    synced(counting, plot, 1)
    wanted = picture(truth(plot.first))
    for full_at in range(3, counting.steps, 3 if SOAK else 131):  # all of them would take a quarter of an hour
        disk = MemoryDisk(full_at=full_at)
        storage = opened(disk)
        for _ in range(2):
            if storage.height >= 0:
                break  # only the clearing up is left to the next start
            try:
                bulk = storage.bulk(SeededEntropy(2), memory=1)
                for block in plot.first[bulk.blocks :]:
                    bulk.add(block.raw)
                storage.adopt(bulk)
            except OSError:
                continue
        assert picture(storage) == wanted, full_at
        assert picture(opened(disk)) == wanted, full_at
