"""The index kernel: the compiled and the plain twin give the same bytes, and both agree with the obvious oracle."""

from __future__ import annotations

import random
from hashlib import sha256
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.indexer.chains import Block, random_chain
from tests.kernels.twins import needs_compiled

from twinlock.indexer.merkle import branch_and_root
from twinlock.indexer.storage.memory import MemoryStorage
from twinlock.kernels import index, index_plain
from twinlock.kernels.scan import INPUT, scan_block

SEED = bytes(range(64))
KERNELS = [index_plain] + ([index.kernel] if index.kernel is not index_plain else [])


def build(kernel: ModuleType, blocks: list[Block]) -> Any:
    """One segment over all blocks."""
    builder = kernel.Builder(SEED)
    rows, txids, heads, count = [], [], 0, 0
    for block in blocks:
        header, hashes, offsets = builder.add(block.raw)
        scan = scan_block(block.raw)
        assert (header, hashes, offsets) == (scan.header, scan.txids, scan.offsets)
        rows.append(index.BLOCK.pack(count, heads, 0, 0, len(block.raw), 0))
        txids.append(hashes)
        heads += len(header)
        count += len(hashes) // 32
    for part in range(index.PARTS):
        builder.join(part)
    parts = [builder.part(part) for part in range(index.PARTS)]
    scripts, history, coins = (b"".join(column) for column in zip(*parts, strict=True))
    all_ids = b"".join(txids)
    lookup, points = kernel.lookup(all_ids), builder.outpoints()
    return (0, 0, b"".join(rows), all_ids, lookup, scripts, history, coins, points, b"")


def stack(kernel: ModuleType, blocks: list[Block]) -> tuple[Any, ...]:
    """One segment a block."""
    segments: tuple[Any, ...] = ()
    count = 0
    for height, block in enumerate(blocks):
        scan = scan_block(block.raw)
        outputs = scan.outputs if height else b""
        row = index.BLOCK.pack(count, 0, 0, 0, len(block.raw), 0)
        sections = kernel.connect(segments, scan.txids, outputs, scan.inputs)
        segments += (kernel.Segment(height, count, row, scan.txids, *sections),)
        count += scan.tx_count
    return segments


def merged(kernel: ModuleType, blocks: list[Block], segments: tuple[Any, ...], cut: int) -> tuple[Any, ...]:
    """The same with the segments from `cut` on as one."""
    scans = [scan_block(block.raw) for block in blocks[cut:]]
    txids = b"".join(scan.txids for scan in scans)
    rows, count = [], segments[cut].first_tx
    for scan in scans:
        rows.append(index.BLOCK.pack(count, 0, 0, 0, 0, 0))
        count += scan.tx_count
    sections = kernel.merge(segments[cut:], txids)
    return (*segments[:cut], kernel.Segment(cut, segments[cut].first_tx, b"".join(rows), txids, *sections))


def in_parts(kernel: ModuleType, segments: tuple[Any, ...], bits: int) -> tuple[bytes, ...]:
    """What `merge` gives, made part by part."""
    scripts = history = coins = points = spends = b""
    for part in range(1 << bits):
        before = len(scripts) // index.SCRIPT.size, len(history) // 4, len(coins) // index.COIN.size
        more = kernel.merge_part(segments, part, bits, *before)
        scripts, history, coins, points, spends = (
            a + b for a, b in zip((scripts, history, coins, points, spends), more, strict=True)
        )
    lookup = b"".join(kernel.merge_lookup(segments, part, bits) for part in range(1 << bits))
    return lookup, scripts, history, coins, kernel.sort_outpoints(points), spends


def oracle(blocks: list[Block]) -> MemoryStorage:
    storage = MemoryStorage()
    for block in blocks:
        storage.append(block.hash, scan_block(block.raw))
    return storage


