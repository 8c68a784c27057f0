"""Keys follow from the seed alone, where every other BIP 84 wallet finds them too."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from embit import bip32 as embit_bip32
from embit import bip39 as embit_bip39
from embit import script as embit_script
from embit.networks import NETWORKS

from twinlock.chain.coins import coin
from twinlock.chain.errors import ChainError
from twinlock.chain.families import family_of
from twinlock.client.wallet import SwapPurpose, WalletKeys

BTC = coin("btc", "mainnet")
PHRASE = "legal winner thank year wave sausage worth useful legal winner thank yellow"
MATCH = sha256(b"match").digest()


@pytest.mark.parametrize(("branch", "index"), [(0, 0), (0, 19), (1, 0), (1, 7)])
@pytest.mark.parametrize("passphrase", ["", "two words"])
def test_addresses_are_those_of_another_wallet(branch: int, index: int, passphrase: str) -> None:
    keys = WalletKeys.from_phrase(BTC, PHRASE, passphrase)
    root: Any = embit_bip32.HDKey.from_seed(embit_bip39.mnemonic_to_seed(PHRASE, passphrase))
    expected = embit_script.p2wpkh(root.derive(f"m/84h/0h/0h/{branch}/{index}")).address(NETWORKS["main"])
    assert keys.address(branch, index) == expected
    assert family_of(BTC).address_of(keys.key((branch, index)).public) == expected


def test_a_litecoin_wallet_of_the_same_words_has_other_keys() -> None:
    ltc = coin("ltc", "mainnet")
    address = WalletKeys.from_phrase(ltc, PHRASE).address(0, 0)
    assert address.startswith("ltc1q")
    assert WalletKeys.from_phrase(ltc, PHRASE).key((0, 0)) != WalletKeys.from_phrase(BTC, PHRASE).key((0, 0))


def test_words_that_are_none_are_refused() -> None:
    with pytest.raises(ChainError):
        WalletKeys.from_phrase(BTC, PHRASE.replace("yellow", "zoo"))


def test_every_match_and_purpose_has_its_own_key_which_never_changes() -> None:
    keys = WalletKeys.from_seed(BTC, bytes(range(32)))
    again = WalletKeys.from_seed(BTC, bytes(range(32)))
    seen = set()
    for match_id in (MATCH, sha256(b"other").digest(), bytes(32), b"\xff" * 32):
        for purpose in SwapPurpose:
            key = keys.swap_key(match_id, purpose)
            assert key == again.swap_key(match_id, purpose)
            assert keys.swap_address(match_id, purpose) == family_of(BTC).address_of(key.public)
            seen.add(key.public)
    assert len(seen) == 8
    with pytest.raises(ChainError):
        keys.swap_key(MATCH[:31], SwapPurpose.REDEEM)


def test_a_matchs_key_is_where_it_has_always_been() -> None:
    """Money may lie there: this path never changes."""
    keys = WalletKeys.from_seed(BTC, bytes(range(32)))
    steps = [0x73776170, 0, 1, *(int.from_bytes(MATCH[i : i + 4], "little") % 2**31 for i in range(0, 32, 4))]
    root: Any = embit_bip32.HDKey.from_seed(bytes(range(32)))
    expected = root.derive([step + 2**31 for step in steps]).key.secret
    assert keys.swap_key(MATCH, SwapPurpose.REFUND).secret == expected


def test_no_secret_is_shown() -> None:
    keys = WalletKeys.from_seed(BTC, bytes(range(32)))
    assert repr(keys) == "WalletKeys(btc mainnet)"
