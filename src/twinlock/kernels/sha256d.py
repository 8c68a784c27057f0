"""SHA-256 twice: transaction IDs, block hashes, Merkle nodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from hashlib import sha256

__all__ = ["sha256d", "sha256d_many", "sha256d_many_plain"]


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256; 32 bytes in internal order."""
    return sha256(sha256(data).digest()).digest()


def sha256d_many_plain(data: bytes, offsets: Sequence[int]) -> bytes:
    """sha256d of each slice ``data[offsets[i]:offsets[i + 1]]``, concatenated, 32 bytes each.

    Raises ValueError where offsets decrease or leave the data.
    """
    bounds = [0, *offsets, len(data)]
    if any(end < start for start, end in itertools.pairwise(bounds)):
        raise ValueError("offsets must rise within the data")
    return b"".join(sha256d(data[start:end]) for start, end in itertools.pairwise(offsets))


try:
    from twinlock.kernels._hashes import sha256d_many
except ImportError:
    sha256d_many = sha256d_many_plain
