"""The indexer on real nodes: random payments and reorganisations against a slow oracle, kills and restarts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.wire import Refused, Wallet

from twinlock.indexer.controller import Controller, WrongChainError
from twinlock.indexer.env import Env, Service
from twinlock.indexer.storage.memory import MemoryStorage
from twinlock.kernels.scan import ScannedTx, hashx, scan_block, scan_tx
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.simnet import services
from twinlock.simnet.node import KINDS, Node, NodeError
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node]


class Oracle:
    """The chain and mempool as the node tells them, kept in the most obvious way."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.chain = MemoryStorage()
        self.scripts: set[bytes] = set()
        self._mempool: dict[str, ScannedTx] = {}

    async def look(self) -> None:
        """Follow the node."""
        while self.chain.height >= 0 and self._tip() != await self._hash_at(self.chain.height):
            self.chain.undo()
        for height in range(self.chain.height + 1, await self._node.height() + 1):
            raw = bytes.fromhex(await self._node.rpc("getblock", await self._hash_at(height), 0))
            self.chain.append(bytes.fromhex(await self._hash_at(height))[::-1], scan_block(raw))
        txids = await self._node.mempool()
        raws = [await self._node.rpc("getrawtransaction", txid) for txid in txids]
        self._mempool = {txid: scan_tx(bytes.fromhex(raw)) for txid, raw in zip(txids, raws, strict=True)}

    def _tip(self) -> str:
        return self.chain.block_hash(self.chain.height)[::-1].hex()

    async def _hash_at(self, height: int) -> str:
        try:
            return str(await self._node.rpc("getblockhash", height))
        except NodeError:
            return ""

    def _output(self, tx_hash: bytes, vout: int) -> tuple[bytes, int]:
        parent = self._mempool.get(tx_hash[::-1].hex())
        if parent:
            value, script = parent.outputs[vout]
            return hashx(script), value
        output = self.chain.output(tx_hash, vout)
        assert output is not None
        return output.hashx, output.value

    def status(self, script: bytes) -> str | None:
        rows = [(tx[::-1].hex(), height) for tx, height in self.chain.history(script)]
        waiting = []
        for txid, tx in self._mempool.items():
            touched = {hashx(code) for _, code in tx.outputs} | {self._output(*point)[0] for point in tx.inputs}
            if script in touched:
                parents = any(prev[::-1].hex() in self._mempool for prev, _ in tx.inputs)
                waiting.append((txid, -1 if parents else 0))
        rows += sorted(waiting, key=lambda row: (-row[1], row[0]))
        text = "".join(f"{txid}:{height}:" for txid, height in rows)
        return sha256(text.encode()).hexdigest() if text else None

    def balance(self, script: bytes) -> dict[str, int]:
        change = 0
        for tx in self._mempool.values():
            change += sum(value for value, code in tx.outputs if hashx(code) == script)
            change -= sum(value for name, value in (self._output(*point) for point in tx.inputs) if name == script)
        return {"confirmed": self.chain.balance(script), "unconfirmed": change}


@asynccontextmanager
async def world(symbol: str, folder: Path) -> AsyncIterator[tuple[Node, Processes]]:
    async with Processes(folder / "logs") as processes:
        node = Node(symbol, folder / "node", processes, SystemClock())
        await node.start()
        yield node, processes


