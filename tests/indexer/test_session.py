"""The wire: negotiation, errors with their exact codes, batches, limits, subscriptions; over a real loopback socket."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.chains import Block, Coin, block, extend, random_chain, scripts_of, transaction
from tests.indexer.wire import Refused, Wallet

from twinlock.indexer.block_files import BlockFiles
from twinlock.indexer.daemon import DaemonError
from twinlock.indexer.dispatch import HANDLERS
from twinlock.indexer.env import Env, Service
from twinlock.indexer.handlers import negotiate
from twinlock.indexer.mempool import Found, Mempool
from twinlock.indexer.methods import METHODS, RpcError
from twinlock.indexer.sessions import SessionManager
from twinlock.indexer.storage.disk import MemoryDisk
from twinlock.indexer.storage.memory import MemoryStorage
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.indexer.view import View
from twinlock.kernels.scan import hashx, scan_block, scan_tx, sha256d
from twinlock.seams import Clock, SystemClock, VirtualClock
from twinlock.simnet.ports import free_ports

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "electrum-vectors.json").read_text())
SCRIPT = scripts_of(12)[4]


def name(script: bytes) -> str:
    return sha256(script).digest()[::-1].hex()


class FakeNode:
    """A node that knows some transactions, and says of all others what real ones say."""

    def __init__(self) -> None:
        self.txs: dict[str, str] = {}
        self.heights: dict[str, int] = {}
        self.estimate: dict[str, Any] = {"errors": ["Insufficient data"]}
        self.stuck: asyncio.Event | None = None  # what is sent waits for it

    async def call(self, method: str, /, *params: Any) -> Any:
        if method == "sendrawtransaction":
            if self.stuck:
                await self.stuck.wait()
            raise DaemonError(-26, "min relay fee not met, 0 < 141")
        if method == "submitpackage":
            rows = {"w1": {"txid": "aa", "error": "too low"}, "w2": {"txid": "bb"}}
            return {"package_msg": "transaction failed", "tx-results": rows}
        if method == "getblockheader" and params[0] in self.heights:
            return {"height": self.heights[params[0]]}
        if method == "estimatesmartfee":
            return self.estimate
        if method == "getmempoolinfo":
            return {"mempoolminfee": 0.00001, "minrelaytxfee": 0.00001, "size": 1}
        if method == "getnetworkinfo":
            return {"relayfee": 0.00001}
        if method == "getrawtransaction" and params[0] in self.txs:
            return self.txs[params[0]]
        raise DaemonError(-5, "No such mempool or blockchain transaction")

    async def raw(self, method: str, /, *params: Any) -> bytes:
        return json.dumps(await self.call(method, *params)).encode()


class World:
    """A chain that tests extend, served on a loopback port."""

    def __init__(self, **settings: Any) -> None:
        self.port = free_ports(1)[0]
        clock: Clock = settings.pop("clock", SystemClock())
        env = Env(**{"network": "regtest", "data_dir": Path(), **settings})
        self.storage = SegmentStorage(MemoryDisk(), "chain", 50)
        self.mempool = Mempool(self.storage)
        self.node = FakeNode()
        self.view = View(self.storage, self.mempool, BlockFiles(b"\xfa\xbf\xb5\xda"))
        self.manager = SessionManager(env, self.view, self.node, self, clock)
        self.blocks: list[Block] = []
        self.coins: list[Coin] = []
        self.rnd = random.Random(3)
        for _ in range(12):
            self.grow()

    async def take_in(self, txid: str) -> None:
        """The node of this world takes nothing."""

    async def refresh(self) -> None:
        """Nor does anything happen to it by itself."""

    def add(self, new: Block) -> None:
        self.blocks.append(new)
        touched = self.storage.append(new.hash, scan_block(new.raw))
        scripts = touched.scripts | self.mempool.confirm(touched)
        self.view.touch(scripts)
        self.manager.notify(scripts, tip=True)

    def grow(self) -> None:
        self.add(extend(self.rnd, self.blocks, self.coins, 8))

    def receive(self, raw: bytes) -> str:
        """Take a transaction into the mempool."""
        tx = scan_tx(raw)
        scripts = self.mempool.add({tx.hash: Found(tx)})
        self.view.touch(scripts)
        self.manager.notify(scripts)
        return tx.hash[::-1].hex()


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    made = World(**settings)
    await made.manager.listen([Service("tcp", "127.0.0.1", made.port)])
    try:
        yield made
    finally:
        await made.manager.close()


@pytest.mark.parametrize("case", VECTORS["framing"]["negotiation"], ids=lambda case: str(case["client"]))
def test_versions_are_negotiated_as_published(case: dict[str, Any]) -> None:
    asked = "1.4" if case["client"] is None else case["client"]
    if case["result"] is None:
        with pytest.raises(RpcError, match="unsupported protocol version"):
            negotiate(asked)
    else:
        assert negotiate(asked) == tuple(map(int, case["result"].split(".")))


@pytest.mark.parametrize("case", VECTORS["status"], ids=lambda case: case["name"])
def test_published_statuses(case: dict[str, Any]) -> None:
    rows = case["history"]
    if rows == "generated":
        rows = [[sha256d(n.to_bytes(4, "little"))[::-1].hex(), n // 3] for n in range(10_000)]
    text = "".join(f"{txid}:{height}:" for txid, height in rows).encode()
    assert MemoryStorage().status(bytes(11), text)[0] == case["status"]
    assert SegmentStorage(MemoryDisk(), "chain", 5).status(bytes(11), text)[0] == case["status"]


def test_every_row_of_the_table_has_a_handler() -> None:
    for method in METHODS.values():
        assert method.name in HANDLERS
        assert method.summary.startswith(method.name)


@pytest.mark.anyio
@pytest.mark.parametrize("text", VECTORS["framing"]["requests"][:2])
async def test_published_requests(text: str) -> None:
    async with world() as w:
        wallet = Wallet(*await _open(w.port))
        assert (await wallet.exchange(text.encode()))["result"][1] in ("1.4", "1.6")
        assert (await wallet.exchange(VECTORS["framing"]["padded"].encode()))["result"] is None
        replies = await wallet.exchange(VECTORS["framing"]["requests"][2].encode())
        assert sorted(reply["id"] for reply in replies) == [1, 2]


async def _open(port: int) -> Any:
    import asyncio

    return await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.anyio
async def test_nothing_goes_before_the_version() -> None:
    async with world() as w:
        wallet = Wallet(*await _open(w.port))
        reply = await wallet.exchange(b'{"id":1,"method":"server.ping"}\n')
        assert reply["error"] == {"code": 1, "message": "use server.version to identify client"}
        assert await wallet.ended()


@pytest.mark.anyio
async def test_an_unsupported_version_ends_the_session_and_a_second_one_does_not() -> None:
    async with world() as w:
        wallet = Wallet(*await _open(w.port))
        reply = await wallet.exchange(b'{"id":1,"method":"server.version","params":["x","1.2"]}\n')
        assert reply["error"] == {"code": 1, "message": "unsupported protocol version: 1.2"}
        assert await wallet.ended()
        wallet = await Wallet.connect(w.port)
        with pytest.raises(Refused, match="already sent"):
            await wallet.call("server.version", "x", "1.4")
        assert await wallet.call("server.ping") is None
        wallet.close()


BAD = [
    ("blockchain.nothing", [], -32601, "unknown method"),
    ("blockchain.scripthash.get_balance", [], -32602, "too few"),
    ("server.ping", [1], -32602, "arguments"),
    ("blockchain.scripthash.get_balance", ["xx"], 1, "xx is not a valid script hash"),
    ("blockchain.scripthash.get_balance", [7], 1, "is not a valid script hash"),
    ("blockchain.block.header", [True], 1, "non-negative integer"),
    ("blockchain.block.header", [-1], 1, "non-negative integer"),
    ("blockchain.block.header", [1000], 1, "height 1,000 out of range"),
    ("blockchain.block.header", [5, 1000], 1, "cp_height"),
    ("blockchain.block.header", [5, 4], 1, "cp_height"),
    ("blockchain.transaction.get", ["00" * 32], 2, "No such mempool or blockchain transaction"),
    ("blockchain.transaction.get", ["00" * 31], 1, "should be a transaction hash"),
    ("blockchain.transaction.get", ["00" * 32, "yes"], 1, "should be a boolean"),
    ("blockchain.transaction.get_merkle", ["00" * 32, 3], 1, "not in block at height 3"),
    ("blockchain.transaction.id_from_pos", [3, 999], 1, "no tx at position 999"),
    ("blockchain.transaction.broadcast", ["zz"], 1, "hex"),
    ("blockchain.scripthash.unsubscribe", ["00" * 32], -32601, "unknown method"),  # since 1.4.2
    ("mempool.get_info", [], -32601, "unknown method"),  # since 1.6
    ("blockchain.estimatefee", [2, "CONSERVATIVE"], -32602, "arguments"),  # mode since 1.6
]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "params", "code", "text"), BAD, ids=[f"{m}{p}"[:60] for m, p, *_ in BAD])
async def test_refusals_have_their_codes(method: str, params: list[Any], code: int, text: str) -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.4")
        with pytest.raises(Refused) as refused:
            await wallet.call(method, *params)
        assert refused.value.code == code
        assert text in str(refused.value)
        assert await wallet.call("server.ping") is None
        wallet.close()


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


@pytest.mark.anyio
async def test_what_is_no_request() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        for line, code in ((b"{nonsense\n", -32700), (b"[]\n", -32600), (b'{"id":1}\n', -32600)):
            assert (await wallet.exchange(line))["error"]["code"] == code
        assert (await wallet.exchange(b'{"id":null,"method":"server.ping"}\n'))["id"] is None
        reply = await wallet.exchange(b"x" * 1_100_000 + b"\n")
        assert reply["error"]["code"] == -32600
        assert await wallet.ended()


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["1.5", "true", '"\\u2028 \\" x"', "123456789012345678901234567890", "-7", "null"])
async def test_whatever_scalar_names_a_request_names_its_answer(text: str) -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        wanted = json.loads(text)
        for body in ('"method":"server.ping"', '"method":"server.ping","params":null', '"method":5', '"params":[]'):
            reply = await wallet.exchange(f'{{"id":{text},{body}}}\n'.encode())
            assert (reply["id"], type(reply["id"])) == (wanted, type(wanted))
            assert bool(reply.get("error")) == (body != '"method":"server.ping"')
        for odd in ("[1]", '{"a":1}', "1e999"):
            reply = await wallet.exchange(f'{{"id":{odd},"method":"server.ping"}}\n'.encode())
            assert (reply["id"], reply["error"]["code"]) == (None, -32600)
        wallet.close()


@pytest.mark.anyio
async def test_members_of_a_batch_that_are_wrong_do_not_take_others_with_them() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        line = (
            b'[1,null,[],{"id":3},{"id":4,"method":"nope"},{"id":5,"method":"server.ping"},{"method":"nope"},'
            b'{"method":"server.ping"},{"id":6,"method":"blockchain.block.header","params":{"height":99999}},'
            b'{"id":7,"method":"server.ping","params":7}]\n'
        )
        replies = await wallet.exchange(line)
        codes = [(reply["id"], (reply.get("error") or {}).get("code")) for reply in replies]
        wrong: list[tuple[int | None, int | None]] = [(None, -32600)] * 3 + [(3, -32600), (4, -32601), (5, None)]
        assert codes == [*wrong, (6, 1), (7, -32600)]
        wallet.close()


@pytest.mark.anyio
async def test_notifications_are_not_answered_but_charged() -> None:
    async with world(network="mainnet", cost_soft_limit=50, cost_hard_limit=100) as w:
        wallet = await Wallet.connect(w.port)
        notes = [b'{"method":"server.ping"}\n', b'{"method":"nope"}\n', b'{"method":"server.ping","params":[1,2]}\n']
        reply = await wallet.exchange(b"".join(notes) + b'{"id":9,"method":"server.ping"}\n')
        assert (reply["id"], reply.get("error")) == (9, None)
        with suppress(ConnectionError):
            reply = await wallet.exchange(b'{"method":"nope"}\n' * 400)
            assert reply.get("error", {"code": -101})["code"] == -101
            assert await wallet.ended()


@pytest.mark.anyio
async def test_numbers_that_are_too_large_and_long_nonsense_are_refused_in_few_words() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        far, sh = 1 << 70, name(SCRIPT)
        questions: list[tuple[str, list[Any]]] = [
            ("blockchain.block.header", [far]),
            ("blockchain.scripthash.get_history", [sh, 0, far]),
            ("blockchain.scripthash.get_history", [sh, far]),
            ("blockchain.scripthash.get_balance", ["0" * 900_000]),
            ("blockchain.scripthash.get_balance", [{"a": ["b" * 900_000]}]),
            ("nope" * 200_000, []),
        ]
        for method, params in questions:
            with pytest.raises(Refused) as refused:
                await wallet.call(method, *params)
            assert refused.value.code in (1, -32601), method
            assert len(str(refused.value)) < 400
        assert await wallet.call("blockchain.scripthash.get_history", sh, 0, 1 << 62)
        wallet.close()


@pytest.mark.anyio
async def test_an_old_client_is_answered_in_its_own_dialect() -> None:
    async with world() as w:
        wallet = Wallet(*await _open(w.port))
        reply = await wallet.exchange(b'{"id":1,"method":"server.version","params":["x","1.4"]}\n')
        assert set(reply) == {"id", "result", "error"}
        reply = await wallet.exchange(b'{"id":2,"method":"blockchain.block.header","params":[77]}\n')
        assert (reply["result"], reply["error"]["code"]) == (None, 1)
        wallet.close()


@pytest.mark.anyio
async def test_while_the_chain_is_between_two_states_nobody_is_answered() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        await wallet.call("blockchain.headers.subscribe")
        w.manager.hold()
        w.grow()
        w.storage.undo()
        w.blocks.pop()
        w.view.chain_undone(w.storage.height, set())
        asking = asyncio.create_task(wallet.call("blockchain.headers.get_tip"))
        await asyncio.sleep(0.05)
        assert not asking.done()
        w.manager.release()
        assert (await asking)["height"] == 11
        wallet.close()


@pytest.mark.anyio
async def test_when_that_takes_long_requests_are_refused_and_then_answered_again() -> None:
    clock = VirtualClock()
    async with world(clock=clock) as w:
        wallet, batch = await Wallet.connect(w.port), await Wallet.connect(w.port)
        w.manager.hold()
        asking = asyncio.create_task(wallet.call("blockchain.headers.get_tip"))
        many = asyncio.create_task(batch.exchange(b'[{"id":1,"method":"server.ping"}]\n'))
        await asyncio.sleep(0.05)
        assert not asking.done()
        await clock.advance(6)
        w.manager.look_after()
        with pytest.raises(Refused, match="server busy - the chain is being reorganised"):
            await asking
        assert [reply["error"]["code"] for reply in await many] == [-102]
        w.manager.release()
        assert (await wallet.call("blockchain.headers.get_tip"))["height"] == 11
        wallet.close()
        batch.close()


def test_random_chains_are_repeatable() -> None:
    assert random_chain(random.Random(1), 3, 3) == random_chain(random.Random(1), 3, 3)
