"""Merkle trees as blocks use them, and proofs that a transaction is in a block.

Nodes are 32 bytes in internal order. An odd last node of a level pairs with itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from twinlock.chain.errors import InclusionError, MalformedError
from twinlock.chain.tx import Tx
from twinlock.kernels.sha256d import sha256d, sha256d_many

MAX_BRANCH = 30
"""No block can hold 2^30 transactions."""


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over at least one leaf. Raises InclusionError."""
    return merkle_branch(leaves, 0)[1]


def merkle_branch(leaves: Sequence[bytes], index: int) -> tuple[list[bytes], bytes]:
    """(siblings from the leaf's level upwards, root). Raises InclusionError if there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise InclusionError("the tree has no such leaf", numbers={"index": index, "leaves": len(leaves)})
    level = b"".join(leaves)
    if len(level) != 32 * len(leaves):
        raise InclusionError("a node has 32 bytes", code="chain.inclusion.node")
    branch = []
    while len(level) > 32:
        if len(level) % 64:
            level += level[-32:]
        sibling = 32 * (index ^ 1)
        branch.append(level[sibling : sibling + 32])
        index >>= 1
        level = sha256d_many(level, range(0, len(level) + 1, 64))
    return branch, level


def fold(leaf: bytes, branch: Sequence[bytes], index: int) -> bytes:
    """The root that a branch leads to. Raises InclusionError for a branch of the wrong shape.

    Only for trees whose leaves cannot be mistaken for inner nodes, such as trees of block hashes;
    for transactions use `check_inclusion`.
    """
    _check_shape(leaf, branch, index)
    node = leaf
    for sibling in branch:
        node = sha256d(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return node


def check_inclusion(tx_hash: bytes, branch: Sequence[bytes], index: int, root: bytes) -> None:
    """Prove that the transaction stands at `index` of the block with that Merkle root.

    Raises InclusionError also for two forgeries that a plain fold accepts: an inner node that is
    itself a 64-byte transaction (CVE-2017-12842), and a left sibling equal to its node, by which a
    block could list a transaction twice (CVE-2012-2459).
    """
    _check_shape(tx_hash, branch, index)
    node = tx_hash
    for sibling in branch:
        if index & 1 and sibling == node:
            raise InclusionError("a left sibling repeats its node", code="chain.inclusion.duplicate")
        pair = sibling + node if index & 1 else node + sibling
        if _is_transaction(pair):
            raise InclusionError("an inner node is a transaction", code="chain.inclusion.inner_tx")
        node = sha256d(pair)
        index >>= 1
    if node != root:
        raise InclusionError("the branch leads to another root", code="chain.inclusion.root")


def _check_shape(leaf: bytes, branch: Sequence[bytes], index: int) -> None:
    if len(branch) > MAX_BRANCH:
        raise InclusionError("the branch is too long", numbers={"length": len(branch), "limit": MAX_BRANCH})
    if not 0 <= index < 1 << len(branch):
        raise InclusionError("the position is not in the tree", numbers={"index": index, "length": len(branch)})
    if any(len(node) != 32 for node in (leaf, *branch)):
        raise InclusionError("a node has 32 bytes", code="chain.inclusion.node")


def _is_transaction(pair: bytes) -> bool:
    try:
        Tx.parse(pair)
    except MalformedError:
        return False
    return True