@asynccontextmanager
async def running(node: Node, folder: Path, **settings: Any) -> AsyncIterator[tuple[Controller, int]]:
    """An indexer inside this process."""
    port = free_ports(1)[0]
    env = Env(
        coin=node.symbol,
        network="regtest",
        daemon_url=node.url,
        data_dir=folder,
        services=(Service("tcp", "127.0.0.1", port),),
        **settings,
    )
    controller = Controller(env, SystemClock(), SystemEntropy())
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(controller.run(ready.set_result))
    try:
        await asyncio.wait_for(ready, 30)
        yield controller, port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Story:
    """Random things happen to a chain."""

    def __init__(self, node: Node, rnd: random.Random) -> None:
        self._node = node
        self._rnd = rnd
        self.scripts: dict[str, bytes] = {}

    async def begin(self) -> None:
        for _ in range(6):
            address = await self._node.rpc("getnewaddress")
            info = await self._node.rpc("getaddressinfo", address)
            self.scripts[address] = bytes.fromhex(info["scriptPubKey"])
        for address in self.scripts:
            await self._node.fund(address, 50_000_000)

    async def step(self) -> None:
        event = self._rnd.choice(("pay", "pay", "pay", "mine", "reorg", "shrink"))
        if event == "pay":
            for _ in range(self._rnd.randint(1, 3)):
                await self._node.fund(self._rnd.choice(list(self.scripts)), self._rnd.randint(10_000, 900_000))
        elif event == "mine":
            await self._node.mine(self._rnd.randint(1, 3))
        else:
            height = await self._node.height()
            depth = self._rnd.randint(1, 5)
            first = await self._node.rpc("getblockhash", height - depth + 1)
            if event == "reorg":
                await self._node.fund(self._rnd.choice(list(self.scripts)), 77_777)
            await self._node.invalidate(first)
            count = depth + self._rnd.randint(-1, 2) if event == "reorg" else 1
            # Another receiver, lest the very blocks that were just rejected are mined again.
            await self._node.rpc("generatetoaddress", count, await self._node.rpc("getnewaddress"))


async def settled(controller: Controller, node: Node) -> None:
    """Wait until the indexer has the node's tip and mempool."""
    for _ in range(500):
        best = await node.rpc("getbestblockhash")
        mempool = {bytes.fromhex(txid)[::-1] for txid in await node.mempool()}
        if (
            controller.processor.tip == best
            and controller.mempool.txs.keys() == mempool
            and not controller.sessions.held
        ):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the indexer does not follow")


def electrum_hash(script: bytes) -> str:
    return sha256(script).digest()[::-1].hex()


@pytest.mark.parametrize("symbol", KINDS)
async def test_every_status_is_right_after_every_step(
    symbol: str, program: Callable[[str], Path], tmp_path: Path
) -> None:
    program(KINDS[symbol].program)
    rnd = random.Random(11)
    async with world(symbol, tmp_path) as (node, _):
        story, oracle = Story(node, rnd), Oracle(node)
        await story.begin()
        for restart in range(3):
            # A small limit makes runs of the oldest blocks while the story goes on.
            files = restart != 1  # once as if the node were on another machine
            async with running(node, tmp_path / "index", reorg_limit=40, use_block_files=files) as (controller, port):
                wallet = await Wallet.connect(port, ["1.4", "1.6"])
                known = {}
                for script in story.scripts.values():
                    name = electrum_hash(script)
                    known[name] = await wallet.call("blockchain.scripthash.subscribe", name)
                await wallet.call("blockchain.headers.subscribe")
                for step in range(12):
                    await story.step()
                    await settled(controller, node)
                    await oracle.look()
                    await check(wallet, oracle, story, known, f"{symbol} {restart}.{step}")
                wallet.close()


async def check(wallet: Wallet, oracle: Oracle, story: Story, known: dict[str, str | None], where: str) -> None:
    """What the wallet was told, and what it is answered, is what the oracle has."""
    await wallet.call("server.ping")  # what was told before its answer has arrived with it
    for method, params in wallet.notes:
        if method == "blockchain.scripthash.subscribe":
            known[params[0]] = params[1]
    wallet.notes.clear()
    for script in story.scripts.values():
        name, key = electrum_hash(script), hashx(script)
        assert known[name] == oracle.status(key), where
        history = await wallet.call("blockchain.scripthash.get_history", name)
        text = "".join(f"{row['tx_hash']}:{row['height']}:" for row in history)
        assert sha256(text.encode()).hexdigest() == known[name] if text else known[name] is None
        balance = await wallet.call("blockchain.scripthash.get_balance", name)
        assert balance == oracle.balance(key), where
        coins = await wallet.call("blockchain.scripthash.listunspent", name)
        assert sum(coin["value"] for coin in coins) == balance["confirmed"] + balance["unconfirmed"]


