"""What wallets are told of the chain and the mempool: headers, histories, payments on their way, outpoints, fees."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.indexer.chains import block, random_chain, transaction
from tests.indexer.wire import Refused, Wallet
from tests.indexer.worlds import SCRIPT, name, world
from tests.vectors_for_tests import electrum_vectors

from twinlock.indexer.storage.disk import MemoryDisk
from twinlock.indexer.storage.memory import MemoryStorage
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.kernels.scan import hashx, scan_tx, sha256d


@pytest.mark.parametrize("case", electrum_vectors("status"), ids=lambda case: case["name"])
def test_published_statuses(case: dict[str, Any]) -> None:
    rows = case["history"]
    if rows == "generated":
        rows = [[sha256d(n.to_bytes(4, "little"))[::-1].hex(), n // 3] for n in range(10_000)]
    text = "".join(f"{txid}:{height}:" for txid, height in rows).encode()
    assert MemoryStorage().status(bytes(11), text)[0] == case["status"]
    assert SegmentStorage(MemoryDisk(), "chain", 5).status(bytes(11), text)[0] == case["status"]


@pytest.mark.anyio
async def test_a_rejected_broadcast_passes_the_nodes_words_on() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        with pytest.raises(Refused) as refused:
            await wallet.call("blockchain.transaction.broadcast", "00")
        message = "the transaction was rejected by network rules.\n\nmin relay fee not met, 0 < 141\n[00]"
        assert (refused.value.code, str(refused.value)) == (1, message)
        reply = await wallet.call("blockchain.transaction.broadcast_package", ["00", "01"])
        assert reply == {"success": False, "errors": [{"txid": "aa", "error": "too low"}]}
        wallet.close()


@pytest.mark.anyio
async def test_fees() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        assert await wallet.call("blockchain.estimatefee", 2) == -1
        w.node.estimate = {"feerate": 0.0002, "blocks": 2}
        assert await wallet.call("blockchain.estimatefee", 2, "ECONOMICAL") == 0.0002
        w.node.estimate = {"feerate": 0.0009}
        assert await wallet.call("blockchain.estimatefee", 2, "ECONOMICAL") == 0.0002, "kept until the tip changes"
        w.grow()
        assert await wallet.call("blockchain.estimatefee", 2, "ECONOMICAL") == 0.0009
        line = b'{"jsonrpc":"2.0","id":1,"method":"mempool.get_info"}\n'
        assert b'"minrelaytxfee":0.00001000' in await wallet.line(line), "not every wallet reads 1e-05"
        info = await wallet.call("mempool.get_info")
        assert set(info) == {"mempoolminfee", "minrelaytxfee", "incrementalrelayfee"}
        with pytest.raises(Refused, match="unknown method"):
            await wallet.call("blockchain.relayfee")
        older = await Wallet.connect(w.port, "1.4.2")
        assert await older.call("blockchain.relayfee") == 0.00001
        older.close()
        wallet.close()


@pytest.mark.anyio
async def test_headers_in_both_shapes_and_with_proofs() -> None:
    async with world() as w:
        joined = b"".join(b.raw[:80] for b in w.blocks)
        wallet, newer = await Wallet.connect(w.port, "1.4"), await Wallet.connect(w.port, "1.6")
        assert await wallet.call("blockchain.block.headers", 2, 3) == {
            "count": 3,
            "max": 2016,
            "hex": joined[160:400].hex(),
        }
        reply = await newer.call("blockchain.block.headers", start_height=10, count=9)
        assert reply == {"count": 2, "max": 2016, "headers": [joined[800:880].hex(), joined[880:].hex()]}
        assert (await wallet.call("blockchain.block.headers", 100, 5))["count"] == 0
        proof = await wallet.call("blockchain.block.header", 5, 11)
        node = w.blocks[5].hash
        for level, sibling in enumerate(proof["branch"]):
            other = bytes.fromhex(sibling)[::-1]
            node = sha256d(other + node if 5 >> level & 1 else node + other)
        assert node[::-1].hex() == proof["root"]
        tip = await wallet.call("blockchain.headers.subscribe")
        assert tip == {"height": 11, "hex": joined[-80:].hex()}
        w.grow()
        assert await wallet.note() == (
            "blockchain.headers.subscribe",
            [{"height": 12, "hex": w.blocks[-1].raw[:80].hex()}],
        )
        wallet.close()
        newer.close()


@pytest.mark.anyio
async def test_the_header_comes_before_what_mentions_its_height() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        await wallet.call("blockchain.headers.subscribe")
        before = await wallet.call("blockchain.scripthash.subscribe", name(SCRIPT))
        coin = w.coins.pop()
        paying = transaction([(coin.tx_hash, coin.vout)], [(5, SCRIPT)])
        coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(1, b"\x51\x51\x51")], b"\x77")
        w.add(block(w.blocks[-1].hash, len(w.blocks), [coinbase, paying]))
        assert (await wallet.note())[0] == "blockchain.headers.subscribe"
        method, (text, status) = await wallet.note()
        assert (method, text) == ("blockchain.scripthash.subscribe", name(SCRIPT))
        assert status == w.view.status(hashx(SCRIPT)) != before
        wallet.close()


@pytest.mark.anyio
async def test_a_chain_of_unconfirmed_payments_in_the_protocols_order() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.4.2")
        status = await wallet.call("blockchain.scripthash.subscribe", name(SCRIPT))
        coin = w.coins.pop()
        parent = transaction([(coin.tx_hash, coin.vout)], [(coin.value - 300, SCRIPT)])
        first = w.receive(parent)
        assert (await wallet.note())[1][1] != status
        child = w.receive(transaction([(scan_tx(parent).hash, 0)], [(1000, SCRIPT), (2000, b"\x52")]))
        mempool = await wallet.call("blockchain.scripthash.get_mempool", name(SCRIPT))
        assert mempool == [
            {"height": 0, "tx_hash": first, "fee": 300},
            {"height": -1, "tx_hash": child, "fee": coin.value - 300 - 3000},
        ]
        history = await wallet.call("blockchain.scripthash.get_history", name(SCRIPT))
        assert history[-2:] == mempool
        coins = await wallet.call("blockchain.scripthash.listunspent", name(SCRIPT))
        assert coins[-1] == {"height": 0, "tx_hash": child, "tx_pos": 0, "value": 1000}
        balance = await wallet.call("blockchain.scripthash.get_balance", name(SCRIPT))
        assert balance["confirmed"] + balance["unconfirmed"] == sum(c["value"] for c in coins)
        assert await wallet.call("blockchain.scripthash.unsubscribe", name(SCRIPT)) is True
        assert await wallet.call("blockchain.scripthash.unsubscribe", name(SCRIPT)) is False
        wallet.close()


@pytest.mark.anyio
async def test_a_confirmed_rival_takes_the_loser_and_its_children_out() -> None:
    async with world() as w:
        coin = w.coins.pop()
        parent = transaction([(coin.tx_hash, coin.vout)], [(coin.value - 300, SCRIPT)])
        w.receive(parent)
        w.receive(transaction([(scan_tx(parent).hash, 0)], [(1000, SCRIPT)]))
        assert len(w.mempool.txs) == 2
        rival = transaction([(coin.tx_hash, coin.vout)], [(7, b"\x53")])
        coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(1, b"\x51\x51\x51")], b"\x78")
        w.add(block(w.blocks[-1].hash, len(w.blocks), [coinbase, rival]))
        assert not w.mempool.txs
        assert w.view.unconfirmed(hashx(SCRIPT)) == []


@pytest.mark.anyio
async def test_outpoints_tell_who_funds_and_who_spends_them() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        coin = w.coins.pop()
        parent = transaction([(coin.tx_hash, coin.vout)], [(coin.value - 300, SCRIPT)])
        txid = scan_tx(parent).hash[::-1].hex()
        args = [txid, 0, SCRIPT.hex()]
        assert await wallet.call("blockchain.outpoint.subscribe", *args) == {}
        w.receive(parent)
        assert await wallet.note() == ("blockchain.outpoint.subscribe", [txid, 0, {"funder_height": 0}])
        spender = w.receive(transaction([(scan_tx(parent).hash, 0)], [(1000, b"\x52")]))
        wanted = {"funder_height": 0, "spender_txhash": spender, "spender_height": -1}
        assert await wallet.note() == ("blockchain.outpoint.subscribe", [txid, 0, wanted])
        coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(1, b"\x51\x51\x51")], b"\x79")
        w.add(block(w.blocks[-1].hash, len(w.blocks), [coinbase, parent]))
        height = len(w.blocks) - 1
        wanted = {"funder_height": height, "spender_txhash": spender, "spender_height": 0}
        assert await wallet.note() == ("blockchain.outpoint.subscribe", [txid, 0, wanted])
        assert await wallet.call("blockchain.outpoint.unsubscribe", txid, 0) is True
        wallet.close()


@pytest.mark.anyio
async def test_scriptpubkey_methods_answer_as_the_scripthash_ones() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        by_hash, by_script = "blockchain.scripthash.", "blockchain.scriptpubkey."
        for method, key in (("get_history", "history"), ("listunspent", "utxos"), ("get_mempool", "history")):
            reply = await wallet.call(by_script + method, SCRIPT.hex())
            assert reply == {key: await wallet.call(by_hash + method, name(SCRIPT))}
        assert await wallet.call(by_script + "get_balance", SCRIPT.hex()) == w.view.balance(hashx(SCRIPT))
        first = await wallet.call(by_hash + "get_first_use", name(SCRIPT))
        rows = await wallet.call(by_hash + "get_history", name(SCRIPT))
        assert (first["height"], first["tx_hash"]) == (rows[0]["height"], rows[0]["tx_hash"])
        middle = rows[len(rows) // 2]["height"]
        below = await wallet.call(by_hash + "get_history", name(SCRIPT), 0, middle)
        above = await wallet.call(by_hash + "get_history", name(SCRIPT), middle)
        assert below + above == rows
        wallet.close()


@pytest.mark.anyio
async def test_too_much_is_an_error_and_never_an_empty_answer() -> None:
    async with world(max_send=1000) as w:
        wallet = await Wallet.connect(w.port)
        with pytest.raises(Refused, match=r"^history too large$") as refused:
            await wallet.call("blockchain.scripthash.get_history", name(SCRIPT))
        assert refused.value.code == 10001
        with pytest.raises(Refused, match="response too large") as refused:
            await wallet.call("blockchain.block.headers", 0, 12)
        assert refused.value.code == -32600
        wallet.close()


def test_random_chains_are_repeatable() -> None:
    assert random_chain(random.Random(1), 3, 3) == random_chain(random.Random(1), 3, 3)
