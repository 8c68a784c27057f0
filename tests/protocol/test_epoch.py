"""Shuffles, checksums and proofs, by the vectors and against every way to cheat."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.support import raw, vector

from twinlock.protocol.epoch import ProofError, epoch_end, epoch_index, epoch_start, final_epoch, verify_proof
from twinlock.protocol.orders import commit
from twinlock.protocol.shuffle import Queue, checksum, seed_of, shuffle


@pytest.mark.parametrize("name", ["shuffle-1", "shuffle-2", "shuffle-3", "shuffle-12-derived"])
def test_shuffles(name: str) -> None:
    given_, expected = vector(name)
    queue = shuffle({raw(order["orderid"]): raw(order["preimage"]) for order in given_["queue"]})
    assert queue.seed.hex() == expected["seed"]
    assert [order_id.hex() for order_id in queue.order_ids] == expected["shuffled_orderids"]


@pytest.mark.parametrize("name", ["csum-2", "csum-3"])
def test_checksums(name: str) -> None:
    given_, expected = vector(name)
    assert checksum(raw(commitment) for commitment in given_["commitments"]).hex() == expected["csum"]


def test_an_empty_epoch_has_neither_checksum_nor_seed() -> None:
    assert checksum([]) == seed_of([]) == b""
    assert shuffle({}) == Queue(b"", [])


def test_epoch_times() -> None:
    given_, expected = vector("epoch-index")
    index = epoch_index(given_["time_ms"], given_["duration_ms"])
    assert index == expected["index"]
    assert epoch_start(index, given_["duration_ms"]) == expected["start"]
    assert epoch_end(index, given_["duration_ms"]) == expected["end"]


def test_a_suspension_on_a_boundary_ends_with_the_epoch_before() -> None:
    assert final_epoch(20_000, 10_000) == 1
    assert final_epoch(20_001, 10_000) == 2


def _epoch(count: int, missed: int) -> tuple[dict[bytes, bytes], dict[bytes, bytes], list[bytes]]:
    """(order ID -> commitment, revealed order ID -> preimage, missed order IDs)."""
    rng = Random(count * 100 + missed)
    preimages = {rng.randbytes(32): rng.randbytes(32) for _ in range(count)}
    misses = list(preimages)[:missed]
    seen = {order_id: commit(preimage) for order_id, preimage in preimages.items()}
    return seen, {key: value for key, value in preimages.items() if key not in misses}, misses


@given(st.integers(0, 12), st.integers(0, 3), st.randoms(use_true_random=False))
def test_an_honest_proof_holds_in_any_order(count: int, missed: int, rng: Random) -> None:
    seen, revealed, misses = _epoch(count, min(count, missed))
    queue = shuffle(revealed)
    preimages = list(revealed.values())
    rng.shuffle(preimages)
    assert verify_proof(seen, preimages, misses, checksum(seen.values()), queue.seed) == queue


def test_every_way_to_cheat_is_named() -> None:
    seen, revealed, misses = _epoch(5, 1)
    csum, seed = checksum(seen.values()), shuffle(revealed).seed
    preimages = list(revealed.values())

    def refusal(*proof: object) -> str:
        with pytest.raises(ProofError) as caught:
            verify_proof(seen, *proof)  # type: ignore[arg-type]
        return caught.value.code

    assert refusal([*preimages, bytes(32)], misses, csum, seed) == "epoch.proof.preimage"
    assert refusal([*preimages, preimages[0]], misses, csum, seed) == "epoch.proof.preimage"
    assert refusal(preimages[1:], misses, csum, seed) == "epoch.proof.orders"
    assert refusal(preimages, [*misses, bytes(32)], csum, seed) == "epoch.proof.orders"
    assert refusal(preimages, [], csum, seed) == "epoch.proof.orders"
    assert refusal(preimages, misses, checksum(list(seen.values())[1:]), seed) == "epoch.proof.checksum"
    assert refusal(preimages, misses, csum, bytes(32)) == "epoch.proof.seed"
