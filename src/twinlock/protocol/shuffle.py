"""The order in which an epoch's revealed orders are matched: unpredictable to everyone, repeatable by anyone.

Each trader commits to a preimage before the epoch closes; all revealed preimages together seed the generator
(protocol section 6.5). No side can steer the result without knowing every other preimage in advance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from twinlock.kernels.blake256 import blake256
from twinlock.kernels.mt64 import MT19937_64


class Queue(NamedTuple):
    """A shuffled epoch: the 32-byte seed (b"" when nothing was revealed) and the order IDs in matching order."""

    seed: bytes
    order_ids: list[bytes]


def checksum(commitments: Iterable[bytes]) -> bytes:
    """The hash over all commitments of an epoch, misses included, sorted bytewise; b"" for an empty epoch."""
    joined = b"".join(sorted(commitments))
    return blake256(joined) if joined else b""


def seed_of(preimages: Sequence[bytes]) -> bytes:
    """The seed from the revealed preimages in the order of their order IDs; b"" when there are none."""
    return blake256(b"".join(preimages)) if preimages else b""


def shuffle(revealed: Mapping[bytes, bytes]) -> Queue:
    """The matching order of the revealed orders, given as order ID -> preimage (32 bytes each)."""
    order_ids = sorted(revealed)
    seed = seed_of([revealed[order_id] for order_id in order_ids])
    if not seed:
        return Queue(b"", [])
    drawn = MT19937_64(seed).shuffle(len(order_ids))
    return Queue(seed, [order_ids[index] for index in drawn])
