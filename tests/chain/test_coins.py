"""The rows of coins agree with published facts, and plug-ins join them."""

from __future__ import annotations

import pytest
from tests.vectors_for_tests import electrum_vectors

from twinlock.chain.address import script_to_address
from twinlock.chain.coins import COINS, Coin, Network, coin, coin_by_id
from twinlock.chain.errors import UnknownAssetError
from twinlock.chain.script import p2pkh, p2sh


def test_each_row_is_found_under_its_own_name_and_number() -> None:
    assert {row.symbol for row in COINS.values()} == {"btc", "ltc", "doge"}
    for (symbol, network), row in COINS.items():
        assert coin(symbol, network) is coin(symbol, str(network)) is row
        assert coin_by_id(row.asset_id, network) is row
        assert (row.symbol, row.network) == (symbol, network)
    for symbol in ("btc", "ltc", "doge"):
        for network in (Network.MAINNET, Network.TESTNET, Network.REGTEST):
            assert (symbol, network) in COINS


def test_rows_that_must_differ_do() -> None:
    assert len({row.genesis_hash for row in COINS.values()}) == len(COINS)
    assert len({(row.symbol, row.node_rpc_port) for row in COINS.values()}) == len(COINS)
    assert coin("ltc", "mainnet").asset_version == 1
    assert coin("btc", "mainnet").asset_version == 0
    assert coin("btc", "testnet").bip44_coin_type == coin("ltc", "regtest").bip44_coin_type == 1


def test_genesis_hashes() -> None:
    assert coin("btc", "mainnet").genesis_hash == electrum_vectors("headers")["mainnet"]["h0_hash"]
    for row in COINS.values():
        assert len(bytes.fromhex(row.genesis_hash)) == 32
        assert len(row.p2p_magic) == 4


def test_what_addresses_begin_with() -> None:
    starts = {
        ("btc", "mainnet"): ("1", "3"),
        ("btc", "testnet"): ("mn", "2"),
        ("ltc", "mainnet"): ("L", "M"),
        ("ltc", "regtest"): ("mn", "Q"),
        ("doge", "mainnet"): ("D", "9A"),
        ("doge", "testnet"): ("n", "2"),
    }
    for key, (key_start, script_start) in starts.items():
        assert (script_to_address(coin(*key), p2pkh(bytes(range(20)))) or "")[0] in key_start
        assert (script_to_address(coin(*key), p2sh(bytes(range(20)))) or "")[0] in script_start


@pytest.mark.parametrize(("symbol", "network"), [("xyz", "mainnet"), ("btc", "moonnet"), ("ltc", "signet"), ("", "")])
def test_unknown_coins(symbol: str, network: str) -> None:
    with pytest.raises(UnknownAssetError) as caught:
        coin(symbol, network)
    assert caught.value.code == "chain.unknown_asset"
    with pytest.raises(UnknownAssetError):
        coin_by_id(4_000_000, network)


def test_rows_cannot_be_changed() -> None:
    row = coin("btc", "mainnet")
    with pytest.raises(AttributeError):
        row.hrp = "ltc"  # type: ignore[misc]
    with pytest.raises(TypeError):
        COINS["btc", Network.MAINNET] = row  # type: ignore[index]
    assert isinstance(row, Coin)