@pytest.mark.parametrize("symbol", KINDS)
async def test_proofs_fold_to_the_headers_root(symbol: str, program: Callable[[str], Path], tmp_path: Path) -> None:
    program(KINDS[symbol].program)
    async with world(symbol, tmp_path) as (node, _):
        story = Story(node, random.Random(1))
        await story.begin()
        await node.mine(2)
        async with running(node, tmp_path / "index") as (controller, port):
            await settled(controller, node)
            wallet = await Wallet.connect(port, "1.6")
            for script in story.scripts.values():
                for row in await wallet.call("blockchain.scripthash.get_history", electrum_hash(script)):
                    proof = await wallet.call("blockchain.transaction.get_merkle", row["tx_hash"], row["height"])
                    header = bytes.fromhex(await wallet.call("blockchain.block.header", row["height"]))
                    node_hash = bytes.fromhex(row["tx_hash"])[::-1]
                    for level, sibling in enumerate(proof["merkle"]):
                        other = bytes.fromhex(sibling)[::-1]
                        pair = other + node_hash if proof["pos"] >> level & 1 else node_hash + other
                        node_hash = sha256(sha256(pair).digest()).digest()
                    assert node_hash == header[36:68]
                    place = await wallet.call("blockchain.transaction.id_from_pos", row["height"], proof["pos"], True)
                    assert place == {"tx_hash": row["tx_hash"], "merkle": proof["merkle"]}
                    raw = await wallet.call("blockchain.transaction.get", row["tx_hash"])
                    where = await node.rpc("getblockhash", row["height"])
                    assert raw == await node.rpc("getrawtransaction", row["tx_hash"], False, where)
            wallet.close()


async def test_kill_at_any_time_needs_no_new_sync(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, processes):
        story, oracle = Story(node, random.Random(2)), Oracle(node)
        await story.begin()
        await node.mine(210)
        indexer = services.indexer(node, tmp_path / "index", processes)
        await indexer.start()
        run = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "index" / "run-1").iterdir()}
        for round_ in range(5):
            mining = asyncio.create_task(node.mine(1 + round_))
            await asyncio.sleep(0.01 * round_)  # at another moment of the block's way each time
            await indexer.kill()
            await mining
            await indexer.start()
            await oracle.look()
            wallet = await Wallet.connect(indexer.port)
            for script in story.scripts.values():
                status = await wallet.call("blockchain.scripthash.subscribe", electrum_hash(script))
                assert status == oracle.status(hashx(script))
            wallet.close()
        assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "index" / "run-1").iterdir()} == run
        started = asyncio.get_running_loop().time()
        await indexer.stop()
        assert asyncio.get_running_loop().time() - started < 1


async def test_a_reorganisation_deeper_than_the_limit_builds_the_index_anew(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _):
        story, oracle = Story(node, random.Random(4)), Oracle(node)
        await story.begin()
        await node.mine(20)
        async with running(node, tmp_path / "index", reorg_limit=5) as (controller, port):
            wallet = await Wallet.connect(port)
            await wallet.call("blockchain.headers.subscribe")
            height = await node.height()
            await node.invalidate(await node.rpc("getblockhash", height - 14))
            await node.rpc("generatetoaddress", 16, await node.rpc("getnewaddress"))
            await settled(controller, node)
            await oracle.look()
            for script in story.scripts.values():
                status = await wallet.call("blockchain.scripthash.subscribe", electrum_hash(script))
                assert status == oracle.status(hashx(script))
            tip = await wallet.call("blockchain.headers.get_tip")
            assert tip["height"] == height + 1
            assert wallet.notes[-1] == ("blockchain.headers.subscribe", [tip])
            wallet.close()


