"""The dex wallet names the addresses that BIP 84 publishes, from a public key alone."""

from __future__ import annotations

import pytest

from twinlock.chain.bip32 import HDKey, bip84_account
from twinlock.chain.bip39 import to_seed
from twinlock.chain.coins import coin
from twinlock.server.errors import ConfigError
from twinlock.server.wallet import DexWallet

BTC = coin("btc", "mainnet")
ACCOUNT = HDKey.from_seed(to_seed("abandon " * 11 + "about")).derive(bip84_account(BTC))
PUBLIC = ACCOUNT.neuter().text(BTC)
PUBLISHED = ("bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g")


def test_its_addresses_are_those_of_bip_84() -> None:
    wallet = DexWallet(BTC, PUBLIC)
    assert tuple(wallet.address(index) for index in range(2)) == PUBLISHED


@pytest.mark.parametrize("text", ["", "xpub", PUBLIC[:-1], ACCOUNT.text(BTC)], ids=["none", "word", "cut", "private"])
def test_anything_but_a_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        DexWallet(BTC, text)


def test_a_key_of_another_network_is_refused() -> None:
    with pytest.raises(ConfigError):
        DexWallet(coin("btc", "regtest"), PUBLIC)
