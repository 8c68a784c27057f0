"""Merkle branches against the published proofs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.indexer.mempool import compact_histogram
from twinlock.indexer.merkle import HeaderTree, branch_and_root
from twinlock.kernels.scan import sha256d

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "electrum-vectors.json").read_text())


@given(st.integers(1, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_the_kept_header_tree_proves_like_the_whole_tree(case: tuple[int, int]) -> None:
    size, position = case
    leaves = [sha256d(bytes([n])) for n in range(70)]
    tree = HeaderTree()
    for leaf in leaves:
        tree.append(leaf)
    assert tree.branch_and_root(position, size) == branch_and_root(leaves[:size], position)


@given(st.lists(st.integers(0, 40), max_size=12))
def test_a_cut_header_tree_grows_again(cuts: list[int]) -> None:
    tree = HeaderTree()
    leaves: list[bytes] = []
    for step, cut in enumerate(cuts):
        cut = min(cut, len(leaves))
        tree.cut(cut)
        leaves = leaves[:cut]
        for n in range(7):
            leaves.append(sha256d(bytes([step, n])))
            tree.append(leaves[-1])
    if leaves:
        assert tree.branch_and_root(0, len(leaves)) == branch_and_root(leaves, 0)
        assert len(tree) == len(leaves)


@pytest.mark.parametrize("size", range(1, 9))
def test_small_roots(size: int) -> None:
    leaves = [sha256d(bytes([n])) for n in range(size)]
    roots = VECTORS["merkle"]["small"]["roots_internal_hex"]
    assert branch_and_root(leaves, 0)[1].hex() == roots[size - 1]


SYNTHETIC = VECTORS["headers"]["synthetic"]["cases"]


@pytest.mark.parametrize("case", SYNTHETIC, ids=[f"{case['height']}-of-{case['cp_height']}" for case in SYNTHETIC])
def test_published_header_proofs(case: dict[str, Any]) -> None:
    tree = HeaderTree()
    for n in range(2048):
        tree.append(sha256d(synthetic_header(n)))
    branch, root = tree.branch_and_root(case["height"], case["cp_height"] + 1)
    assert [node[::-1].hex() for node in branch] == case["branch"]
    assert root[::-1].hex() == case["root"]


def synthetic_header(n: int) -> bytes:
    return b"\x01\0\0\0" + sha256d(b"prev%d" % n) + sha256d(b"root%d" % n) + 3 * n.to_bytes(4, "little")


HISTOGRAMS = [case for case in VECTORS["fee_histogram"] if "input" in case]


@pytest.mark.parametrize("case", HISTOGRAMS, ids=range(len(HISTOGRAMS)))
def test_fee_histograms(case: dict[str, Any]) -> None:
    sizes = {round(10 * rate): size for rate, size in case["input"]}
    rows = [[rate / 10, size] for rate, size in compact_histogram(sizes, case["bin_size"])]
    assert rows == case["output"]
