"""The indexer on real nodes: kills, restarts, deep reorganisations, a node that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.oracle import Oracle, electrum_hash
from tests.indexer.wire import Refused, Wallet

from twinlock.indexer.controller import Controller, WrongChainError
from twinlock.indexer.env import Env, Service
from twinlock.seams import SeededEntropy, SystemClock
from twinlock.simnet import services
from twinlock.simnet.node import KINDS, Node
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node]


@asynccontextmanager
async def world(symbol: str, folder: Path) -> AsyncIterator[tuple[Node, Processes]]:
    async with Processes(folder / "logs") as processes:
        node = Node(symbol, folder / "node", processes)
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
    controller = Controller(env, SystemClock(), SeededEntropy(1))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(controller.run(ready.set_result))
    try:
        await asyncio.wait_for(ready, 30)
        yield controller, port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def paid_scripts(node: Node) -> list[str]:
    """Some scripts (hex), each of which waits for a payment's confirmation."""
    addresses = [await node.rpc("getnewaddress") for _ in range(6)]
    for address in addresses:
        await node.fund(address, 50_000_000)
    return [str((await node.rpc("getaddressinfo", address))["scriptPubKey"]) for address in addresses]


async def settled(controller: Controller, node: Node) -> None:
    """Wait until the indexer has the node's tip and mempool."""
    for _ in range(500):
        best = await node.rpc("getbestblockhash")
        mempool = {bytes.fromhex(txid)[::-1] for txid in await node.mempool()}
        if controller.processor.tip == best and controller.mempool.txs.keys() == mempool and not controller.shared.held:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the indexer does not follow")


@pytest.mark.parametrize("symbol", KINDS)
async def test_proofs_fold_to_the_headers_root(symbol: str, program: Callable[[str], Path], tmp_path: Path) -> None:
    program(KINDS[symbol].program)
    async with world(symbol, tmp_path) as (node, _):
        scripts = await paid_scripts(node)
        await node.mine(2)
        async with running(node, tmp_path / "index") as (controller, port):
            await settled(controller, node)
            wallet = await Wallet.connect(port, "1.6")
            for script in scripts:
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
        scripts, oracle = await paid_scripts(node), Oracle(node)
        await node.mine(210)
        indexer = services.indexer(node, tmp_path / "index", processes)
        await indexer.start()
        run = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "index" / "run-1").iterdir()}
        for round_ in range(5):
            wallet = await Wallet.connect(indexer.port)
            told = start = (await wallet.call("blockchain.headers.subscribe"))["height"]
            mining = asyncio.create_task(node.mine(1 + round_))
            while told < start + round_:  # the first time it has told of no new block yet, the last time of most
                told = (await wallet.note())[1][0]["height"]
            await indexer.kill()
            wallet.close()
            await mining
            await indexer.start()
            await oracle.look()
            wallet = await Wallet.connect(indexer.port)
            for script in scripts:
                status = await wallet.call("blockchain.scripthash.subscribe", electrum_hash(script))
                assert status == oracle.status(script)
            wallet.close()
        assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "index" / "run-1").iterdir()} == run
        assert indexer.process
        assert await indexer.process.stop() == 0, "it ends by itself when it is told to"


async def test_a_reorganisation_deeper_than_the_limit_builds_the_index_anew(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _):
        scripts, oracle = await paid_scripts(node), Oracle(node)
        await node.mine(20)
        async with running(node, tmp_path / "index", reorg_limit=5) as (controller, port):
            wallet = await Wallet.connect(port)
            await wallet.call("blockchain.headers.subscribe")
            height = await node.height()
            await node.invalidate(await node.rpc("getblockhash", height - 14))
            await node.rpc("generatetoaddress", 16, await node.rpc("getnewaddress"))
            await settled(controller, node)
            await oracle.look()
            for script in scripts:
                status = await wallet.call("blockchain.scripthash.subscribe", electrum_hash(script))
                assert status == oracle.status(script)
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
        script = (await node.rpc("getaddressinfo", address))["scriptPubKey"]
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
            await Controller(env, SystemClock(), SeededEntropy(1)).run(lambda _: None)


async def test_a_broadcast_is_in_the_wallets_view_at_once(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    async with world("btc", tmp_path) as (node, _), running(node, tmp_path / "index") as (_, port):
        wallet = await Wallet.connect(port, "1.6")
        address = await node.rpc("getnewaddress")
        script = (await node.rpc("getaddressinfo", address))["scriptPubKey"]
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
