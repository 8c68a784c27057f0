"""SHA-256d over slices: the compiled kernel equal to its twin, and safe with any offsets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernels.twins import needs_compiled
from tests.vectors_for_tests import electrum_vectors

from twinlock.kernels.sha256d import sha256d, sha256d_many, sha256d_many_plain

Many = Callable[[bytes, Sequence[int]], bytes]

BOTH = pytest.mark.parametrize("many", [sha256d_many, sha256d_many_plain])


def test_the_hash_of_the_first_block() -> None:
    header = electrum_vectors("headers")["mainnet"]
    assert sha256d(bytes.fromhex(header["h0"]))[::-1].hex() == header["h0_hash"]


@st.composite
def sliced(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    data = draw(st.binary(max_size=600))
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))


@BOTH
@given(sliced())
def test_each_slice_is_hashed(many: Many, case: tuple[bytes, list[int]]) -> None:
    data, offsets = case
    digests = many(data, offsets)
    assert [digests[i : i + 32] for i in range(0, len(digests), 32)] == [
        sha256d(data[start:end]) for start, end in itertools.pairwise(offsets)
    ]


@pytest.mark.parametrize("size", range(130))
def test_every_padding(size: int) -> None:
    data = bytes(range(size))
    assert sha256d_many(data, [0, size]) == sha256d(data)


@BOTH
@pytest.mark.parametrize("offsets", [[1, 0], [0, 4], [-1, 2], [4], [0, 2, 1, 3], [2**64, 2**65], [-(2**70), 1]])
def test_offsets_outside_the_data_are_refused(many: Many, offsets: list[int]) -> None:
    with pytest.raises(ValueError, match=r"offsets must rise|cannot fit"):
        many(b"abc", offsets)


@needs_compiled
def test_offsets_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TypeError):
        sha256d_many(b"abc", [0, "1"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        sha256d_many(b"abc", 3)  # type: ignore[arg-type]
