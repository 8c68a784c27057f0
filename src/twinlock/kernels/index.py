"""The index kernel: builds the sections of a segment, and answers wallets from a tuple of segments.

The compiled kernel where it could be built, else its plain twin; `segment_plain` says what the sections are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinlock.kernels import index_plain
from twinlock.kernels.index_plain import names
from twinlock.kernels.segment_plain import (
    BLOCK,
    COIN,
    HISTORY_ROW,
    LOOKUP,
    OUTPOINT,
    PARTS,
    POINT,
    SCRIPT,
    UNSPENT_ROW,
    Buffer,
    Sections,
)

if TYPE_CHECKING:
    from twinlock.kernels import index_plain as kernel
else:
    try:
        from twinlock.kernels import _index as kernel
    except ImportError:
        from twinlock.kernels import index_plain as kernel


def compiled() -> bool:
    """Whether the compiled kernel is in use, rather than the slower plain twin."""
    return kernel is not index_plain


Builder = kernel.Builder
Segment = kernel.Segment
balance = kernel.balance
connect = kernel.connect
find = kernel.find
history = kernel.history
history_json = kernel.history_json
history_size = kernel.history_size
lookup = kernel.lookup
merge = kernel.merge
merge_lookup = kernel.merge_lookup
merge_part = kernel.merge_part
merkle_branch_json = kernel.merkle_branch_json
merkle_root = kernel.merkle_root
merkle_tree = kernel.merkle_tree
output = kernel.output
sort_lookup = kernel.sort_lookup
sort_outpoints = kernel.sort_outpoints
status = kernel.status
unspent = kernel.unspent
unspent_json = kernel.unspent_json

__all__ = [
    "BLOCK",
    "COIN",
    "HISTORY_ROW",
    "LOOKUP",
    "OUTPOINT",
    "PARTS",
    "POINT",
    "SCRIPT",
    "UNSPENT_ROW",
    "Buffer",
    "Builder",
    "Sections",
    "Segment",
    "balance",
    "compiled",
    "connect",
    "find",
    "history",
    "history_json",
    "history_size",
    "kernel",
    "lookup",
    "merge",
    "merge_lookup",
    "merge_part",
    "merkle_branch_json",
    "merkle_root",
    "merkle_tree",
    "names",
    "output",
    "sort_lookup",
    "sort_outpoints",
    "status",
    "unspent",
    "unspent_json",
]
