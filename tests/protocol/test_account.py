"""Accounts, seeds and words by the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.support import raw, vector

from twinlock.chain.words import WORDS
from twinlock.protocol.account import account_id, account_key, account_path, bond_key, wallet_password, wallet_seed
from twinlock.protocol.mnemonic import MnemonicError, Seed, from_words, to_words


def test_account_id() -> None:
    given_, expected = vector("account-id")
    assert account_id(raw(given_["pubkey"])).hex() == expected["accountid"]


@pytest.mark.parametrize("name", ["account-key-0", "account-key-1"])
def test_account_keys(name: str) -> None:
    given_, expected = vector(name)
    server_key = raw(given_["server_pubkey"])
    assert account_path(server_key, given_["key_index"]) == [int(step, 16) for step in given_["path"]]
    key = account_key(raw(given_["appseed"]), server_key, given_["key_index"])
    assert key.secret.hex() == expected["privkey"]
    assert key.public.hex() == expected["pubkey"]
    assert account_id(key.public).hex() == expected["accountid"]


@pytest.mark.parametrize("name", ["bond-btc", "bond-dcr"])
def test_bond_keys(name: str) -> None:
    given_, expected = vector(name)
    key = bond_key(raw(given_["appseed"]), given_["assetid"], given_["bond_index"])
    assert key.secret.hex() == expected["privkey"]
    assert key.public.hex() == expected["pubkey"]


@pytest.mark.parametrize("name", ["asset-wallet-seed-1", "asset-wallet-seed-2", "asset-wallet-seed-3"])
def test_wallet_seeds(name: str) -> None:
    given_, expected = vector(name)
    seed = wallet_seed(raw(given_["appseed"]), given_["assetid"])
    assert seed.hex() == expected["seed"]
    assert wallet_password(seed).hex() == expected["pass"]


def test_the_evm_wallets_seed() -> None:
    given_, expected = vector("evm-wallet-key")
    assert wallet_seed(raw(given_["appseed"]), given_["assetid"]).hex() == expected["wallet_seed"]


def test_words() -> None:
    given_, expected = vector("mnemonic-15")
    seed = Seed(raw(given_["entropy"]), given_["days"])
    assert to_words(seed) == expected["words"]
    assert from_words(expected["words"]) == seed
    assert from_words(f"  {expected['words'].upper()}\n") == seed


@given(st.binary(min_size=18, max_size=18), st.integers(0, 2**16 - 1))
def test_words_hold_seed_and_birthday(entropy: bytes, birthday: int) -> None:
    assert from_words(to_words(Seed(entropy, birthday))) == Seed(entropy, birthday)


def test_the_legacy_form() -> None:
    assert from_words("0a" * 64) == Seed(b"\x0a" * 64, 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "seed.words"),
        ("abandon " * 14, "seed.words"),
        ("abandon " * 14 + "notaword", "seed.word"),
        ("abandon " * 14 + "zoo", "seed.checksum"),
        ("zz" * 64, "seed.hex"),
    ],
)
def test_words_that_are_no_seed(text: str, code: str) -> None:
    with pytest.raises(MnemonicError) as caught:
        from_words(text)
    assert caught.value.code == code
    assert "notaword" not in str(caught.value), "a word of a seed must not be repeated"


def test_one_wrong_word_is_usually_noticed() -> None:
    _, expected = vector("mnemonic-15")
    words = expected["words"].split()
    accepted = 0
    for word in WORDS:
        try:
            from_words(" ".join([word, *words[1:]]))
            accepted += 1
        except MnemonicError:
            pass
    assert accepted < len(WORDS) // 20
