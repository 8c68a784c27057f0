"""Mnemonics against the published list, embit and the protocol's own seeds."""

from __future__ import annotations

import pytest
from embit import bip39 as oracle
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector, fixture

from twinlock.chain import bip39
from twinlock.chain.bip32 import HDKey
from twinlock.chain.coins import coin
from twinlock.chain.errors import KeyFormatError
from twinlock.chain.words import WORDS


def test_the_list() -> None:
    assert len(set(WORDS)) == 2048
    assert list(WORDS) == sorted(WORDS)
    assert len({word[:4] for word in WORDS}) == 2048


def test_published_phrases() -> None:
    rows = fixture("vectors/bips/bip39-mnemonic.json")["english"]
    assert len(rows) >= 24
    for entropy, phrase, seed, root in rows:
        assert bip39.to_words(bytes.fromhex(entropy)) == phrase
        assert bip39.to_entropy(phrase).hex() == entropy
        assert bip39.to_seed(phrase, "TREZOR").hex() == seed
        assert HDKey.from_seed(bytes.fromhex(seed)).text(coin("btc", "mainnet")) == root


def test_two_spellings_of_one_passphrase_stretch_to_one_seed() -> None:
    assert bip39.to_seed("x", "\u00e9") == bip39.to_seed("x", "e\u0301")


def test_the_protocols_seed_is_a_phrase_of_twenty_bytes() -> None:
    vector = dex_vector("mnemonic-15")
    entropy = bytes.fromhex(vector["inputs"]["entropy"]) + vector["inputs"]["days"].to_bytes(2, "big")
    assert bip39.to_words(entropy) == vector["expected"]["words"]
    assert bip39.to_entropy(vector["expected"]["words"]) == entropy


entropies = st.sampled_from(bip39.SIZES).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@given(entropies)
def test_equal_to_embit_both_ways(entropy: bytes) -> None:
    phrase = bip39.to_words(entropy)
    assert phrase == oracle.mnemonic_from_bytes(entropy)
    assert bip39.to_entropy(phrase) == entropy
    assert bip39.to_entropy("  " + phrase.replace(" ", "\n ")) == entropy


@pytest.mark.parametrize(
    "phrase",
    [
        "",
        "abandon",
        "abandon " * 11 + "abandon",
        "abandon " * 11 + "About",
        "abandon " * 11 + "xyzzy",
        "abandon " * 10 + "about",
        "abandon " * 12 + "about",
        "about " + "abandon " * 11,
        "zoo " * 300,
    ],
)
def test_phrases_that_are_none(phrase: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        bip39.to_entropy(phrase)
    assert "abandon" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 15, 17, 33])
def test_entropy_of_the_wrong_size(size: int) -> None:
    with pytest.raises(KeyFormatError):
        bip39.to_words(bytes(size))
