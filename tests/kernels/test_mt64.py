"""The generator: published outputs, the protocol's draws, and the compiled kernel equal to its twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernels.twins import needs_compiled
from tests.vectors_for_tests import dex_vector

from twinlock.kernels.mt64 import MT19937_64, MT19937_64Plain

BOTH = pytest.mark.parametrize("make", [MT19937_64, MT19937_64Plain])
Make = type[MT19937_64] | type[MT19937_64Plain]


@BOTH
def test_default_seed(make: Make) -> None:
    expected = dex_vector("mt19937-64-default")["expected"]
    outputs = _outputs(make(5489), 10_000)
    assert [str(value) for value in outputs[:3]] == expected["uint64_first"]
    assert str(outputs[-1]) == expected["uint64_10000th"]
    assert str(outputs[0] >> 1) == expected["int63_first"]
    assert make().u64() == outputs[0]


@BOTH
def test_seeding_by_array(make: Make) -> None:
    vector = dex_vector("mt19937-64-array-seed")
    generator = make(bytes.fromhex(vector["inputs"]["seed_bytes"]))
    assert [str(value) for value in _outputs(generator, 5)] == vector["expected"]["uint64_first5"]


@BOTH
def test_short_seeds_are_padded_on_the_right(make: Make) -> None:
    vector = dex_vector("mt19937-64-short-bytes")
    assert str(make(bytes.fromhex(vector["inputs"]["seed_bytes"])).u64()) == vector["expected"]["uint64_first"]


@BOTH
def test_draws(make: Make) -> None:
    vector = dex_vector("mt-intn-derived")
    generator = make(bytes.fromhex(vector["inputs"]["seed"]))
    assert [generator.intn(n) for n in vector["inputs"]["n"]] == vector["expected"]["intn"]


@BOTH
def test_a_shuffle_is_a_permutation_and_the_last_order_consumes_a_draw(make: Make) -> None:
    shuffled, drawn = make(bytes(32)), make(bytes(32))
    assert sorted(shuffled.shuffle(9)) == list(range(9))
    for n in range(9, 0, -1):
        drawn.intn(n)
    assert shuffled.u64() == drawn.u64()
    assert make(bytes(32)).shuffle(0) == []


@BOTH
@pytest.mark.parametrize("n", [0, -1, 1 << 31, 1 << 80, -(1 << 80)])
def test_draws_outside_the_range_are_refused(make: Make, n: int) -> None:
    with pytest.raises(ValueError, match="n must be in"):
        make().intn(n)
    if n:
        with pytest.raises(ValueError, match="n must be in"):
            make().shuffle(n)


@BOTH
@pytest.mark.parametrize("seed", [-1, 1 << 64, b""])
def test_seeds_that_are_none_are_refused(make: Make, seed: int | bytes) -> None:
    with pytest.raises(ValueError, match="seed"):
        make(seed)


@needs_compiled
@given(st.binary(min_size=1, max_size=64) | st.integers(0, 2**64 - 1), st.lists(st.integers(1, 2**31 - 1), max_size=9))
def test_compiled_equals_plain(seed: bytes | int, bounds: list[int]) -> None:
    fast, slow = MT19937_64(seed), MT19937_64Plain(seed)
    assert [fast.intn(n) for n in bounds] == [slow.intn(n) for n in bounds]
    assert [fast.int31() for _ in range(3)] == [slow.int31() for _ in range(3)]
    assert fast.shuffle(40) == slow.shuffle(40)


@needs_compiled
@pytest.mark.parametrize("size", [311 * 8, 312 * 8, 313 * 8 + 3])
def test_compiled_equals_plain_for_seeds_longer_than_the_state(size: int) -> None:
    seed = bytes(i & 0xFF for i in range(size))
    assert _outputs(MT19937_64(seed), 700) == _outputs(MT19937_64Plain(seed), 700)


def test_draws_that_would_be_unfair_are_drawn_again() -> None:
    # Of 2^31 values the last 2^30 - 2 would favour small results for this n: nearly half are redrawn.
    n = (1 << 30) + 1
    fair, raw = MT19937_64(7), MT19937_64(7)
    kept = [value for value in (raw.int31() for _ in range(400)) if value < n]
    assert [fair.intn(n) for _ in range(len(kept))] == kept


def _outputs(generator: MT19937_64 | MT19937_64Plain, count: int) -> list[int]:
    return [generator.u64() for _ in range(count)]
