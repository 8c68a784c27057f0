"""The plain twin of the index kernel's Merkle trees over the transaction hashes of a block. Internal order."""

from __future__ import annotations

from twinlock.kernels.sha256d import sha256d

Buffer = bytes | bytearray | memoryview

GROUP_LEVEL = 3
"""A group is 1 << 3 leaves. Its own nodes are a few hashes' work, and seven eighths of the tree: they are not kept."""


def merkle_root(leaves: Buffer, /) -> bytes:
    """The root over at least one hash.

    Raises ValueError where two neighbours are equal on any level: a shorter list would give the same root
    (CVE-2012-2459).
    """
    level = [bytes(leaves[at : at + 32]) for at in range(0, len(leaves), 32)]
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=False))
        if any(left == right for left, right in pairs):
            raise ValueError("the hashes have no root of their own")
        pairs += [(level[-1], level[-1])] if len(level) % 2 else []
        level = [sha256d(left + right) for left, right in pairs]
    if not level:
        raise ValueError("the hashes have no root of their own")
    return level[0]


def _merkle_levels(leaves: Buffer) -> list[list[bytes]]:
    levels = [[bytes(leaves[at : at + 32]) for at in range(0, len(leaves), 32)]]
    while len(below := levels[-1]) > 1:
        pairs = [(below[n], below[min(n + 1, len(below) - 1)]) for n in range(0, len(below), 2)]
        levels.append([sha256d(left + right) for left, right in pairs])
    return levels


def merkle_tree(leaves: Buffer, /) -> bytes:
    """The levels of the tree above groups of leaves, 32 bytes a node; none where there is a single group."""
    if len(leaves) <= 32 << GROUP_LEVEL:
        return b""
    return b"".join(node for level in _merkle_levels(leaves)[GROUP_LEVEL:] for node in level)


def merkle_branch_json(tree: Buffer, leaves: Buffer, position: int, /) -> bytes:
    """The branch of a leaf as a JSON list, given what `merkle_tree` made of the leaves.

    Raises ValueError for another leaf or tree.
    """
    branch: list[bytes] = []
    levels, count, start = _merkle_levels(leaves), len(leaves) // 32, 0
    if not 0 <= position < count:
        raise ValueError("the tree has no such leaf")
    while count > 1:
        sibling = min(position ^ 1, count - 1)
        if len(branch) < GROUP_LEVEL:
            node = levels[len(branch)][sibling]
        elif start + 32 * count <= len(tree):
            node = bytes(tree[start + 32 * sibling : start + 32 * sibling + 32])
            start += 32 * count
        else:
            raise ValueError("the tree has no such leaf")
        branch.append(node)
        count, position = (count + 1) // 2, position // 2
    quoted = (f'"{node[::-1].hex()}"' for node in branch)
    return f"[{','.join(quoted)}]".encode()
