"""Base58 and base58check against published strings and embit."""

from __future__ import annotations

import pytest
from embit import base58 as oracle
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector, fixture

from twinlock.chain import base58
from twinlock.chain.errors import EncodingError
from twinlock.kernels.blake256 import blake256


def test_published_strings() -> None:
    for raw, text in fixture("vectors/bitcoin/base58_encode_decode.json"):
        if len(text) > base58.MAX_LENGTH:
            continue
        assert base58.encode(bytes.fromhex(raw)) == text
        assert base58.decode(text).hex() == raw


@given(st.binary(max_size=80))
def test_equal_to_embit_both_ways(data: bytes) -> None:
    assert base58.encode(data) == oracle.encode(data)
    assert base58.decode(base58.encode(data)) == data
    assert base58.encode_check(data) == oracle.encode_check(data)
    assert base58.decode_check(base58.encode_check(data)) == data


def test_addresses_of_a_family_with_another_checksum() -> None:
    def checksum(data: bytes) -> bytes:
        return blake256(blake256(data))

    for row in dex_vector("dcr-address-decode")["expected"]["decoded"]:
        payload = base58.decode_check(row["address"], checksum)
        assert payload.hex() == row["prefix"] + row["hash160"]
        assert base58.encode_check(payload, checksum) == row["address"]
        with pytest.raises(EncodingError):
            base58.decode_check(row["address"])


@pytest.mark.parametrize("text", ["0", "O", "I", "l", " 1", "1 ", "é", "1\n", "1" * 129, "", "1", "111", "2g2g2g2g2g"])
def test_what_is_not_base58check_is_refused(text: str) -> None:
    with pytest.raises(EncodingError):
        base58.decode_check(text)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_one_wrong_character_never_passes(payload: bytes, data: st.DataObject) -> None:
    text = base58.encode_check(payload)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([char for char in base58.ALPHABET if char != text[at]]))
    with pytest.raises(EncodingError):
        base58.decode_check(text[:at] + other + text[at + 1 :])