def same_as_oracle(kernel: ModuleType, segments: tuple[Any, ...], blocks: list[Block], scripts: set[bytes]) -> None:
    truth = oracle(blocks)
    for script in scripts:
        rows = list(index.HISTORY_ROW.iter_unpack(kernel.history(segments, script)))
        assert rows == truth.history(script)
        assert kernel.history_size(segments, script) == len(rows)
        text = "".join(f"{tx[::-1].hex()}:{height}:" for tx, height in rows)
        assert kernel.status(segments, script, b"")[0] == (sha256(text.encode()).hexdigest() if text else None)
        assert list(index.UNSPENT_ROW.iter_unpack(kernel.unspent(segments, script, b""))) == truth.unspent(script)
        assert kernel.balance(segments, script) == truth.balance(script)
        for coin in truth.unspent(script):
            assert kernel.output(segments, coin.tx_hash, coin.vout) == (script, coin.value)
    for block in blocks:
        for prev, vout, _ in INPUT.iter_unpack(scan_block(block.raw).inputs):
            assert kernel.output(segments, prev, vout) is None
    for height, block in enumerate(blocks):
        hashes = scan_block(block.raw).txids
        for position in range(len(hashes) // 32):
            assert kernel.find(segments, hashes[32 * position : 32 * position + 32]) == (height, position)


chains = st.tuples(st.integers(0, 2**32), st.integers(2, 14), st.integers(1, 30))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
@settings(max_examples=25, deadline=None)
@given(chains)
def test_every_way_to_build_gives_the_same_answers(kernel: ModuleType, shape: tuple[int, int, int]) -> None:
    seed, size, per_block = shape
    blocks, scripts = random_chain(random.Random(seed), size, per_block)
    segments = stack(kernel, blocks)
    same_as_oracle(kernel, segments, blocks, scripts)
    same_as_oracle(kernel, merged(kernel, blocks, segments, size // 2), blocks, scripts)
    same_as_oracle(kernel, (kernel.Segment(*build(kernel, blocks)),), blocks, scripts)


@needs_compiled
@settings(max_examples=25, deadline=None)
@given(chains)
def test_the_twins_agree_byte_for_byte(shape: tuple[int, int, int]) -> None:
    seed, size, per_block = shape
    blocks, scripts = random_chain(random.Random(seed), size, per_block)
    fast, slow = index.kernel, index_plain
    assert build(fast, blocks) == build(slow, blocks)
    ours, theirs = stack(fast, blocks), stack(slow, blocks)
    cut = size // 2
    txids = b"".join(scan_block(block.raw).txids for block in blocks[cut:])
    assert fast.merge(ours[cut:], txids) == slow.merge(theirs[cut:], txids)
    for bits in (0, 1, 4):
        assert in_parts(fast, ours[cut:], bits) == in_parts(slow, theirs[cut:], bits) == fast.merge(ours[cut:], txids)
    for script in scripts:
        assert fast.history_json(ours, script) == slow.history_json(theirs, script)
        for start, end in ((0, 0), (0, 1), (1, -1), (cut, -1), (1, cut), (cut, size), (size, -1), (size + 5, size + 9)):
            assert fast.history_json(ours, script, start, end) == slow.history_json(theirs, script, start, end)
            assert fast.history_size(ours, script, start, end) == slow.history_size(theirs, script, start, end)
            assert fast.history(ours, script, start, end, 2) == slow.history(theirs, script, start, end, 2)
        excluded = slow.unspent(theirs, script, b"")[:36]
        assert fast.unspent_json(ours, script, excluded) == slow.unspent_json(theirs, script, excluded)
        assert fast.status(ours, script, b"tail")[0] == slow.status(theirs, script, b"tail")[0]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30), st.integers(0, 30))
def test_a_status_goes_on_from_an_earlier_one(kernel: ModuleType, seed: int, first: int, more: int) -> None:
    blocks, scripts = random_chain(random.Random(seed), first + more + 1, 12)
    segments = stack(kernel, blocks)
    for script in scripts:
        _, progress = kernel.status(segments[: first + 1], script, b"a mempool's tail")
        wanted, _ = kernel.status(segments, script, b"tail")
        assert kernel.status(segments, script, b"tail", progress)[0] == wanted
        if more:
            shorter = merged(kernel, blocks, segments, first // 2)  # chores may have merged pieces meanwhile
            assert kernel.status(shorter, script, b"tail", progress)[0] == wanted


def test_a_list_with_a_repeated_end_has_no_root() -> None:
    a, b, c = (bytes([n]) * 32 for n in range(3))
    for kernel in KERNELS:
        many = b"".join(bytes([n]) * 32 for n in range(21))
        assert kernel.merkle_root(many) == kernel.merkle_tree(many)[-32:]
        assert kernel.merkle_root(a) == a
        for leaves in (b"", a + b + c + c):
            with pytest.raises(ValueError, match="no root"):
                kernel.merkle_root(leaves)


@needs_compiled
@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_merkle_twins_agree(case: tuple[int, int]) -> None:
    count, position = case
    leaves = b"".join(sha256(bytes([n])).digest() for n in range(count))
    tree = index.merkle_tree(leaves)
    assert tree == index_plain.merkle_tree(leaves)
    branch = index.merkle_branch_json(tree, leaves, position)
    assert branch == index_plain.merkle_branch_json(tree, leaves, position)
    siblings, _ = branch_and_root([leaves[at : at + 32] for at in range(0, 32 * count, 32)], position)
    assert branch == msgspec.json.encode([sibling[::-1].hex() for sibling in siblings])
    for kernel in KERNELS:
        for short, where in ((tree[:-33], position), (tree, count), (tree, -1)):
            if tree or where != position:
                with pytest.raises(ValueError, match="no such leaf"):
                    kernel.merkle_branch_json(short, leaves, where)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_spending_what_is_not_there_is_refused(kernel: ModuleType) -> None:
    blocks, _ = random_chain(random.Random(5), 6, 10)
    with pytest.raises(KeyError):
        stack(kernel, [blocks[0], *blocks[3:]])
    builder = kernel.Builder(SEED)
    for block in [blocks[0], *blocks[3:]]:
        builder.add(block.raw)
    with pytest.raises(ValueError, match="inputs spend"):
        for part in range(index.PARTS):
            builder.join(part)
