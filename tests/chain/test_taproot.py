"""Taproot against the published vectors of BIP 340 and BIP 341, and embit."""

from __future__ import annotations

import csv
import io

import pytest
from embit import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import FIXTURES, fixture

from twinlock.chain import taproot
from twinlock.chain.address import address_to_script, script_to_address
from twinlock.chain.bip32 import HDKey
from twinlock.chain.bip39 import to_seed
from twinlock.chain.coins import coin
from twinlock.chain.errors import KeyFormatError, ScriptError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.tx import Tx, TxIn, TxOut

secrets = st.integers(1, 1 << 250).map(lambda number: PrivateKey(number.to_bytes(32, "big")))


def test_published_signatures() -> None:
    file = FIXTURES / "vectors" / "bips" / "bip340-schnorr.csv"
    if not file.exists():
        pytest.skip(f"no {file}")
    rows = [row for row in csv.DictReader(io.StringIO(file.read_text())) if len(row["message"]) == 64]
    assert len(rows) >= 15
    for row in rows:
        public, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
        assert taproot.verify_schnorr(public, message, signature) == (row["verification result"] == "TRUE"), row
        if row["secret key"]:
            key = PrivateKey(bytes.fromhex(row["secret key"]))
            assert key.public[1:] == public
            assert taproot.sign_schnorr(key, message, bytes.fromhex(row["aux_rand"])) == signature


def test_published_outputs() -> None:
    for row in fixture("vectors/bips/bip341-wallet.json")["scriptPubKey"]:
        given, between, expected = row["given"], row["intermediary"], row["expected"]
        internal = bytes.fromhex(given["internalPubkey"])
        root = bytes.fromhex(between["merkleRoot"] or "")
        assert taproot.tweak(internal, root).hex() == between["tweak"]
        assert taproot.output_key(internal, root).hex() == between["tweakedPubkey"]
        script = bytes.fromhex(expected["scriptPubKey"])
        assert script_to_address(coin("btc", "mainnet"), script) == expected["bip350Address"]
        if not root:
            assert taproot.output_script(internal) == script


def test_published_digests_and_signatures() -> None:
    (row,) = fixture("vectors/bips/bip341-wallet.json")["keyPathSpending"]
    tx = Tx.parse(bytes.fromhex(row["given"]["rawUnsignedTx"]))
    spent = [TxOut(out["amountSats"], bytes.fromhex(out["scriptPubKey"])) for out in row["given"]["utxosSpent"]]
    for each in row["inputSpending"]:
        given, expected = each["given"], each["intermediary"]
        digest = taproot.digest(tx, given["txinIndex"], spent, given["hashType"])
        assert digest.hex() == expected["sigHash"]
        key = taproot.tweaked(
            PrivateKey(bytes.fromhex(given["internalPrivkey"])), bytes.fromhex(given["merkleRoot"] or "")
        )
        assert key.secret.hex() == expected["tweakedPrivkey"]
        signature = bytes.fromhex(each["expected"]["witness"][0])
        assert taproot.sign_schnorr(key, digest) == signature[:64]


def test_the_first_address_of_bip_86() -> None:
    root = HDKey.from_seed(to_seed("abandon " * 11 + "about"))
    script = taproot.output_script(root.derive("m/86'/0'/0'/0/0").public)
    address = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    assert script_to_address(coin("btc", "mainnet"), script) == address
    assert address_to_script(coin("btc", "mainnet"), address) == script


@given(secrets, st.binary(min_size=32, max_size=32))
def test_equal_to_embit(key: PrivateKey, digest: bytes) -> None:
    oracle = ec.PrivateKey(key.secret).taproot_tweak(b"")
    own = taproot.tweaked(key)
    assert own.public[1:] == oracle.get_public_key().xonly() == taproot.output_key(key.public)
    signature = taproot.sign_schnorr(own, digest)
    assert oracle.get_public_key().schnorr_verify(ec.SchnorrSig.parse(signature), digest)
    assert taproot.verify_schnorr(own.public[1:], digest, signature)
    changed = bytes((signature[0] ^ 1,)) + signature[1:]
    assert not taproot.verify_schnorr(own.public[1:], digest, changed)


def test_what_cannot_be_signed_is_refused() -> None:
    tx = Tx(2, (TxIn(bytes(32), 0), TxIn(bytes(32), 1)), (TxOut(1, b"\x51"),))
    spent = [TxOut(5, b"\x51")] * 2
    for index, outputs, hash_type in ((2, spent, 0), (0, spent[:1], 0), (0, spent, 4), (1, spent, 3)):
        with pytest.raises(ScriptError):
            taproot.digest(tx, index, outputs, hash_type)
    with pytest.raises(KeyFormatError):
        taproot.output_key(b"\xff" * 32)
    assert not taproot.verify_schnorr(bytes(31), bytes(32), bytes(64))
