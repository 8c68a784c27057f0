"""Whole blocks of real chains, Litecoin's with its extension."""

from __future__ import annotations

from hashlib import sha256

import pytest
from tests.vectors_for_tests import electrum_vectors, fixture

from twinlock.chain.block import Block
from twinlock.chain.errors import InclusionError, MalformedError
from twinlock.chain.header import Header
from twinlock.chain.tx import Tx


def load(name: str) -> tuple[bytes, dict[str, object]]:
    about = fixture(f"blocks/{name}.json")
    return bytes.fromhex(about["block"]), about


@pytest.mark.parametrize(
    "name", ["bitcoin_mainnet_951658", "bitcoin_testnet4_40000", "litecoin_mainnet_2265985", "digibyte_mainnet_4394891"]
)
def test_real_blocks(name: str) -> None:
    raw, about = load(name)
    block = Block.parse(raw)
    assert block.header.hash_hex == about["hash"]
    assert [tx.txid for tx in block.txs] == about["tx"]
    assert block.header.merkle_root[::-1].hex() == about["merkleroot"]
    block.check_merkle_root()
    assert block.txs[0].is_coinbase
    assert not any(tx.is_coinbase for tx in block.txs[1:])


def test_txids_digest_of_a_mainnet_block() -> None:
    vectors = electrum_vectors("merkle")["block_951658"]
    block = Block.parse(load("bitcoin_mainnet_951658")[0])
    assert len(block.txs) == vectors["tx_count"]
    assert sha256(b"".join(tx.hash for tx in block.txs)).hexdigest() == vectors["txids_digest"]


def test_rows_digest_of_a_testnet_block() -> None:
    row = next(row for row in electrum_vectors("other_blocks")["blocks"] if row["name"] == "bitcoin_testnet4_40000")
    block = Block.parse(load("bitcoin_testnet4_40000")[0])
    hashes = b"".join(sha256(out.script).digest()[:11] for tx in block.txs for out in tx.outputs)
    assert sha256(hashes).hexdigest() == row["rows_digest"]


def test_the_extension_of_a_litecoin_block() -> None:
    vectors = electrum_vectors("litecoin")
    block = Block.parse(load("litecoin_mainnet_2265985")[0])
    hogex = block.txs[-1]
    assert (len(block.txs), len(block.extension)) == (vectors["tx_count"], vectors["extension_bytes"])
    assert block.extension.hex().startswith(vectors["extension_head"])
    assert hogex.is_hogex
    assert hogex.txid == vectors["hogex"]["txid"]
    assert [[txin.point.txid, txin.prev_index] for txin in hogex.inputs] == vectors["hogex"]["inputs"]
    assert [[out.value, out.script.hex()] for out in hogex.outputs] == vectors["hogex"]["outputs"]
    assert Tx.parse(hogex.serialize()) == hogex


def test_a_block_that_lies_about_its_transactions() -> None:
    block = Block.parse(load("bitcoin_testnet4_40000")[0])
    with pytest.raises(InclusionError):
        Block(block.header, block.txs[:-1]).check_merkle_root()
    with pytest.raises(InclusionError):
        Block(block.header, ()).check_merkle_root()


def test_truncated_and_trailing_bytes_are_refused() -> None:
    raw, _ = load("bitcoin_testnet4_40000")
    for size in (0, 79, 80, 81, 1000, len(raw) - 1):
        with pytest.raises(MalformedError):
            Block.parse(raw[:size])
    with pytest.raises(MalformedError):
        Block.parse(raw + b"\0")
    with pytest.raises(MalformedError):
        Block.parse(raw[:80] + b"\xff" * 9)


def test_a_block_of_no_transactions_is_read() -> None:
    header = Header(1, bytes(32), bytes(32), 0, 0, 0)
    assert Block.parse(header.serialize() + b"\0").txs == ()
