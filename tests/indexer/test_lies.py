"""A node that lies, is on another chain or still loads: no wrong answer, a clear state, and no new sync afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from benchmarks.indexer.chain import ChainMaker, Payee
from tests.indexer.chains import branch
from tests.indexer.fake_node import FakeNode, hash_of
from tests.indexer.wire import Refused, Wallet

from twinlock.indexer.controller import Controller
from twinlock.indexer.env import Env, Service
from twinlock.seams import SeededEntropy, SystemClock
from twinlock.simnet.ports import free_ports

pytestmark = pytest.mark.anyio


def damaged(raw: str) -> str:
    """A block whose last transaction is another one."""
    data = bytearray.fromhex(raw)
    data[-1] ^= 1
    return data.hex()


def about(*methods: str, as_: Callable[[Any], Any]) -> Callable[[str, list[Any], Any], Any]:
    """A lie about these methods' answers."""
    return lambda method, _params, truth: as_(truth) if method in methods else truth


PAYEE, OTHER = (Payee(b"\0\x14" + bytes([n]) * 20, b"", b"\0") for n in range(2))
NAME = sha256(PAYEE.script).digest()[::-1].hex()


LIES = {
    "a block with another transaction": about("getblock", as_=damaged),
    "another block": about("getblock", as_=lambda _: FakeNode(3, 0).blocks[2].hex()),
    "half a block": about("getblock", as_=lambda raw: raw[: len(raw) // 4 * 2]),
    "a block with a transaction twice": about("getblock", as_=lambda raw: raw[:160] + "03" + raw[162:] + raw[162:]),
    "no block at all": about("getblock", as_=lambda _: "00"),
    "no hex": about("getblock", as_=lambda _: "what?"),
    "no text": about("getblock", as_=lambda _: 7),
    "too low": about("getblockheader", as_=lambda row: {**row, "height": 1, "previousblockhash": ""}),
    "no header": about("getblockheader", as_=lambda _: ["x"]),
    "no tip": about("getbestblockhash", as_=lambda _: None),
    "hashes that are none": about("getblockhash", "getbestblockhash", as_=lambda _: "zz"),
    "no mempool": about("getrawmempool", as_=lambda _: 5),
    "a mempool of nonsense": about("getrawmempool", as_=lambda _: ["ab", None]),
    "another transaction": about("getrawtransaction", as_=lambda _: FakeNode(101, 1).maker.pay(OTHER)[1].hex()),
    "no JSON": about("getrawmempool", "getblockheader", as_=lambda _: b"<html>"),
}


@asynccontextmanager
async def running(node: FakeNode, folder: Path) -> AsyncIterator[tuple[Controller, int]]:
    (port,) = free_ports(1)
    env = Env(
        coin="btc",
        network="regtest",
        daemon_url=node.url,
        data_dir=folder,
        services=(Service("tcp", "127.0.0.1", port),),
        reorg_limit=10,
        poll_ms=20,
    )
    controller = Controller(env, SystemClock(), SeededEntropy(1))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(controller.run(ready.set_result))
    try:
        await asyncio.wait_for(ready, 30)
        yield controller, port
        assert not task.done(), "nothing that a node says ends the program"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is on the far side of a socket
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_lies_are_not_believed_and_the_truth_is_taken_up_again(lie: str, tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        tip = await wallet.call("blockchain.headers.get_tip")
        serial = controller.storage._manifest.serial
        node.lie = LIES[lie]
        paid, raw = node.maker.pay(PAYEE)
        node.receive(raw)
        unconfirmed = lie in ("another transaction", "a mempool of nonsense")
        if not unconfirmed:
            node.blocks.append(node.maker.close([(paid, raw)]))
            node.mempool.clear()
        await until(lambda: bool(controller.troubles.now))
        expected = {"indexer.chain", "indexer.daemon.gone", "indexer.daemon.refused"}
        assert {trouble.code for trouble in controller.troubles.now} <= expected
        assert await wallet.call("blockchain.headers.get_tip") == tip
        assert await wallet.call("blockchain.scripthash.get_history", NAME) == []
        node.lie = None
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        height = 0 if unconfirmed else len(node.blocks) - 1
        history = await wallet.call("blockchain.scripthash.get_history", NAME)
        assert [(row["tx_hash"], row["height"]) for row in history] == [(paid[::-1].hex(), height)]
        assert controller.storage._manifest.serial == serial, "no new sync"
        wallet.close()
    node.stop()


@pytest.mark.parametrize("lie", ["another transaction", "no JSON", "no tip"])
async def test_a_transaction_that_was_sent_was_sent_whatever_the_node_says_next(lie: str, tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, _):
        paid, raw = node.maker.pay(PAYEE)
        node.lie = about("getrawtransaction", "getbestblockhash", as_=lambda _: b"<html>")
        if lie != "no JSON":
            node.lie = LIES[lie]
        txid = node.receive(raw)
        await controller.take_in(txid)
        await controller.take_in("what?")
        node.lie = None
        await until(lambda: paid in controller.mempool.txs)
    node.stop()


async def test_lies_during_the_first_sync_are_not_believed_either(tmp_path: Path) -> None:
    node = FakeNode()
    lies = iter([LIES["a block with another transaction"], LIES["another block"], LIES["no hex"]])
    asked = 0

    def some(method: str, params: list[Any], truth: Any) -> Any:
        nonlocal asked
        asked += method == "getblock"
        if method == "getblock" and asked in (30, 90, 160):
            return next(lies)(method, params, truth)
        return truth

    node.lie = some
    await node.start()
    async with running(node, tmp_path) as (controller, _):
        assert next(lies, None) is None, "all were told"
        assert controller.processor.tip == hash_of(node.blocks[-1])
        assert len(controller.storage._manifest.runs) == 1
    node.stop()


async def test_a_node_of_another_chain_or_one_that_still_loads_changes_nothing(tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        tip = await wallet.call("blockchain.headers.get_tip")
        ours = node.blocks
        other = ChainMaker("11" * 32, 140, 0)
        node.blocks = [bytes(80) + ours[0][80:], *other.blocks()]
        await until(lambda: "another chain" in controller.troubles.text)
        assert await wallet.call("blockchain.headers.get_tip") == tip
        node.blocks, node.loading = ours[:40], True  # it builds its own index anew
        await until(lambda: "still loading" in controller.troubles.text)
        assert await wallet.call("blockchain.headers.get_tip") == tip
        node.blocks, node.loading = [*ours, node.maker.close([])], False
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        assert len(controller.storage._manifest.runs) == 1, "no new sync"
        wallet.close()
    node.stop()


@pytest.mark.parametrize("lie", ["a block with another transaction", "another block", "no block at all"])
async def test_a_reorganisation_that_is_a_lie_keeps_nobody_waiting(lie: str, tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        tip = await wallet.call("blockchain.headers.subscribe")
        node.lie = LIES[lie]
        node.blocks = branch(node.blocks, 3, 5, 1)
        await until(lambda: bool(controller.troubles.now))
        assert not controller.shared.held
        assert await wallet.call("blockchain.headers.get_tip") == tip, "what was known before is served"
        node.lie = None
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        assert (await wallet.call("blockchain.headers.get_tip"))["height"] == tip["height"] + 2
        wallet.close()
    node.stop()


async def test_a_node_that_goes_away_in_the_middle_of_a_reorganisation(tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        tip = await wallet.call("blockchain.headers.subscribe")
        asked = 0

        def gone(method: str, _: list[Any], truth: Any) -> Any:
            nonlocal asked
            asked += method == "getblock"
            return b"<html>" if asked > 20 else truth  # by then some blocks are replaced

        node.lie = gone
        node.blocks = branch(node.blocks, 3, 60, 1)
        await until(lambda: bool(controller.troubles.now))
        assert controller.shared.held
        with pytest.raises(Refused, match="being reorganised"):
            await wallet.call("blockchain.headers.get_tip")
        node.lie = None
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        assert (await wallet.call("blockchain.headers.get_tip"))["height"] == tip["height"] + 57
        assert [note[1][0]["height"] for note in wallet.notes] == [tip["height"] + 57]
        wallet.close()
    node.stop()


async def test_an_operator_undoes_as_many_blocks_as_can_be_undone(tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        tip = await wallet.call("blockchain.headers.subscribe")
        assert await controller.undo(4) == 4
        assert 10 <= await controller.undo(1000) < 131
        assert not controller.shared.held
        assert await wallet.call("blockchain.headers.get_tip") == tip
        assert len(controller.storage._manifest.runs) == 1, "no new sync"
        wallet.close()
    node.stop()


def spoil(file: Path) -> None:
    """Flip a bit in a file that is in use."""
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    with file.open("r+b") as same:
        same.write(data)


async def test_what_rots_while_it_is_served_comes_from_the_node_again(tmp_path: Path) -> None:
    node = FakeNode()
    await node.start()
    async with running(node, tmp_path) as (controller, port):
        node.blocks += [node.maker.close([]) for _ in range(8)]
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and controller.storage.chore() is None)
        wallet = await Wallet.connect(port, "1.6")
        await wallet.call("blockchain.headers.subscribe")
        spoil(tmp_path / controller.storage._manifest.log)
        ours = node.blocks
        node.blocks = ours[:-12]  # some of these were merged; the log has the single ones
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.shared.held)
        assert controller.storage._era > 0, "it was found"
        node.blocks = [*ours, node.maker.close([])]
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        assert (await wallet.call("blockchain.headers.get_tip"))["height"] == len(node.blocks) - 1
        assert len(controller.storage._manifest.runs) == 1, "no new sync"
        wallet.close()
    node.stop()