async def test_while_the_node_is_away_wallets_are_served_and_then_it_is_followed_again(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _), running(node, tmp_path / "index") as (controller, port):
        wallet = await Wallet.connect(port)
        tip = await wallet.call("blockchain.headers.subscribe")
        await node.stop()
        assert await wallet.call("blockchain.headers.get_tip") == tip
        with pytest.raises(Refused, match="daemon error") as refused:
            await wallet.call("blockchain.transaction.get", "00" * 32)
        assert refused.value.code == 2
        await node.start()
        await node.mine()
        await settled(controller, node)
        assert await wallet.note() == (
            "blockchain.headers.subscribe",
            [await wallet.call("blockchain.headers.get_tip")],
        )
        wallet.close()


@pytest.mark.parametrize("symbol", KINDS)
async def test_an_undone_payment_is_unconfirmed_and_never_gone(
    symbol: str, program: Callable[[str], Path], tmp_path: Path
) -> None:
    program(KINDS[symbol].program)
    async with world(symbol, tmp_path) as (node, _), running(node, tmp_path / "index") as (controller, port):
        address = await node.rpc("getnewaddress")
        script = bytes.fromhex((await node.rpc("getaddressinfo", address))["scriptPubKey"])
        name = electrum_hash(script)
        txid = await node.fund(address, 50_000)
        await node.mine(2)
        await settled(controller, node)
        asker, listener = await Wallet.connect(port), await Wallet.connect(port)
        await listener.call("blockchain.scripthash.subscribe", name)
        for _ in range(4):
            height = await node.height()
            undo = asyncio.create_task(node.invalidate(await node.rpc("getblockhash", height - 1)))
            while not undo.done() or controller.mempool.txs.keys() != {bytes.fromhex(txid)[::-1]}:
                rows = await asker.call("blockchain.scripthash.get_history", name)
                assert [row["tx_hash"] for row in rows] == [txid]
            await node.rpc("generatetoaddress", 2, await node.rpc("getnewaddress"))
            await settled(controller, node)
        await listener.call("server.ping")
        assert len(listener.notes) >= 8
        assert all(status is not None for _, (_, status) in listener.notes)
        asker.close()
        listener.close()


async def test_an_indexer_of_another_chain_says_so(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _):
        env = Env(coin="ltc", network="regtest", daemon_url=node.url, data_dir=tmp_path / "index")
        with pytest.raises(WrongChainError, match="the node's chain begins with"):
            await Controller(env, SystemClock(), SystemEntropy()).run(lambda _: None)


async def test_a_broadcast_is_in_the_wallets_view_at_once(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _), running(node, tmp_path / "index") as (_, port):
        wallet = await Wallet.connect(port, "1.6")
        address = await node.rpc("getnewaddress")
        script = bytes.fromhex((await node.rpc("getaddressinfo", address))["scriptPubKey"])
        raw = await node.rpc("createrawtransaction", [], {address: "0.5"})
        funded = (await node.rpc("fundrawtransaction", raw))["hex"]
        signed = (await node.rpc("signrawtransactionwithwallet", funded))["hex"]
        txid = await wallet.call("blockchain.transaction.broadcast", signed)
        history = await wallet.call("blockchain.scripthash.get_history", electrum_hash(script))
        assert [(row["tx_hash"], row["height"]) for row in history] == [(txid, 0)]
        assert history[0]["fee"] == round((await node.rpc("getmempoolentry", txid))["fees"]["base"] * 100_000_000)
        assert await wallet.call("blockchain.transaction.get", txid) == signed
        wallet.close()


async def test_a_transaction_is_found_while_its_block_is_news(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _), running(node, tmp_path / "index") as (controller, port):
        wallet = await Wallet.connect(port)
        txid = await node.fund(await node.rpc("getnewaddress"), 50_000)
        raw = await node.rpc("getrawtransaction", txid)
        await controller.refresh()
        async with controller._turn:  # the index hears of no block meanwhile
            await node.mine()
            asked = asyncio.create_task(wallet.call("blockchain.transaction.get", txid))
            await asyncio.wait({asked}, timeout=0.5)
        assert await asked == raw
        wallet.close()
