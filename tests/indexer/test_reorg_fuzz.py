"""Random payments and reorganisations on real nodes: after each step every answer is the slow oracle's.

On Litecoin the extension block (MWEB) is active: coins are pegged in and out in blocks that are then replaced.
`TWINLOCK_SOAK` makes the story long; `TWINLOCK_SEED` repeats the one that a failure names.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.oracle import Oracle, electrum_hash
from tests.indexer.test_on_nodes import running, settled
from tests.indexer.wire import Wallet

from twinlock.simnet.node import KINDS, Node, NodeError
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node]

SOAK = "TWINLOCK_SOAK" in os.environ
RESTARTS, STEPS = (12, 25) if SOAK else (3, 9)
SEED = int(os.environ.get("TWINLOCK_SEED") or (random.SystemRandom().randrange(2**32) if SOAK else 20))

MWEB_HEIGHT = 1440
WITH_MWEB = {
    "btc": KINDS["btc"],
    # Signalling for the extension block begins at 1152; two periods of 144 blocks later it is in force.
    "ltc": replace(KINDS["ltc"], arguments=(f"-vbparams=mweb:0:0:{MWEB_HEIGHT - 288}:100000",)),
}
PROVEN = 12
"""Newest blocks of which every transaction's proof is asked for."""


class Story:
    """Random things happen to a chain. `lowest`: no block below is undone."""

    def __init__(self, node: Node, rnd: random.Random) -> None:
        self.node = node
        self._rnd = rnd
        self.addresses: list[str] = []
        self.happened: list[str] = []
        self._sealed = ""
        self._undone: list[str] = []
        self._replaced: list[str] = []
        self.lowest = 0

    async def begin(self) -> None:
        self.addresses = [await self._new() for _ in range(6)]
        for address in self.addresses:
            await self.node.fund(address, 50_000_000)
        if self.node.symbol == "ltc":
            await self.node.mine(MWEB_HEIGHT - 1 - await self.node.height())
            await self.node.rpc("createwallet", "sealed")
            self._sealed = await self.node.rpc("getnewaddress", "", "mweb", wallet="sealed")
            await self._peg_in()
        await self.node.mine(2)
        self.lowest = await self.node.height()

    async def step(self) -> None:
        events = [self._pay, self._pay, self._mine, self._reorg, self._reorg, self._shrink, self._back, self._bump]
        if self._sealed:
            events += [self._peg_in, self._peg_out, self._move_inside, self._peg_and_reorg]
        else:
            events += [self._mine_some, self._mine_replaced]
        event = self._rnd.choice(events)
        self.happened.append(event.__name__)
        await event()

    async def _new(self) -> str:
        return str(await self.node.rpc("getnewaddress", wallet="miner"))

    async def _generate(self, count: int) -> None:
        """To another receiver each time, lest the very blocks that were just rejected are mined again."""
        if count > 0:
            await self.node.rpc("generatetoaddress", count, await self._new())

    async def _pay(self) -> None:
        for _ in range(self._rnd.randint(1, 3)):
            amount = f"{Decimal(self._rnd.randint(10_000, 900_000)) / 10**8:.8f}"
            where = self._rnd.choice(self.addresses)
            with suppress(NodeError):  # after many reorganisations the miner's coins may all wait for something
                await self.node.rpc("sendtoaddress", where, amount, "", "", False, True, wallet="miner")

    async def _bump(self) -> None:
        """A payment is replaced by one with a higher fee."""
        for txid in self._rnd.sample(waiting := sorted(await self.node.mempool()), min(3, len(waiting))):
            raw = await self.node.rpc("getrawtransaction", txid)
            with suppress(NodeError):  # not ours, or already built upon
                await self.node.rpc("bumpfee", txid, wallet="miner")
                self._replaced.append(raw)

    async def _mine(self) -> None:
        await self._generate(self._rnd.randint(1, 3))

    async def _mine_some(self) -> None:
        """A block leaves a part of the mempool out."""
        free = [t for t in sorted(await self.node.mempool()) if not (await self._entry(t))["depends"]]
        some = self._rnd.sample(free, len(free) // 2)
        await self.node.rpc("generateblock", await self._new(), some)

    async def _entry(self, txid: str) -> Any:
        return await self.node.rpc("getmempoolentry", txid)

    async def _mine_replaced(self) -> None:
        """What had been replaced in the mempool is in a block after all."""
        if self._replaced:
            with suppress(NodeError):  # its rival is in a block
                await self.node.rpc("generateblock", await self._new(), [self._replaced.pop()])

    async def _undo(self, deepest: int) -> int:
        height = await self.node.height()
        depth = self._rnd.randint(1, max(1, min(deepest, height - self.lowest)))
        self._undone.append(await self.node.rpc("getblockhash", height - depth + 1))
        await self.node.invalidate(self._undone[-1])
        return depth

    async def _reorg(self) -> None:
        depth = await self._undo(self._rnd.choice((1, 2, 5, 12)))
        if self._rnd.random() < 0.5:
            await self._pay()
        await self._generate(depth + self._rnd.randint(-1, 2))

    async def _shrink(self) -> None:
        """The chain is shorter, and nothing takes the place of what is gone."""
        if await self.node.height() > self.lowest:
            await self._undo(3)

    async def _back(self) -> None:
        """A branch that was rejected is good again; if it is the longer one it wins."""
        if self._undone:
            await self.node.rpc("reconsiderblock", self._undone.pop(self._rnd.randrange(len(self._undone))))

    async def _peg_in(self) -> None:
        for _ in range(self._rnd.randint(1, 2)):
            with suppress(NodeError):
                await self.node.fund(self._sealed, self._rnd.randint(20_000_000, 90_000_000))

    async def _peg_out(self) -> None:
        for _ in range(self._rnd.randint(1, 3)):
            with suppress(NodeError):  # its coins wait for a block, or were undone with one
                await self.node.rpc("sendtoaddress", self._rnd.choice(self.addresses), "0.01", wallet="sealed")

    async def _move_inside(self) -> None:
        with suppress(NodeError):
            inside = await self.node.rpc("getnewaddress", "", "mweb", wallet="sealed")
            await self.node.rpc("sendtoaddress", inside, "0.02", wallet="sealed")

    async def _peg_and_reorg(self) -> None:
        await self._peg_in()
        await self._generate(1)
        await self._peg_out()
        await self._move_inside()
        await self._generate(1)
        await self._undo(2)
        await self._generate(self._rnd.randint(1, 3))


@pytest.mark.parametrize("symbol", WITH_MWEB)
@pytest.mark.timeout(7200 if SOAK else 180)
async def test_every_answer_is_the_oracles_after_every_step(
    symbol: str, program: Callable[[str], Path], tmp_path: Path
) -> None:
    program(KINDS[symbol].program)
    print(f"TWINLOCK_SEED={SEED}")  # noqa: T201 - seen where the test fails
    rnd = random.Random(SEED)
    async with Processes(tmp_path / "logs") as processes:
        node = Node(symbol, tmp_path / "node", processes, WITH_MWEB[symbol])
        await node.start()
        story, oracle = Story(node, rnd), Oracle(node)
        await story.begin()
        for restart in range(RESTARTS):
            # A small limit makes runs of the oldest blocks while the story goes on.
            files = restart % 3 != 1  # else as if the node were on another machine
            settings = {"reorg_limit": 40, "use_block_files": files, "poll_ms": 20}
            async with running(node, tmp_path / "index", **settings) as (controller, port):
                wallet = await Wallet.connect(port, ["1.4", "1.6"])
                await wallet.call("blockchain.headers.subscribe")
                known: dict[str, str | None] = {}
                for step in range(STEPS):
                    await story.step()
                    await settled(controller, node)
                    await oracle.look()
                    where = f"{symbol}, seed {SEED}, start {restart}, step {step}: {story.happened[-5:]}"
                    assert not controller.troubles.now, where
                    await check_scripts(wallet, oracle, known, where)
                    await check_proofs(wallet, oracle, rnd, where)
                wallet.close()
    if symbol == "ltc":
        assert any(len(block.txs[-1].pays) > 1 for block in oracle.chain[MWEB_HEIGHT:]), "something was pegged out"


async def check_scripts(wallet: Wallet, oracle: Oracle, known: dict[str, str | None], where: str) -> None:
    """What the wallet was told of each script, and what it is answered, is what the oracle has."""
    await wallet.call("server.ping")  # what was told before its answer has arrived with it
    for method, params in wallet.notes:
        if method == "blockchain.scripthash.subscribe":
            known[params[0]] = params[1]
    wallet.notes.clear()
    for script in sorted(oracle.scripts):
        name = electrum_hash(script)
        if name not in known:
            known[name] = await wallet.call("blockchain.scripthash.subscribe", name)
        assert known[name] == oracle.status(script), where
        assert await wallet.call("blockchain.scripthash.get_history", name) == oracle.history(script), where
        assert await wallet.call("blockchain.scripthash.listunspent", name) == oracle.unspent(script), where
        assert await wallet.call("blockchain.scripthash.get_balance", name) == oracle.balance(script), where


async def check_proofs(wallet: Wallet, oracle: Oracle, rnd: random.Random, where: str) -> None:
    """The newest blocks' transactions are given and proven to be where they are, and some header under the tip."""
    tip = await wallet.call("blockchain.headers.get_tip")
    assert tip["height"] == oracle.height, where
    for height in range(oracle.height - PROVEN, oracle.height + 1):
        block = oracle.chain[height]
        for position, tx in enumerate(block.txs):
            proof = await wallet.call("blockchain.transaction.get_merkle", tx.txid, height)
            assert proof == oracle.proof(height, position), where
            assert await wallet.call("blockchain.transaction.id_from_pos", height, position) == tx.txid, where
            assert await wallet.call("blockchain.transaction.get", tx.txid) == tx.raw, where
    for tx in oracle.mempool.values():
        assert await wallet.call("blockchain.transaction.get", tx.txid) == tx.raw, where
    height = rnd.randrange(oracle.height + 1)
    shown = await wallet.call("blockchain.block.header", height, oracle.height)
    assert (shown["branch"], shown["root"]) == oracle.header_proof(height, oracle.height), where
