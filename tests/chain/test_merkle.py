"""Merkle roots and proofs of real blocks, and the forgeries that a client must refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import electrum_vectors

from twinlock.chain.errors import InclusionError
from twinlock.chain.header import Header
from twinlock.chain.merkle import check_inclusion, fold, merkle_branch, merkle_root
from twinlock.chain.tx import Tx
from twinlock.kernels.sha256d import sha256d

VECTORS = electrum_vectors("merkle")
GUARDS = electrum_vectors("spv_guards")


def internal(display: str) -> bytes:
    return bytes.fromhex(display)[::-1]


def leaves(count: int) -> list[bytes]:
    return [sha256d(bytes((i & 0xFF, i >> 8))) for i in range(count)]


def test_small_trees() -> None:
    small = [sha256d(bytes((i,))) for i in range(8)]
    for count, root in enumerate(VECTORS["small"]["roots_internal_hex"], 1):
        assert merkle_root(small[:count]).hex() == root
    for case in VECTORS["small"]["branches"]:
        branch, root = merkle_branch(small[: case["n"]], case["index"])
        assert [node.hex() for node in branch] == case["branch_internal_hex"]
        check_inclusion(small[case["index"]], branch, case["index"], root)


@pytest.mark.parametrize("proof", VECTORS["documented"]["proofs"], ids=lambda proof: proof["txid"][:8])
def test_documented_proofs(proof: dict[str, Any]) -> None:
    branch = [internal(node) for node in proof["merkle"]]
    check_inclusion(internal(proof["txid"]), branch, proof["pos"], internal(proof["root"]))


@pytest.mark.parametrize("proof", VECTORS["block_951658"]["proofs"], ids=lambda proof: str(proof["tx_pos"]))
def test_proofs_of_a_real_block(proof: dict[str, Any]) -> None:
    block = VECTORS["block_951658"]
    root = Header.parse(bytes.fromhex(block["header"])).merkle_root
    assert root == internal(block["merkle_root"])
    branch = [internal(node) for node in proof["merkle"]]
    check_inclusion(internal(proof["tx_hash"]), branch, proof["tx_pos"], root)
    with pytest.raises(InclusionError):
        check_inclusion(internal(proof["tx_hash"]), branch, proof["tx_pos"] ^ 1, root)


@pytest.mark.parametrize(
    "case", [electrum_vectors("headers")["cp_5_8"], *electrum_vectors("headers")["synthetic"]["cases"]]
)
def test_proofs_of_headers(case: dict[str, Any]) -> None:
    branch = [internal(node) for node in case["branch"]]
    assert fold(sha256d(bytes.fromhex(case["header"])), branch, case["height"]) == internal(case["root"])


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_proved_and_no_other(count: int, data: st.DataObject) -> None:
    tree = leaves(count)
    index = data.draw(st.integers(0, count - 1))
    branch, root = merkle_branch(tree, index)
    assert root == merkle_root(tree) == fold(tree[index], branch, index)
    assert len(branch) == (count - 1).bit_length()
    check_inclusion(tree[index], branch, index, root)
    with pytest.raises(InclusionError):
        check_inclusion(sha256d(b"another"), branch, index, root)
    with pytest.raises(InclusionError):
        check_inclusion(tree[index], branch, index + (1 << len(branch)), root)


def test_a_64_byte_transaction_is_a_good_leaf() -> None:
    case = GUARDS["sixty_four_byte_tx"]
    raw = bytes.fromhex(case["raw"])
    assert len(raw) == 64
    assert Tx.parse(raw).txid == case["txid"]


def test_a_64_byte_transaction_is_no_inner_node() -> None:
    # Its two halves stand as siblings: the pair is itself a transaction, whose hash is the next node.
    case = GUARDS["sixty_four_byte_tx"]
    raw, above = bytes.fromhex(case["raw"]), [internal(node) for node in case["merkle"]]
    root = internal(case["root"])
    assert fold(sha256d(raw), above, case["pos"]) == root
    check_inclusion(sha256d(raw), above, case["pos"], root)
    for leaf, sibling, side in ((raw[32:], raw[:32], 1), (raw[:32], raw[32:], 0)):
        branch, index = [sibling, *above], case["pos"] * 2 + side
        assert fold(leaf, branch, index) == root
        with pytest.raises(InclusionError) as caught:
            check_inclusion(leaf, branch, index, root)
        assert caught.value.code == "chain.inclusion.inner_tx"


def test_a_repeated_sibling_may_stand_only_to_the_right() -> None:
    right, left = GUARDS["right_sibling_duplicate"], GUARDS["left_sibling_duplicate"]
    root = internal(right["root"])
    check_inclusion(internal(right["txid"]), [internal(node) for node in right["merkle"]], right["pos"], root)
    assert fold(internal(left["txid"]), [internal(node) for node in left["merkle"]], left["pos"]) == root
    with pytest.raises(InclusionError) as caught:
        check_inclusion(internal(left["txid"]), [internal(node) for node in left["merkle"]], left["pos"], root)
    assert caught.value.code == "chain.inclusion.duplicate"


LEAF = sha256d(b"")


@pytest.mark.parametrize(
    ("branch", "index"),
    [
        ([LEAF] * 31, 0),
        ([], 1),
        ([LEAF], 2),
        ([LEAF], -1),
        ([LEAF[:31]], 0),
        ([LEAF + b"\0"], 0),
        ([], 1 << 200),
    ],
)
def test_branches_of_the_wrong_shape_are_refused(branch: list[bytes], index: int) -> None:
    with pytest.raises(InclusionError):
        fold(LEAF, branch, index)
    with pytest.raises(InclusionError):
        check_inclusion(LEAF, branch, index, LEAF)


def test_leaves_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(InclusionError):
        fold(LEAF[:31], [], 0)
    with pytest.raises(InclusionError):
        merkle_branch([LEAF, LEAF[:31]], 0)


@pytest.mark.parametrize(("count", "index"), [(0, 0), (3, 3), (3, -1)])
def test_leaves_that_are_not_there(count: int, index: int) -> None:
    with pytest.raises(InclusionError):
        merkle_branch(leaves(count), index)
