"""The published tables of the Electrum protocol, row by row: which version has which method, how parameters are called,
what results look like, what refusals say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.indexer.chains import block, transaction
from tests.indexer.wire import Refused, Wallet
from tests.indexer.worlds import SCRIPT, World, name, world
from tests.vectors_for_tests import electrum_vectors

from twinlock.indexer.daemon import DaemonError
from twinlock.indexer.lines import padded
from twinlock.indexer.methods import METHODS
from twinlock.kernels.scan import OUTPUT, Scan, hashx, scan_block, scan_tx, sha256d

pytestmark = pytest.mark.anyio

ALL = ("1.4", "1.4.1", "1.4.2", "1.4.3", "1.6")
NEWER, NEWEST, OLDER = ALL[2:], ALL[4:], ALL[:4]
_S, _K, _T = "blockchain.scripthash.", "blockchain.scriptpubkey.", "blockchain.transaction."
_B, _H, _O = "blockchain.block.", "blockchain.headers.", "blockchain.outpoint."

PUBLISHED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "server.version": (ALL, ("client_name", "protocol_version")),
    "server.banner": (ALL, ()),
    "server.donation_address": (ALL, ()),
    "server.features": (ALL, ()),
    "server.peers.subscribe": (ALL, ()),
    "server.add_peer": (ALL, ("features",)),
    "server.ping": (ALL, ()),
    _B + "header": (ALL, ("height", "cp_height")),
    _B + "headers": (ALL, ("start_height", "count", "cp_height")),
    _H + "subscribe": (ALL, ()),
    "blockchain.estimatefee": (ALL, ("number", "mode")),
    "blockchain.relayfee": (OLDER, ()),
    _S + "get_balance": (ALL, ("scripthash",)),
    _S + "get_history": (ALL, ("scripthash", "from_height", "to_height")),
    _S + "get_mempool": (ALL, ("scripthash",)),
    _S + "listunspent": (ALL, ("scripthash",)),
    _S + "subscribe": (ALL, ("scripthash",)),
    _S + "unsubscribe": (NEWER, ("scripthash",)),
    _T + "broadcast": (ALL, ("raw_tx",)),
    _T + "broadcast_package": (NEWEST, ("raw_txs", "verbose")),
    _T + "get": (ALL, ("tx_hash", "verbose")),
    _T + "get_merkle": (ALL, ("tx_hash", "height")),
    _T + "id_from_pos": (ALL, ("height", "tx_pos", "merkle")),
    "mempool.get_fee_histogram": (ALL, ()),
    "mempool.get_info": (NEWEST, ()),
    # The draft of 1.7, at any version.
    _T + "testmempoolaccept": (ALL, ("raw_txs",)),
    "mempool.recent": (ALL, ()),
    _O + "get_status": (ALL, ("tx_hash", "txout_idx", "spk_hint")),
    _O + "subscribe": (ALL, ("tx_hash", "txout_idx", "spk_hint")),
    _O + "unsubscribe": (ALL, ("tx_hash", "txout_idx")),
    **{
        _K + each: (ALL, ("scriptpubkey",))
        for each in ("get_balance", "get_history", "get_mempool", "listunspent", "subscribe", "unsubscribe")
    },
    # Other servers' useful ones, at any version.
    _S + "get_first_use": (ALL, ("scripthash",)),
    _S + "get_status": (ALL, ("scripthash",)),
    _T + "get_height": (ALL, ("tx_hash",)),
    _T + "get_confirmed_blockhash": (ALL, ("tx_hash", "include_header")),
    "blockchain.utxo.get_info": (ALL, ("tx_hash", "out_n")),
    "blockchain.header.get": (ALL, ("block",)),
    _H + "get_tip": (ALL, ()),
    _H + "unsubscribe": (ALL, ()),
}


def test_the_table_has_what_is_published_and_nothing_else() -> None:
    ours = {method.name: tuple(param.name for param in method.params) for method in METHODS.values()}
    assert ours == {method: params for method, (_, params) in PUBLISHED.items()}


@pytest.mark.parametrize("version", ALL)
async def test_each_version_has_its_methods(version: str) -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, version)
        for method, (versions, _) in PUBLISHED.items():
            reply = await wallet.exchange(_request(method, [1, 2, 3, 4, 5]))  # too much for any, but for one
            code = reply["error"]["code"]
            assert code == (-32602 if version in versions else -32601) or method == "server.version", method
        wallet.close()


def _request(method: str, params: Any, number: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


ZERO, _NODE = "00" * 32, "daemon error: DaemonError({"
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("1.4", "server.version", [], 1, "server.version already sent"),
    ("1.4", _S + "get_balance", ["ab"], 1, "ab is not a valid script hash"),
    ("1.4", _S + "subscribe", [None], 1, "None is not a valid script hash"),
    ("1.4", _S + "get_balance", {"script": "ab"}, -32602, f"unknown arguments ['script'] to method '{_S}get_balance'"),
    ("1.4", _B + "header", [12], 1, "height 12 out of range"),
    ("1.4", _B + "header", ["x"], 1, "x should be a non-negative integer"),
    ("1.4", _B + "header", [1.0], 1, "1.0 should be a non-negative integer"),
    ("1.4", _B + "header", [3, 12], 1, "require header height 3 <= cp_height 12 <= chain height 11"),
    ("1.4", _B + "headers", [3, 3, 4], 1, "require header height 5 <= cp_height 4 <= chain height 11"),
    ("1.4", _T + "get", ["ab"], 1, "ab should be a transaction hash"),
    ("1.4", _T + "get", [ZERO, 2], 1, "2 should be a boolean"),
    ("1.4", _T + "get", [ZERO], 2, f"{_NODE}'code': -5, 'message': 'no such transaction'}})"),
    ("1.4", _T + "get", [ZERO, True], 2, f"{_NODE}'code': -5, 'message': 'no such transaction'}})"),
    ("1.4", _T + "get_merkle", [ZERO, 4], 1, f"tx {ZERO} not in block at height 4"),
    ("1.4", _T + "id_from_pos", [4, 1_000], 1, "no tx at position 1,000 in block at height 4"),
    ("1.4", _T + "id_from_pos", [4_000, 0], 1, "no tx at position 0 in block at height 4,000"),
    ("1.4", _T + "id_from_pos", [4, 0, "yes"], 1, "yes should be a boolean"),
    ("1.4", _T + "broadcast", ["0"], 1, "the raw transaction should be hex text"),
    ("1.4", _T + "broadcast", ["00"], 1, "the transaction was rejected by network rules.\n\nbad-txns\n[00]"),
    ("1.6", _T + "broadcast_package", [["00"]], 1, "the tx package was rejected by network rules.\n\npackage-not-sane"),
    ("1.6", _T + "broadcast_package", ["00"], 1, "raw_txs should be a list of 1 to 25 raw transactions"),
    ("1.6", "blockchain.estimatefee", [2, "FAST"], 1, "unknown estimate_fee mode FAST"),
    (
        "1.6",
        "blockchain.estimatefee",
        [0],
        2,
        "daemon error: DaemonError({'code': -8, 'message': 'Invalid conf_target'})",
    ),
    ("1.4", _K + "get_balance", ["xy"], 1, "a script should be hex text"),
    ("1.4", "blockchain.header.get", [ZERO], 1, f"no block {ZERO}"),
    ("1.4", _O + "subscribe", [ZERO, 0], 1, "spk_hint is needed for an output that does not exist yet"),
    ("1.4", _T + "get_confirmed_blockhash", [ZERO], 1, f"tx {ZERO} is not confirmed"),
]


NODES_WORDS = {
    "sendrawtransaction": DaemonError(-26, "bad-txns"),
    "submitpackage": DaemonError(-25, "package-not-sane"),
    "estimatesmartfee": DaemonError(-8, "Invalid conf_target"),
}


class StrictNode:
    """Refuses everything."""

    async def call(self, method: str, /, *_: Any) -> Any:
        raise NODES_WORDS.get(method, DaemonError(-5, "no such transaction"))

    async def raw(self, method: str, /, *params: Any) -> bytes:
        return json.dumps(await self.call(method, *params)).encode()


@asynccontextmanager
async def strict_world() -> AsyncIterator[World]:
    async with world() as w:
        w.shared.daemon = StrictNode()
        yield w


@pytest.mark.parametrize(("version", "method", "params", "code", "message"), REFUSED, ids=lambda value: str(value)[:40])
async def test_refusals_say_what_wallets_look_for(
    version: str, method: str, params: Any, code: int, message: str
) -> None:
    async with strict_world() as w:
        wallet = await Wallet.connect(w.port, version)
        reply = await wallet.exchange(_request(method, params))
        assert reply == {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}
        assert await wallet.call("server.ping") is None, "the session goes on"
        wallet.close()


ANSWERS: list[tuple[str, str, list[Any], Any]] = [
    ("1.4", "server.banner", [], str),
    ("1.4", "server.donation_address", [], ""),
    ("1.4", "server.peers.subscribe", [], []),
    ("1.4", "server.ping", [], None),
    ("1.4", "mempool.get_fee_histogram", [], []),
    ("1.4", "mempool.recent", [], []),
    ("1.4", _S + "get_balance", [ZERO], {"confirmed": 0, "unconfirmed": 0}),
    ("1.4", _S + "get_history", [ZERO], []),
    ("1.4", _S + "get_mempool", [ZERO], []),
    ("1.4", _S + "listunspent", [ZERO], []),
    ("1.4", _S + "subscribe", [ZERO], None),
    ("1.4", _S + "get_status", [ZERO], None),
    ("1.4", _S + "get_first_use", [ZERO], None),
    ("1.4.2", _S + "unsubscribe", [ZERO], False),
    ("1.4", _K + "subscribe", ["51"], None),
    ("1.4", _K + "unsubscribe", ["51"], False),
    ("1.4", _K + "get_history", ["51"], {"history": []}),
    ("1.4", _K + "listunspent", ["51"], {"utxos": []}),
    ("1.4", _O + "get_status", [ZERO, 0], {}),
    ("1.4", _O + "unsubscribe", [ZERO, 0], False),
    ("1.4", "blockchain.utxo.get_info", [ZERO, 0], None),
    ("1.4", _T + "get_height", [ZERO], None),
    ("1.4", _B + "headers", [12, 5], {"count": 0, "hex": "", "max": 2016}),
    ("1.6", _B + "headers", [12, 5, 3], {"count": 0, "headers": [], "max": 2016}),
    ("1.4", _H + "unsubscribe", [], False),
]


@pytest.mark.parametrize(("version", "method", "params", "answer"), ANSWERS, ids=lambda value: str(value)[:40])
async def test_what_nobody_ever_used_is_no_error(version: str, method: str, params: list[Any], answer: Any) -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, version)
        reply = await wallet.exchange(_request(method, params))
        assert set(reply) == {"jsonrpc", "id", "result"}
        assert reply["result"] == answer if not isinstance(answer, type) else isinstance(reply["result"], answer)
        wallet.close()


async def test_parameters_may_be_named_or_not() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        txid = w.storage.tx_hashes(7)[:32][::-1].hex()
        raw = {"raw_tx": "00"}
        rows: list[tuple[str, dict[str, Any]]] = [
            (_B + "header", {"height": 3, "cp_height": 9}),
            (_B + "headers", {"start_height": 2, "count": 4, "cp_height": 11}),
            (_S + "get_history", {"scripthash": name(SCRIPT), "from_height": 2, "to_height": 9}),
            (_S + "listunspent", {"scripthash": name(SCRIPT)}),
            (_T + "get_merkle", {"tx_hash": txid, "height": 7}),
            (_T + "id_from_pos", {"height": 7, "tx_pos": 0, "merkle": True}),
            (_T + "get_height", {"tx_hash": txid}),
            ("blockchain.estimatefee", {"number": 2, "mode": "ECONOMICAL"}),
        ]
        for method, named in rows:
            assert await wallet.call(method, **named) == await wallet.call(method, *named.values()), method
        with pytest.raises(Refused, match="rejected by network rules"):
            await wallet.call(_T + "broadcast", **raw)
        assert await wallet.call(_T + "get_merkle", txid) == await wallet.call(_T + "get_merkle", txid, 7)
        wallet.close()


async def test_a_batch_answers_its_good_members_and_refuses_its_bad_ones() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        ping = {"jsonrpc": "2.0", "method": "server.ping"}
        batch = [{**ping, "id": 1}, 5, {**ping, "id": "two"}, {"id": 3}, ping, {**ping, "id": 4, "params": [1]}]
        replies = await wallet.exchange(json.dumps(batch).encode() + b"\n")
        told = sorted((str(reply["id"]), reply.get("error", {}).get("code")) for reply in replies)
        assert told == [("1", None), ("3", -32600), ("4", -32602), ("None", -32600), ("two", None)]
        assert (await wallet.exchange(_request("server.ping", [], 9) + b""))["id"] == 9
        assert (await wallet.exchange(json.dumps([ping, ping]).encode() + b"\n" + _request("server.ping", [], 7)))[
            "id"
        ] == 7, "notifications alone are not answered"
        too_many = json.dumps([{**ping, "id": n} for n in range(346)]).encode() + b"\n"
        assert (await wallet.exchange(too_many))["error"]["code"] == -32600
        wallet.close()


async def test_long_histories_are_answered_alike_by_all_methods() -> None:
    script = b"\x51\x77"
    made = [transaction([(bytes(32), 0xFFFFFFFF)], [(5, script)], n.to_bytes(4, "big")) for n in range(3100)]
    async with world() as w:
        w.add(block(w.blocks[-1].hash, len(w.blocks), made))
        wallet = await Wallet.connect(w.port, "1.6")
        assert w.view.large(hashx(script))
        status = await wallet.call(_S + "get_status", name(script))
        history = await wallet.call(_S + "get_history", name(script))
        assert [row["tx_hash"] for row in history] == [scan_tx(raw).hash[::-1].hex() for raw in made]
        assert await wallet.call(_K + "get_history", script.hex()) == {"history": history}
        coins = await wallet.call(_S + "listunspent", name(script))
        assert await wallet.call(_K + "listunspent", script.hex()) == {"utxos": coins}
        w.view.touch({hashx(script)})
        assert await wallet.call(_K + "subscribe", script.hex()) == status
        w.view.touch({hashx(script)})
        assert await wallet.call(_S + "subscribe", name(script)) == status
        wallet.close()


async def test_header_by_hash_and_by_height() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        wanted = {"height": 5, "hex": w.blocks[5].raw[:80].hex()}
        assert await wallet.call("blockchain.header.get", 5) == wanted
        w.node.heights[w.blocks[5].hash[::-1].hex()] = 5
        assert await wallet.call("blockchain.header.get", w.blocks[5].hash[::-1].hex()) == wanted
        w.node.heights[ZERO] = 5
        with pytest.raises(Refused, match="no block"):  # the node's branch is not ours
            await wallet.call("blockchain.header.get", ZERO)
        wallet.close()


@pytest.mark.parametrize(
    ("before", "size", "after"),
    [(0, 700, 700), (1023, 700, 700), (1024, 700, 1024), (5000, 1024, 1024), (5000, 1025, 2048), (5000, 6000, 7000)],
)
def test_answers_are_padded_to_powers_of_two(before: int, size: int, after: int) -> None:
    line = b'{"id":1,"result":"%b"}\n' % (b"x" * (size - 21))
    assert len(line) == size
    sent = padded(line, before, 7000)
    assert len(sent) == after
    assert json.loads(sent) == json.loads(line)


# -- the documented transactions: what is derived from them is published


def _plain(index: int) -> Scan:
    """A block of one transaction that concerns nobody."""
    header = index.to_bytes(80, "big")
    return Scan(header, sha256d(b"%d" % index), bytes(8), b"", b"")


@asynccontextmanager
async def documented_world() -> AsyncIterator[World]:
    """Heights and mempool as the documentation has them. What the first transaction spends is made up."""
    txs = [(bytes.fromhex(tx["raw"]), tx) for tx in electrum_vectors("transactions")["txs"]]
    heights = {row["tx_hash"]: row["height"] for row in electrum_vectors("transactions")["derived"]["get_history"]}
    async with world() as w:
        while w.storage.height >= 0:
            w.storage.undo()
        for height in range(2472):
            scan = _plain(height)
            if height == 2400:
                first = [bytes.fromhex(txid)[::-1] for txid, _ in txs[0][1]["inputs"]]
                paid = b"".join(OUTPUT.pack(n, 0, 10**8, hashx(b"made up")) for n in range(len(first)))
                scan = Scan(scan.header, b"".join(first), bytes(4 * (len(first) + 1)), paid, b"")
            w.storage.append(sha256d(scan.header), scan)
            w.storage.tidy()
        for height in (2472, 2473):
            raws = [raw for raw, tx in txs if heights[tx["txid"]] == height]
            w.storage.append(bytes(32), scan_block(bytes(80) + bytes([len(raws)]) + b"".join(raws)))
        for raw, tx in txs:
            w.node.txs[tx["txid"]] = tx["raw"]
            assert (scan_tx(raw).hash[::-1].hex(), scan_tx(raw).vsize) == (tx["txid"], tx["vsize"])
            if heights[tx["txid"]] <= 0:
                w.receive(raw)
        yield w


async def test_the_documented_transactions() -> None:
    derived = electrum_vectors("transactions")["derived"]
    async with documented_world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        for method in ("get_history", "get_balance", "listunspent"):
            assert await wallet.call(_S + method, derived["scripthash"]) == derived[method], method
        for case in electrum_vectors("outpoints")["cases"]:
            assert await wallet.call(_O + "get_status", *case["outpoint"]) == case["status"]
        wallet.close()
