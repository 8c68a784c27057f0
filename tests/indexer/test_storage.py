"""The storage against the slow oracle, through growth, reorganisations and restarts."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.indexer.chains import Block, Coin, extend, random_chain, scripts_of, transaction
from tests.indexer.chains import block as block_of

from twinlock.indexer.storage.disk import MemoryDisk, RealDisk
from twinlock.indexer.storage.manifest import (
    FORMAT,
    MANIFESTS,
    OutdatedError,
    StorageError,
    TooDeepError,
    read_manifest,
)
from twinlock.indexer.storage.memory import MemoryStorage
from twinlock.indexer.storage.seam import Storage
from twinlock.indexer.storage.segments import SegmentStorage, open_storage
from twinlock.kernels.scan import hashx, scan_block, sha256d
from twinlock.seams import SeededEntropy

SCRIPTS = [hashx(script) for script in scripts_of(12)]


def grow(storage: Storage, blocks: list[Block]) -> None:
    for block in blocks[storage.height + 1 :]:
        storage.append(block.hash, scan_block(block.raw))
        if isinstance(storage, SegmentStorage):
            storage.tidy()


def picture(storage: Storage) -> object:
    """Everything that a storage can be asked."""
    heights = range(storage.height + 1)
    hashes = [storage.tx_hashes(height) for height in heights]
    return (
        [storage.block_hash(height) for height in heights],
        hashes,
        [storage.header(height) for height in heights],
        [storage.tx_span(height, position) for height in heights for position in range(len(hashes[height]) // 32)],
        [(storage.history(s), storage.unspent(s), storage.balance(s)) for s in SCRIPTS],
    )


def truth(blocks: list[Block]) -> MemoryStorage:
    storage = MemoryStorage()
    grow(storage, blocks)
    return storage


def truth_of_raw(raws: list[bytes]) -> MemoryStorage:
    """The oracle of raw blocks."""
    return truth([Block(sha256d(raw[:80]), raw) for raw in raws])


def opened(disk: MemoryDisk, reorg_limit: int = 10) -> SegmentStorage:
    return SegmentStorage(disk, "chain", reorg_limit)


@pytest.mark.parametrize("make", [MemoryStorage, lambda: opened(MemoryDisk())], ids=["fake", "real"])
def test_what_is_undone_was_never_there(make: type[Storage]) -> None:
    blocks, _ = random_chain(random.Random(1), 30, 10)
    storage = make()
    grow(storage, blocks[:20])
    before = picture(storage)
    grow(storage, blocks[:27])
    touched = set().union(*(storage.undo().scripts for _ in range(7)))
    assert picture(storage) == before
    assert touched >= {script for script in SCRIPTS if truth(blocks[:27]).history(script) != storage.history(script)}
    grow(storage, blocks)
    assert picture(storage) == picture(truth(blocks))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), max_size=12))
def test_reorganisations_and_restarts_leave_what_the_oracle_has(seed: int, steps: list[tuple[int, int]]) -> None:
    rnd = random.Random(seed)
    disk = MemoryDisk()
    storage = opened(disk)
    history: list[tuple[Block, list[Coin]]] = []
    coins: list[Coin] = []
    peak = 0
    for step, (back, forward) in enumerate(steps):
        peak = max(peak, len(history))
        for _ in range(min(back, len(history) - max(0, peak - 10))):
            storage.undo()
            _, coins = history.pop()
        for _ in range(forward):
            before = list(coins)
            block = extend(rnd, [b for b, _ in history], coins, 8, salt=step)
            history.append((block, before))
            storage.append(block.hash, scan_block(block.raw))
        if step % 3:
            storage.tidy()
        blocks = [b for b, _ in history]
        assert picture(storage) == picture(truth(blocks))
        if step % 2:
            storage.close()
            storage = opened(disk)
            assert picture(storage) == picture(truth(blocks))


def test_a_bulk_build_equals_one_block_by_block() -> None:
    blocks, _ = random_chain(random.Random(3), 60, 20)
    disk = MemoryDisk()
    storage = opened(disk)
    bulk = storage.bulk(SeededEntropy(1))
    for block in blocks[:40]:
        bulk.add(block.raw)
    storage.adopt(bulk)
    assert picture(storage) == picture(truth(blocks[:40]))
    grow(storage, blocks)
    assert picture(storage) == picture(truth(blocks))
    storage.close()
    assert picture(opened(disk)) == picture(truth(blocks))


TWICE = b"\x51\x66"


def with_twins() -> tuple[list[Block], bytes]:
    """Twelve blocks; the only transaction of the fifth, which is made again in the tenth."""
    twin = transaction([(bytes(32), 0xFFFFFFFF)], [(50, TWICE)], b"twin")
    blocks: list[Block] = []
    for height in range(12):
        other = transaction([(bytes(32), 0xFFFFFFFF)], [(1, b"\x51")], bytes([height]))
        parent = blocks[-1].hash if blocks else bytes(32)
        blocks.append(block_of(parent, height, [twin if height in (4, 9) else other]))
    return blocks, twin


@pytest.mark.parametrize("together", [0, 6, 12], ids=["block by block", "half in bulk", "in bulk"])
def test_a_transaction_that_is_made_twice_counts_once_where_it_is_last(together: int) -> None:
    (blocks, twin), script = with_twins(), TWICE
    disk = MemoryDisk()
    replaced = frozenset({blocks[4].hash})
    storage = SegmentStorage(disk, "chain", 20, replaced=replaced)
    if together:
        bulk = storage.bulk(SeededEntropy(1))
        for each in blocks[:together]:
            bulk.add(each.raw)
        storage.adopt(bulk)
    grow(storage, blocks)
    for checked in (storage, SegmentStorage(disk, "chain", 20, replaced=replaced)):
        twin_hash = sha256d(twin)
        assert checked.history(hashx(script)) == [(twin_hash, 9)]
        assert [(coin.tx_hash, coin.height) for coin in checked.unspent(hashx(script))] == [(twin_hash, 9)]
        assert checked.balance(hashx(script)) == 50
        assert checked.find(twin_hash) == (9, 0)
        assert checked.tx_hashes(4) == twin_hash
    if together < 9:
        storage.undo(), storage.undo(), storage.undo()
        assert storage.history(hashx(script)) == []


def as_format_1(disk: MemoryDisk) -> None:
    """What an earlier version would have left: it said nothing of such blocks, and less in its notes."""
    for name in MANIFESTS & disk.files.keys():
        body = disk.files[name].partition(b"\n")[2].replace(b'"format":%d' % FORMAT, b'"format":1')
        disk.files[name] = b"%08x\n" % zlib.crc32(body) + body


@pytest.mark.parametrize("together", [0, 6], ids=["block by block", "half in bulk"])
def test_an_index_that_counted_a_transaction_twice_is_built_anew(together: int) -> None:
    blocks, twin = with_twins()
    disk = MemoryDisk()
    old = SegmentStorage(disk, "chain", 20, replaced=frozenset())
    if together:
        bulk = old.bulk(SeededEntropy(1))
        for each in blocks[:together]:
            bulk.add(each.raw)
        old.adopt(bulk)
    grow(old, blocks)
    assert len(old.history(hashx(TWICE))) == 2
    old.close()
    as_format_1(disk)
    replaced = frozenset({blocks[4].hash})
    with pytest.raises(OutdatedError):  # whoever only looks is told
        SegmentStorage(disk, "chain", 20, replaced=replaced)
    storage, why = open_storage(disk, "chain", 20, replaced=replaced)
    assert storage.height == -1
    assert why.endswith("counted transactions twice; the index is built anew")
    grow(storage, blocks)
    assert storage.history(hashx(TWICE)) == [(sha256d(twin), 9)]
    storage.close()
    assert SegmentStorage(disk, "chain", 20, replaced=replaced).height == 11


def test_a_right_index_of_an_earlier_version_is_kept() -> None:
    blocks, _ = with_twins()
    disk = MemoryDisk()
    storage = SegmentStorage(disk, "chain", 20, replaced=frozenset())
    grow(storage, blocks)
    storage.close()
    as_format_1(disk)
    storage, why = open_storage(disk, "chain", 20)  # its chain is not Bitcoin's
    assert (storage.height, why) == (11, "")
    storage.close()
    manifest = read_manifest(disk)
    assert manifest is not None
    assert manifest.format == FORMAT


def test_an_unfinished_first_sync_of_an_earlier_version_begins_again() -> None:
    blocks, _ = with_twins()
    disk = MemoryDisk()
    bulk = SegmentStorage(disk, "chain", 20, replaced=frozenset()).bulk(SeededEntropy(1), memory=1)
    for each in blocks:
        bulk.add(each.raw)
    bulk._save()
    assert SegmentStorage(disk, "chain", 20).bulk(SeededEntropy(1), memory=1).blocks == 12
    name, body = "bulk", disk.files["bulk"].partition(b"\n")[2].replace(b',"format":%d' % FORMAT, b"")
    disk.files[name] = b"%08x\n" % zlib.crc32(body) + body
    assert SegmentStorage(disk, "chain", 20).bulk(SeededEntropy(1), memory=1).blocks == 0


def test_an_index_of_a_later_version_is_left_alone() -> None:
    disk = MemoryDisk()
    storage = opened(disk)
    grow(storage, with_twins()[0])
    body = disk.files["manifest"].partition(b"\n")[2].replace(b'"format":%d' % FORMAT, b'"format":99')
    disk.files["manifest"] = b"%08x\n" % zlib.crc32(body) + body
    before = dict(disk.files)
    with pytest.raises(StorageError, match="format 99"):
        open_storage(disk, "chain", 20)
    assert disk.files == before


def test_a_reset_index_begins_anew_and_stays_so() -> None:
    blocks, _ = random_chain(random.Random(12), 30, 6)
    disk = MemoryDisk()
    storage = opened(disk, 5)
    grow(storage, blocks)
    storage.reset()
    assert storage.height == -1
    storage.close()
    again = opened(disk, 5)
    assert again.height == -1
    grow(again, blocks)
    assert picture(again) == picture(truth(blocks))


def test_another_chains_directory_is_refused() -> None:
    blocks, _ = random_chain(random.Random(8), 3, 3)
    disk = MemoryDisk()
    grow(opened(disk), blocks)
    with pytest.raises(StorageError, match="another chain"):
        SegmentStorage(disk, "other", 10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(0, 4), st.integers(0, 6))
def test_blocks_may_come_and_go_while_a_chore_is_under_way(seed: int, more: int, back: int, forward: int) -> None:
    rnd = random.Random(seed)
    blocks: list[tuple[Block, list[Coin]]] = []
    coins: list[Coin] = []
    storage = opened(MemoryDisk(), 8)

    def add(salt: int) -> None:
        before = list(coins)
        block = extend(rnd, [b for b, _ in blocks], coins, 5, salt)
        blocks.append((block, before))
        storage.append(block.hash, scan_block(block.raw))

    for _ in range(more):
        add(0)
    while chore := storage.chore():
        result = chore.work()
        for _ in range(min(back, len(blocks) - 1)):
            storage.undo()
            coins[:] = blocks.pop()[1]
        for _ in range(forward):
            add(1)
        back = forward = 0
        chore.settle(result)
        assert picture(storage) == picture(truth([b for b, _ in blocks]))


def test_deeper_than_the_limit_cannot_be_undone() -> None:
    blocks, _ = random_chain(random.Random(9), 20, 3)
    storage = opened(MemoryDisk(), 5)
    grow(storage, blocks)
    with pytest.raises(TooDeepError, match="deeper"):
        for _ in range(20):
            storage.undo()


def test_the_real_disk_keeps_what_the_fake_one_keeps(tmp_path: object) -> None:
    from pathlib import Path

    blocks, _ = random_chain(random.Random(10), 45, 6)
    assert isinstance(tmp_path, Path)
    storage = SegmentStorage(RealDisk(tmp_path), "chain", 5)
    grow(storage, blocks)
    storage.close()
    again = SegmentStorage(RealDisk(tmp_path), "chain", 5)
    assert picture(again) == picture(truth(blocks))
    again.close()
