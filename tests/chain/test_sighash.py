"""Digests against Bitcoin Core's tables, embit, and the signatures of real transactions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from embit.script import Script
from embit.transaction import Transaction
from hypothesis import given
from hypothesis import strategies as st
from tests.chain.test_tx import txs
from tests.vectors_for_tests import electrum_vectors, fixture

from twinlock.chain import script, sighash
from twinlock.chain.errors import ScriptError
from twinlock.chain.keys import verify
from twinlock.chain.script import Kind
from twinlock.chain.tx import Tx
from twinlock.kernels.ripemd160 import hash160


def test_bitcoin_cores_table() -> None:
    rows = [row for row in fixture("vectors/bitcoin/sighash.json") if len(row) == 5]
    assert len(rows) == 500
    for raw, code, index, hash_type, expected in rows:
        digest = sighash.legacy_digest(Tx.parse(bytes.fromhex(raw)), index, bytes.fromhex(code), hash_type)
        assert digest[::-1].hex() == expected


def spent_by_key_hash(name: str) -> Iterator[tuple[Tx, int, bytes, int]]:
    """(transaction, input, 20-byte hash, value) of every P2WPKH input in Bitcoin Core's list."""
    for row in fixture(f"vectors/bitcoin/{name}.json"):
        if len(row) != 3:
            continue
        tx = Tx.parse(bytes.fromhex(row[1]))
        spent = {(prevout[0], prevout[1]): prevout[2:] for prevout in row[0]}
        for index, txin in enumerate(tx.inputs):
            code, *value = spent.get((txin.point.txid, txin.prev_index), [""])
            words = code.split()
            if words[:2] == ["0x00", "0x14"] and len(txin.witness) == 2 and value:
                yield tx, index, bytes.fromhex(words[2][2:]), value[0]


def is_signed(tx: Tx, index: int, key_hash: bytes, value: int) -> bool:
    signature, pubkey = tx.inputs[index].witness
    assert hash160(pubkey) == key_hash
    digest = sighash.segwit_v0_digest(tx, index, script.p2pkh(key_hash), value, signature[-1])
    return verify(pubkey, digest, signature[:-1])


def test_signatures_of_every_hash_type_in_bitcoin_cores_list() -> None:
    types = set()
    for case in spent_by_key_hash("tx_valid"):
        types.add(case[0].inputs[case[1]].witness[0][-1])
        assert is_signed(*case)
    assert types >= {0x01, 0x02, 0x03, 0x81, 0x82, 0x83}


def test_signatures_that_bitcoin_core_refuses() -> None:
    results = [is_signed(*case) for case in spent_by_key_hash("tx_invalid")]
    assert False in results


def test_signatures_of_transactions_on_a_real_chain() -> None:
    rows = [Tx.parse(bytes.fromhex(row["raw"])) for row in electrum_vectors("transactions")["txs"]]
    outputs = {(tx.hash, n): out for tx in rows for n, out in enumerate(tx.outputs)}
    checked = 0
    for tx in rows:
        for index, txin in enumerate(tx.inputs):
            spent = outputs.get((txin.prev_hash, txin.prev_index))
            if spent and script.kind(spent.script) == Kind.P2WPKH:
                assert is_signed(tx, index, spent.script[2:], spent.value)
                assert not is_signed(tx, index, spent.script[2:], spent.value + 1)
                checked += 1
    assert checked >= 4


HASH_TYPES = [0x01, 0x02, 0x03, 0x81, 0x82, 0x83]
amounts = st.integers(0, 2**63 - 1)


@given(txs, st.data(), st.binary(max_size=40), amounts, st.sampled_from(HASH_TYPES))
def test_segwit_digest_equals_embit(tx: Tx, data: st.DataObject, code: bytes, value: int, hash_type: int) -> None:
    index = data.draw(st.integers(0, len(tx.inputs) - 1))
    theirs = Transaction.parse(tx.serialize(witness=False))
    expected = theirs.sighash_segwit(index, Script(code), value, hash_type)
    assert sighash.segwit_v0_digest(tx, index, code, value, hash_type) == expected


@given(txs, st.data(), st.binary(max_size=40).filter(lambda code: 0xAB not in code))
def test_legacy_digest_equals_embit(tx: Tx, data: st.DataObject, code: bytes) -> None:
    index = data.draw(st.integers(0, len(tx.inputs) - 1))
    theirs = Transaction.parse(tx.serialize(witness=False))
    assert sighash.legacy_digest(tx, index, code) == theirs.sighash_legacy(index, Script(code))


@given(txs)
def test_an_input_that_is_not_there_has_no_digest(tx: Tx) -> None:
    for index in (-1, len(tx.inputs)):
        with pytest.raises(ScriptError):
            sighash.legacy_digest(tx, index, b"")
        with pytest.raises(ScriptError):
            sighash.segwit_v0_digest(tx, index, b"", 0)


@given(txs)
def test_a_single_signature_without_its_output_signs_the_number_one(tx: Tx) -> None:
    if len(tx.outputs) < len(tx.inputs):
        digest = sighash.legacy_digest(tx, len(tx.inputs) - 1, b"", sighash.SINGLE)
        assert digest == b"\1" + bytes(31)


def test_the_digest_changes_with_every_part_it_covers() -> None:
    tx = Tx.parse(bytes.fromhex(electrum_vectors("transactions")["txs"][0]["raw"]))
    digest = sighash.segwit_v0_digest(tx, 0, b"\x51", 5)
    assert digest != sighash.segwit_v0_digest(tx, 0, b"\x52", 5)
    assert digest != sighash.segwit_v0_digest(tx, 1, b"\x51", 5)
    assert digest != sighash.segwit_v0_digest(tx, 0, b"\x51", 6)
    later = Tx(tx.version, tx.inputs, tx.outputs, tx.lock_time + 1)
    assert digest != sighash.segwit_v0_digest(later, 0, b"\x51", 5)
