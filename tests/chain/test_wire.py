"""The bounded reader: it reads what is there, and refuses what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain.errors import MalformedError
from twinlock.chain.wire import Reader, compact, compact_len, var_bytes


@given(st.integers(0, 2**64 - 1))
def test_compact_sizes_round_trip(value: int) -> None:
    raw = compact(value)
    assert len(raw) == compact_len(value)
    assert Reader(raw).compact() == value


@pytest.mark.parametrize("value", [0, 0xFC, 0xFD, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x100000000, 2**64 - 1])
def test_compact_sizes_at_their_borders(value: int) -> None:
    assert Reader(compact(value)).compact() == value


@pytest.mark.parametrize(
    "raw", ["fd0000", "fdfc00", "fe00000000", "feffff0000", "ff0000000000000000", "ffffffffff00000000"]
)
def test_longer_forms_than_needed_are_refused(raw: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Reader(bytes.fromhex(raw)).compact()
    assert caught.value.code == "chain.malformed.compact_size"


@pytest.mark.parametrize("raw", ["", "fd", "fdff", "feffffff", "ffffffffffffffff"])
def test_truncated_numbers_are_refused(raw: str) -> None:
    with pytest.raises(MalformedError):
        Reader(bytes.fromhex(raw)).compact()


def test_counts_and_lengths_beyond_the_data_are_refused_before_anything_is_read() -> None:
    with pytest.raises(MalformedError):
        Reader(compact(2**64 - 1)).count(1)
    with pytest.raises(MalformedError):
        Reader(compact(2**40) + bytes(100)).var_bytes()
    with pytest.raises(MalformedError):
        Reader(compact(3) + bytes(8)).count(3)
    assert Reader(compact(3) + bytes(9)).count(3) == 3


@given(st.binary(max_size=300))
def test_var_bytes_round_trip_and_leave_nothing(data: bytes) -> None:
    reader = Reader(var_bytes(data))
    assert reader.var_bytes() == data
    reader.done()
    with pytest.raises(MalformedError):
        Reader(var_bytes(data)).done()
