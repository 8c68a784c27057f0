"""Transactions: every published one round-trips, sizes agree, and hostile bytes are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from embit.transaction import Transaction
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector, electrum_vectors, fixture

from twinlock.chain.errors import MalformedError
from twinlock.chain.tx import FINAL, Tx, TxIn, TxOut


@pytest.mark.parametrize("row", electrum_vectors("transactions")["txs"], ids=lambda row: row["txid"][:8])
def test_transactions_of_the_electrum_vectors(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["raw"])
    tx = Tx.parse(raw)
    assert tx.serialize() == raw
    assert (tx.txid, tx.wtxid) == (row["txid"], row["wtxid"])
    assert (len(raw), tx.weight, tx.vsize) == (row["size"], row["weight"], row["vsize"])
    assert [[txin.point.txid, txin.point.index] for txin in tx.inputs] == row["inputs"]
    assert [[out.value, out.script.hex()] for out in tx.outputs] == [output[:2] for output in row["outputs"]]


@pytest.mark.parametrize("name", ["btc-segwit-tx-size", "btc-p2sh-redeem-tx"])
def test_sizes_of_the_protocols_vectors(name: str) -> None:
    vector = dex_vector(name)
    raw = bytes.fromhex(vector["inputs"]["tx"])
    assert (len(raw), Tx.parse(raw).vsize) == (vector["expected"]["size"], vector["expected"]["vsize"])


@pytest.mark.parametrize(
    "name", ["testnet_001_mixed_nonsegwit_segwit_inputs", "testnet_002_presegwit", "regtest_001_p2wpkh"]
)
def test_transactions_as_a_node_decodes_them(name: str) -> None:
    about = fixture(f"transactions/bitcoin_{name}.json")
    tx = Tx.parse(bytes.fromhex(about["hex"]))
    assert tx.serialize().hex() == about["hex"]
    assert (tx.txid, tx.wtxid, tx.version) == (about["txid"], about["hash"], about["version"])
    assert (tx.vsize, tx.weight, tx.lock_time) == (about["vsize"], about["weight"], about["locktime"])
    for txin, expected in zip(tx.inputs, about["vin"], strict=True):
        assert (txin.point.txid, txin.prev_index) == (expected["txid"], expected["vout"])
        assert txin.script.hex() == expected["scriptSig"]["hex"]
        assert [item.hex() for item in txin.witness] == expected.get("txinwitness", [])
        assert txin.sequence == expected["sequence"]
    assert [out.script.hex() for out in tx.outputs] == [out["scriptPubKey"]["hex"] for out in about["vout"]]


@pytest.mark.parametrize("name", ["tx_valid", "tx_invalid"])
def test_bitcoin_cores_transactions_round_trip(name: str) -> None:
    rows = [row for row in fixture(f"vectors/bitcoin/{name}.json") if len(row) == 3]
    assert len(rows) > 80
    for row in rows:
        tx = Tx.parse(bytes.fromhex(row[1]))
        assert tx.serialize().hex() == row[1].lower()


inputs = st.builds(
    TxIn,
    st.binary(min_size=32, max_size=32),
    st.integers(0, FINAL),
    st.binary(max_size=300),
    st.integers(0, FINAL),
    st.lists(st.binary(max_size=300), max_size=4).map(tuple),
)
outputs = st.builds(TxOut, st.integers(0, 2**64 - 1), st.binary(max_size=300))
txs = st.builds(
    Tx,
    st.integers(0, FINAL),
    st.lists(inputs, min_size=1, max_size=4).map(tuple),
    st.lists(outputs, max_size=4).map(tuple),
    st.integers(0, FINAL),
    st.none() | st.just(b"\0") | st.binary(max_size=40).map(lambda rest: b"\1" + rest + b"\0"),
)


@given(txs)
def test_any_transaction_round_trips(tx: Tx) -> None:
    assert Tx.parse(tx.serialize()) == tx
    bare = Tx.parse(tx.serialize(witness=False))
    assert bare.hash == tx.hash
    assert all(not txin.witness for txin in bare.inputs)
    assert bare.mweb is None


@given(txs.filter(lambda tx: tx.mweb is None))
def test_equal_to_embit(tx: Tx) -> None:
    theirs = Transaction.parse(tx.serialize())
    assert theirs.serialize() == tx.serialize()
    assert theirs.txid().hex() == tx.txid
    base, whole = len(tx.serialize(witness=False)), len(tx.serialize())
    assert (tx.weight, tx.vsize) == (3 * base + whole, -(-(3 * base + whole) // 4))


@given(txs, st.data())
def test_every_truncation_is_refused(tx: Tx, data: st.DataObject) -> None:
    raw = tx.serialize()
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    try:
        shorter = Tx.parse(cut)
    except MalformedError:
        return
    # An MWEB part has no length of its own, so that a cut through it can leave another transaction.
    assert tx.mweb is not None
    assert shorter.serialize() == cut


@given(st.binary(max_size=400))
def test_any_bytes_are_a_transaction_or_refused(raw: bytes) -> None:
    try:
        tx = Tx.parse(raw)
    except MalformedError:
        return
    assert tx.serialize() == raw or not tx.inputs


@given(txs, st.data())
def test_changed_bytes_are_read_as_written_or_refused(tx: Tx, data: st.DataObject) -> None:
    raw = bytearray(tx.serialize())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Tx.parse(bytes(raw))
    except MalformedError:
        return
    assert found.serialize() == bytes(raw) or not found.inputs


ONE_INPUT = "01" + "00" * 32 + "00000000" + "00" + "ffffffff"
ONE_OUTPUT = "01" + "00" * 8 + "00"
HOSTILE = {
    "nothing": "",
    "a version alone": "01000000",
    "four thousand million inputs": "01000000" + "feffffffff" + "00" * 100,
    "as many outputs as numbers go": "01000000" + ONE_INPUT + "ff" + "ff" * 8 + "00" * 50,
    "a script longer than the data": "01000000" + "01" + "00" * 36 + "fdff00" + "00" * 30,
    "the witness flag without a witness": "01000000" + "0001" + ONE_INPUT + ONE_OUTPUT + "00" + "00000000",
    "an unknown flag": "01000000" + "0002" + ONE_INPUT + ONE_OUTPUT + "00000000",
    "flags from the future": "01000000" + "0003" + ONE_INPUT + ONE_OUTPUT + "0100" + "00000000",
    "a witness of many items": "01000000" + "0001" + ONE_INPUT + ONE_OUTPUT + "feffffffff" + "00" * 20,
    "trailing bytes": "01000000" + ONE_INPUT + ONE_OUTPUT + "0000000000",
    "a length in long form": "01000000" + "01" + "00" * 36 + "fd0000" + "ffffffff" + ONE_OUTPUT + "00000000",
    "an MWEB part that says neither": "01000000" + "0008" + ONE_INPUT + ONE_OUTPUT + "02" + "00000000",
    "bytes behind an empty MWEB part": "01000000" + "0008" + ONE_INPUT + ONE_OUTPUT + "0000" + "00000000",
    "an MWEB flag without its part": "01000000" + "0008" + ONE_INPUT + ONE_OUTPUT + "00000000",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes(raw: str) -> None:
    with pytest.raises(MalformedError):
        Tx.parse(bytes.fromhex(raw))


def test_a_transaction_without_inputs_is_no_witness_marker() -> None:
    tx = Tx.parse(bytes.fromhex("01000000" + "0000" + "00000000"))
    assert (tx.inputs, tx.outputs) == ((), ())


def test_the_pegging_transaction_of_litecoin() -> None:
    raw = bytes.fromhex("02000000" + "0008" + ONE_INPUT + ONE_OUTPUT + "00" + "00000000")
    tx = Tx.parse(raw)
    assert tx.is_hogex
    assert tx.serialize() == raw
    assert tx.txid == Tx.parse(bytes.fromhex("02000000" + ONE_INPUT + ONE_OUTPUT + "00000000")).txid
    assert tx.weight == 4 * len(tx.serialize(witness=False))


def test_a_coinbase_is_recognised() -> None:
    genesis = TxIn(bytes(32), FINAL, b"\x04\xff")
    assert Tx(1, (genesis,), (TxOut(50, b""),)).is_coinbase
    assert not Tx(1, (genesis, genesis), ()).is_coinbase
    assert not Tx(1, (TxIn(bytes(32), 0),), ()).is_coinbase
    assert not Tx(1, (TxIn(b"\1" * 32, FINAL),), ()).is_coinbase
