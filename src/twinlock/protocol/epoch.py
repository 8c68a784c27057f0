"""Epochs: the clock of a market, and the proof that a closed one was shuffled honestly (protocol sections 6.1, 3.6).

>>> epoch_index(1562008475123, 8000)
195251059
>>> epoch_start(195251059, 8000), epoch_end(195251059, 8000)
(1562008472000, 1562008480000)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twinlock.errors import TwinlockError
from twinlock.protocol.orders import commit
from twinlock.protocol.shuffle import Queue, checksum, shuffle


class ProofError(TwinlockError):
    """A match proof that the epoch's own orders contradict. Evidence against the server: keep it."""

    code = "epoch.proof"
    fault = "server"


def epoch_index(now_ms: int, epoch_ms: int) -> int:
    """The epoch that contains a moment."""
    return now_ms // epoch_ms


def epoch_start(index: int, epoch_ms: int) -> int:
    """The first millisecond of an epoch."""
    return index * epoch_ms


def epoch_end(index: int, epoch_ms: int) -> int:
    """The first millisecond after an epoch; the `tserver` of its matches."""
    return (index + 1) * epoch_ms


def final_epoch(suspend_ms: int, epoch_ms: int) -> int:
    """The last epoch before a suspension; a time on a boundary belongs to the epoch before it."""
    return (suspend_ms - 1) // epoch_ms


def verify_proof(
    seen: Mapping[bytes, bytes], preimages: Iterable[bytes], misses: Iterable[bytes], csum: bytes, seed: bytes
) -> Queue:
    """Check a `match_proof` against the epoch's orders as a subscriber saw them.

    seen: order ID -> commitment of every `epoch_order` of that epoch. Returns the matching order.
    Raises `ProofError` naming what does not fit.
    """
    by_commitment = {commitment: order_id for order_id, commitment in seen.items()}
    missed = set(misses)
    revealed: dict[bytes, bytes] = {}
    for preimage in preimages:
        order_id = by_commitment.get(commit(preimage))
        if order_id is None or order_id in revealed or order_id in missed:
            raise ProofError("a preimage belongs to no order of the epoch", code="epoch.proof.preimage")
        revealed[order_id] = preimage
    unaccounted = set(seen) ^ (set(revealed) | missed)
    if unaccounted:
        raise ProofError(
            "orders of the epoch are neither revealed nor missed",
            code="epoch.proof.orders",
            numbers={"orders": len(seen), "revealed": len(revealed), "missed": len(missed)},
        )
    if checksum(seen.values()) != csum:
        raise ProofError("the checksum does not cover the epoch's commitments", code="epoch.proof.checksum")
    queue = shuffle(revealed)
    if queue.seed != seed:
        raise ProofError("the seed does not follow from the preimages", code="epoch.proof.seed")
    return queue
