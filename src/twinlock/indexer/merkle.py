"""Merkle branches over transactions of a block and over the headers of the chain.

Hashes are in internal order; an odd last node of a level pairs with itself (Electrum protocol, "Merkle proof").
"""

from __future__ import annotations

from collections.abc import Sequence

from twinlock.kernels.scan import sha256d


def branch_and_root(leaves: Sequence[bytes], position: int) -> tuple[list[bytes], bytes]:
    """The siblings from leaf to root, and the root.

    >>> branch, root = branch_and_root([bytes([n]) * 32 for n in range(3)], 2)
    >>> branch[0] == bytes([2]) * 32, len(branch)
    (True, 2)
    """
    branch, level = [], list(leaves)
    while len(level) > 1:
        if len(level) & 1:
            level.append(level[-1])
        branch.append(level[position ^ 1])
        position >>= 1
        level = [sha256d(level[n] + level[n + 1]) for n in range(0, len(level), 2)]
    return branch, level[0]


class HeaderTree:
    """The Merkle tree over the block hashes of a growing chain, every full level kept: 64 bytes a block.

    A proof then costs one pass over the right edge, as only the last node of a level depends on where the
    tree is cut.
    """

    def __init__(self) -> None:
        self._levels = [bytearray()]

    def __len__(self) -> int:
        return len(self._levels[0]) // 32

    def append(self, block_hash: bytes) -> None:
        """Add the next block's hash."""
        node, level = block_hash, 0
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            row = self._levels[level]
            row += node
            if len(row) & 32:
                return
            node = sha256d(bytes(row[-64:]))
            level += 1

    def cut(self, length: int) -> None:
        """Forget all hashes from index `length` on."""
        for level, row in enumerate(self._levels):
            del row[32 * (length >> level) :]

    def _node(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][32 * index : 32 * index + 32])

    def branch_and_root(self, position: int, length: int) -> tuple[list[bytes], bytes]:
        """The proof of the hash at `position` in the tree over the first `length` hashes."""
        branch: list[bytes] = []
        edge: bytes | None = None  # the level's last node where it is not a full one
        for level in range(len(self._levels)):
            full = length >> level
            last = full if edge is not None else full - 1
            if last == 0:
                break
            left = self._node(level, full - 1) if full else b""
            sibling = min((position >> level) ^ 1, last)
            branch.append(self._node(level, sibling) if sibling < full else edge or b"")
            if edge is not None:
                edge = sha256d(left + edge if last & 1 else edge + edge)
            elif not last & 1:
                edge = sha256d(left + left)
        return branch, edge if edge is not None else self._node(length.bit_length() - 1, 0)
