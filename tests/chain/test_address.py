"""Addresses and scripts of every coin and network, against Litecoin Core's list and embit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from embit import networks
from embit import script as oracle
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector, electrum_vectors, fixture

from twinlock.chain import script
from twinlock.chain.address import address_to_script, script_to_address
from twinlock.chain.coins import COINS, coin
from twinlock.chain.contract import SwapContract
from twinlock.chain.errors import AddressError

NETWORK_OF_CORE = {"main": "mainnet", "test": "testnet", "regtest": "regtest"}


@pytest.mark.parametrize("row", electrum_vectors("scripthash"), ids=lambda row: row["scripthash"][:8])
def test_scripthashes(row: dict[str, str]) -> None:
    output = bytes.fromhex(row["script"])
    assert script.scripthash(output) == row["scripthash"]
    if row["address"]:
        network = "regtest" if row["address"].startswith("bcrt") else "mainnet"
        assert script_to_address(coin("btc", network), output) == row["address"]
        assert address_to_script(coin("btc", network), row["address"]) == output


def test_litecoin_cores_addresses() -> None:
    rows = [row for row in fixture("vectors/litecoin/key_io_valid.json") if not row[2]["isPrivkey"]]
    assert len(rows) > 20
    for text, output, about in rows:
        ltc = coin("ltc", NETWORK_OF_CORE[about["chain"]])
        # That release still wrote version 1 programs in bech32, before BIP 350.
        if output.startswith("51"):
            continue
        assert address_to_script(ltc, text).hex() == output, text
        assert script_to_address(ltc, bytes.fromhex(output)) == text
        if about.get("tryCaseFlip"):
            assert address_to_script(ltc, text.swapcase()).hex() == output


def test_taproot_addresses_of_bip341() -> None:
    for row in fixture("vectors/bips/bip341-wallet.json")["scriptPubKey"]:
        output = bytes.fromhex(row["expected"]["scriptPubKey"])
        assert script.kind(output) == script.Kind.P2TR
        assert script_to_address(coin("btc", "mainnet"), output) == row["expected"]["bip350Address"]
        assert address_to_script(coin("btc", "mainnet"), row["expected"]["bip350Address"]) == output


def test_litecoin_cores_invalid_addresses() -> None:
    for (text,) in fixture("vectors/litecoin/key_io_invalid.json"):
        for row in COINS.values():
            if row.symbol == "ltc":
                with pytest.raises(AddressError):
                    address_to_script(row, text)


ORACLE_NETWORKS = {("btc", "mainnet"): "main", ("btc", "testnet"): "test", ("btc", "regtest"): "regtest"}


@given(st.sampled_from(list(ORACLE_NETWORKS)), st.binary(min_size=32, max_size=32))
def test_equal_to_embit(key: tuple[str, str], body: bytes) -> None:
    row, network = coin(*key), networks.NETWORKS[ORACLE_NETWORKS[key]]
    outputs = [
        script.p2pkh(body[:20]),
        script.p2sh(body[:20]),
        script.p2wpkh(body[:20]),
        b"\x00\x20" + body,
        b"\x51\x20" + body,
    ]
    for output in outputs:
        address = script_to_address(row, output)
        assert address == oracle.Script(output).address(network)
        assert address is not None
        assert address_to_script(row, address) == output


def test_an_address_of_another_network_or_coin_is_refused() -> None:
    by_prefix: dict[str, str] = {}
    for row in COINS.values():
        if row.segwit:
            address = script_to_address(row, script.p2wpkh(bytes(20)))
            assert address is not None
            by_prefix[row.hrp] = address
    for hrp, address in by_prefix.items():
        for row in COINS.values():
            if row.hrp != hrp:
                with pytest.raises(AddressError):
                    address_to_script(row, address)


def test_a_coin_without_bech32_still_reads_base58() -> None:
    plain = replace(coin("btc", "mainnet"), hrp="", segwit=False)
    output = script.p2pkh(bytes(range(20)))
    address = script_to_address(plain, output)
    assert address is not None and address.startswith("1")
    assert address_to_script(plain, address) == output
    assert script_to_address(plain, script.p2wpkh(bytes(20))) is None


def test_old_litecoin_script_addresses_are_read_but_not_written() -> None:
    ltc, btc = coin("ltc", "mainnet"), coin("btc", "mainnet")
    output = script.p2sh(bytes(range(20)))
    old, new = script_to_address(btc, output), script_to_address(ltc, output)
    assert old is not None and new is not None and old.startswith("3") and new.startswith("M")
    assert address_to_script(ltc, old) == address_to_script(ltc, new) == output


def test_the_contract_address_of_a_swap_on_testnet() -> None:
    vector = dex_vector("btc-contract-p2wsh")
    contract = bytes.fromhex(vector["expected"]["contract"])
    assert SwapContract.parse(contract).serialize() == contract
    output = script.p2wsh(contract)
    assert output[2:].hex() == vector["expected"]["p2wsh_program"]
    assert script_to_address(coin("btc", "testnet"), output) == vector["expected"]["address_testnet"]


@given(st.text(max_size=120) | st.text("qpzry9x8gf2tvdw0s3jn54khce6mua7l1bcrt", max_size=95))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for symbol in ("btc", "ltc"):
        row = coin(symbol, "regtest")
        try:
            output = address_to_script(row, text)
        except AddressError:
            continue
        assert address_to_script(row, script_to_address(row, output) or "") == output


@pytest.mark.parametrize("output", ["", "6a", "51", "0014" + "00" * 19, "ac", "76a914" + "00" * 20 + "88", "0121"])
def test_scripts_without_an_address(output: str) -> None:
    assert script_to_address(coin("btc", "mainnet"), bytes.fromhex(output)) is None
