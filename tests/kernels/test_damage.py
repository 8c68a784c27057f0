"""What is damaged, cut short or not of one piece: the kernels refuse it or answer, within what they were given.

`make soak-kernels` runs these with sanitizers, which see a read or write that is out of bounds.
"""

from __future__ import annotations

import random
from itertools import accumulate
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.indexer.chains import block, random_chain, transaction
from tests.kernels.test_index import KERNELS, SEED, build
from tests.kernels.twins import needs_compiled

from twinlock.kernels import index, scan, scan_plain

ROWS = (32, 32, 8, index.SCRIPT.size, 4, index.COIN.size, index.OUTPOINT.size, 40)
"""Bytes of a row in each of a segment's sections."""

both = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)


def damaged(rnd: random.Random, section: bytes, row: int) -> bytes:
    """A section with a byte, a row or its size changed."""
    changed = bytearray(section)
    match rnd.randrange(4):
        case 0 if changed:
            changed[rnd.randrange(len(changed))] = rnd.randrange(256)
        case 1 if changed:
            at = rnd.randrange(len(changed)) // row * row
            changed[at : at + row] = b"\xff" * row
        case 2:
            return section[: len(section) // row // 2 * row]
        case 3:
            return rnd.randbytes(len(section))
    return bytes(changed)


def ask_everything(segments: tuple[Any, ...], script: bytes, tx_hash: bytes, entries: int) -> None:
    kernel: Any = index.kernel
    assert kernel.history_size(segments, script) <= entries
    assert kernel.history_json(segments, script).count(b"tx_hash") <= entries
    assert len(kernel.history(segments, script, 1, 5)) <= entries * index.HISTORY_ROW.size
    kernel.status(segments, script, b"")
    kernel.unspent(segments, script, tx_hash + bytes(4))
    kernel.unspent_json(segments, script, b"")
    kernel.balance(segments, script)
    kernel.find(segments, tx_hash)
    kernel.output(segments, tx_hash, 0)


@needs_compiled
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_damaged_segment_is_refused_or_answers_within_what_it_holds(seed: int) -> None:
    rnd = random.Random(seed)
    blocks, scripts = random_chain(rnd, 6, 8)
    sound = list(build(index.kernel, blocks))
    for _ in range(8):
        parts = list(sound)
        for place in rnd.sample(range(8), rnd.randint(1, 3)):
            parts[2 + place] = damaged(rnd, parts[2 + place], ROWS[place])
        try:
            segment = index.Segment(*parts)
        except ValueError:
            continue
        for script in scripts:
            ask_everything((segment,), script, rnd.choice((sound[3][:32], sound[3][-32:])), len(parts[6]) // 4)
        try:
            index.merge((segment,), sound[3])
            index.merge_part((segment,), 1, 1, 0, 0, 0)
        except ValueError as error:
            assert "damaged" in str(error)


@both
def test_transactions_need_a_block(kernel: ModuleType) -> None:
    blocks, _ = random_chain(random.Random(2), 3, 4)
    parts = list(build(kernel, blocks))
    parts[2] = b""
    with pytest.raises(ValueError, match="no block"):
        kernel.Segment(*parts)


@both
def test_nothing_cannot_be_merged(kernel: ModuleType) -> None:
    with pytest.raises(ValueError, match="at least one"):
        kernel.merge((), b"")


@both
@pytest.mark.parametrize("vout", [2**32, 2**32 + 1, 2**63 - 1, -1])
def test_the_number_of_an_output_is_not_cut_to_32_bits(kernel: ModuleType, vout: int) -> None:
    blocks, _ = random_chain(random.Random(3), 4, 4)
    segment = kernel.Segment(*build(kernel, blocks))
    last = scan.scan_block(blocks[-1].raw).txids[-32:]
    assert kernel.output((segment,), last, 0) or kernel.output((segment,), last, 1)
    assert kernel.output((segment,), last, vout) is None


@both
def test_an_output_of_the_block_itself_is_spent_once(kernel: ModuleType) -> None:
    paid = transaction([(bytes(32), 0xFFFFFFFF)], [(5, b"\x51")])
    spent = [transaction([(scan.sha256d(paid), 0)], [(5, b"\x52")], note) for note in (b"a", b"b")]
    twice = scan.scan_block(block(bytes(32), 1, [paid, *spent]).raw)
    with pytest.raises(KeyError):
        kernel.connect((), twice.txids, twice.outputs, twice.inputs)


@both
@pytest.mark.parametrize(("count", "position"), [(13, 13), (13, -1), (0, 0), (17, 1), (3000, 2999), (13, 2**63 - 1)])
def test_a_tree_has_no_branch_of_another_leaf(kernel: ModuleType, count: int, position: int) -> None:
    leaves = b"".join(n.to_bytes(32, "big") for n in range(3000))
    tree = kernel.merkle_tree(leaves[: 32 * 13])
    assert kernel.merkle_branch_json(tree, leaves[: 32 * 13], 12).count(b'"') == 8
    with pytest.raises(ValueError, match="no such leaf"):
        kernel.merkle_branch_json(tree, leaves[: 32 * count], position)


@both
@pytest.mark.parametrize("count", [b"\0", b"\xfd\0\0", b"\xfe" + bytes(4), b"\xff" + bytes(8)])
def test_offsets_begin_behind_the_count_however_it_is_written(kernel: ModuleType, count: bytes) -> None:
    empty = scan.scan_block(bytes(80) + count) if kernel is index.kernel else scan_plain.scan_block(bytes(80) + count)
    assert int.from_bytes(empty.offsets, "little") == 80 + len(count)


@pytest.mark.parametrize("unmask", [scan.unmask, scan_plain.unmask])
@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_mask_has_eight_bytes(unmask: Any, size: int) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        unmask(b"block", bytes(size), 0)


@needs_compiled
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_given_back_damaged_are_refused_or_sorted(seed: int) -> None:
    rnd = random.Random(seed)
    blocks, _ = random_chain(rnd, 6, 8)
    builder = index.Builder(SEED)
    for raw in blocks:
        builder.add(raw.raw)
    for part in range(index.PARTS):
        fundings, spendings = builder.take(part)
        builder.give(part, damaged(rnd, fundings, 40), damaged(rnd, spendings, 16))
        try:
            builder.join(part)
        except ValueError as error:
            assert "spend" in str(error)
    sizes = []
    for part in range(index.PARTS):
        touches, coins = builder.take_joined(part)
        builder.give_joined(part, touches, damaged(rnd, coins, 32))
        try:
            scripts, history, kept = builder.part(part)
        except ValueError as error:
            assert "damaged" in str(error)
        else:
            sizes.append(len(kept) // index.COIN.size)
            assert len(history) <= len(touches) // 16 * 4
            assert len(scripts) % index.SCRIPT.size == 0
    assert [*accumulate(sizes)][-1] <= sum(len(b.raw) for b in blocks)


@needs_compiled
@pytest.mark.parametrize("slices", [(0, 0), (0, 257), (0, -1)])
def test_a_part_has_at_most_256_slices(slices: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="damaged"):
        index.Builder(SEED).give(0, b"", b"", *slices)
