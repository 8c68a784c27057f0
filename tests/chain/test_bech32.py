"""Bech32 and bech32m against the BIPs' examples and embit."""

from __future__ import annotations

import pytest
from embit import bech32 as oracle
from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain import bech32
from twinlock.chain.errors import EncodingError

# BIP 173 and BIP 350: (address, script).
VALID = [
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "bc", 0, "751e76e8199196d454941c45d1b3a323f1433bd6"),
    (
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "tb",
        0,
        "1863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        "bc",
        1,
        "751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    ("BC1SW50QGDZ25J", "bc", 16, "751e"),
    ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "bc", 2, "751e76e8199196d454941c45d1b3a323"),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "bc",
        1,
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
]

# BIP 350 unless said otherwise.
INVALID = {
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut": "invalid prefix",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd": "bech32 instead of bech32m",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL": "bech32 instead of bech32m",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh": "bech32m instead of bech32",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4": "invalid character in checksum",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R": "invalid witness version",
    "bc1pw5dgrnzv": "program of 1 byte",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav": "program of 41 bytes",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P": "program size for version 0",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf": "more than 4 bits of padding",
    "bc1gmk9yu": "empty data",
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7kv8f3t4": "mixed case",
    "": "nothing",
    "1": "nothing but a separator",
    "bc1": "no data and no checksum",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t": "one character short",
    "b\u00e71qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4": "not ASCII",
    "bc1" + "q" * 100: "too long",
}


@pytest.mark.parametrize(("text", "hrp", "version", "program"), VALID)
def test_examples_of_the_bips(text: str, hrp: str, version: int, program: str) -> None:
    assert bech32.decode_segwit(hrp, text) == (version, bytes.fromhex(program))
    assert bech32.encode_segwit(hrp, version, bytes.fromhex(program)) == text.lower()


@pytest.mark.parametrize("text", INVALID, ids=INVALID.values())
def test_counterexamples_of_the_bips(text: str) -> None:
    with pytest.raises(EncodingError):
        bech32.decode_segwit("bc", text)


def programs() -> st.SearchStrategy[tuple[int, bytes]]:
    return st.one_of(
        st.tuples(st.just(0), st.binary(min_size=20, max_size=20) | st.binary(min_size=32, max_size=32)),
        st.tuples(st.integers(1, 16), st.binary(min_size=2, max_size=40)),
    )


@given(st.sampled_from(["bc", "tb", "bcrt", "ltc", "tltc", "rltc"]), programs())
def test_equal_to_embit_both_ways(hrp: str, case: tuple[int, bytes]) -> None:
    version, program = case
    text = bech32.encode_segwit(hrp, version, program)
    assert text == oracle.encode(hrp, version, program)
    assert bech32.decode_segwit(hrp, text) == (version, program)
    assert bech32.decode_segwit(hrp, text.upper()) == (version, program)


@given(programs(), st.data())
def test_up_to_four_wrong_characters_never_pass(case: tuple[int, bytes], data: st.DataObject) -> None:
    text = bech32.encode_segwit("bc", *case)
    places = data.draw(st.sets(st.integers(3, len(text) - 1), min_size=1, max_size=4))
    for at in places:
        other = data.draw(st.sampled_from([char for char in bech32.CHARSET if char != text[at]]))
        text = text[:at] + other + text[at + 1 :]
    with pytest.raises(EncodingError):
        bech32.decode_segwit("bc", text)


@given(st.text(max_size=100))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        hrp, values, _ = bech32.decode(text)
    except EncodingError:
        return
    assert text.lower().startswith(hrp + "1")
    assert all(value < 32 for value in values)


@pytest.mark.parametrize(("version", "size"), [(17, 20), (-1, 20), (0, 21), (1, 1), (1, 41)])
def test_programs_that_cannot_be_are_not_encoded(version: int, size: int) -> None:
    with pytest.raises(EncodingError):
        bech32.encode_segwit("bc", version, bytes(size))
