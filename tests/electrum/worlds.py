"""Two worlds with the same verbs: a simulated chain behind a simulated server, and a real node behind our indexer.

Whatever holds for a client in one must hold in the other, so the same tests run in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from twinlock.chain.address import script_to_address
from twinlock.chain.coins import Coin, coin
from twinlock.chain.keys import PrivateKey
from twinlock.chain.script import p2wpkh
from twinlock.chain.spend import Payment, build_payment, build_sweep, key_input
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import TxOut
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.view import ChainView
from twinlock.kernels.ripemd160 import hash160
from twinlock.seams import SeededEntropy, SystemClock
from twinlock.simnet import services
from twinlock.simnet.node import Node
from twinlock.simnet.processes import Processes

T = TypeVar("T")

PATIENCE_S = 20.0


class World(Protocol):
    """A chain with a server over it."""

    coin: Coin

    def view(self) -> ChainView: ...

    async def height(self) -> int: ...

    async def median_time(self) -> int: ...

    async def mine(self, blocks: int = 1) -> None: ...

    async def undo(self, blocks: int) -> None:
        """Take blocks away, so that the tip is lower."""
        ...

    async def pay(self, script: bytes, value: int) -> str:
        """From the miner, into the mempool; the txid."""
        ...

    async def pass_time(self, until: int) -> None:
        """Mine until the median time is later than this (s)."""
        ...

    async def restart(self) -> None:
        """End the server without warning and start it again."""
        ...


class SimulatedWorld:
    def __init__(self, symbol: str) -> None:
        self.coin = coin(symbol, "regtest")
        self.chain = SimulatedChain(self.coin)
        self.chain.mine(130)
        self.server = SimulatedServer(self.chain)

    def view(self) -> ChainView:
        return ChainView(
            self.coin,
            ["tcp://simulated:1"],
            clock=SystemClock(),
            entropy=SeededEntropy(1),
            dial=self.server.dial,
            patience=PATIENCE_S,
        )

    async def height(self) -> int:
        return self.chain.height

    async def median_time(self) -> int:
        return self.chain.median_time()

    async def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)

    async def undo(self, blocks: int) -> None:
        self.chain.undo(blocks)

    async def pay(self, script: bytes, value: int) -> str:
        return self.chain.pay(script, value)

    async def pass_time(self, until: int) -> None:
        while self.chain.median_time() <= until:
            self.chain.mine()

    async def restart(self) -> None:
        self.server.down = True
        await self.server.hang_up()
        self.server.down = False


class RealWorld:
    def __init__(self, node: Node, indexer: services.Service) -> None:
        self.coin = coin(node.symbol, "regtest")
        self.node = node
        self._indexer = indexer
        self._variant = 52

    def view(self) -> ChainView:
        server = f"tcp://127.0.0.1:{self._indexer.port}"
        return ChainView(self.coin, [server], clock=SystemClock(), entropy=SeededEntropy(1), patience=PATIENCE_S)

    async def height(self) -> int:
        return await self.node.height()

    async def median_time(self) -> int:
        return await self.node.median_time()

    async def mine(self, blocks: int = 1) -> None:
        # To another script than before, so that a block mined again after a reorg is never the one rejected.
        self._variant = 52 + self._variant % 8
        await self.node.rpc("generatetodescriptor", blocks, f"raw({self._variant})")

    async def undo(self, blocks: int) -> None:
        await self.node.invalidate(await self.node.rpc("getblockhash", await self.node.height() - blocks + 1))

    async def pay(self, script: bytes, value: int) -> str:
        address = script_to_address(self.coin, script)
        assert address is not None
        return await self.node.fund(address, value)

    async def pass_time(self, until: int) -> None:
        await self.node.pass_time(until)

    async def restart(self) -> None:
        await self._indexer.kill()
        await self._indexer.start()


@asynccontextmanager
async def real_world(symbol: str, folder: Path) -> AsyncIterator[RealWorld]:
    async with Processes(folder / "logs") as processes:
        node = Node(symbol, folder / symbol, processes)
        await node.start()
        indexer = services.indexer(node, folder / "index", processes)
        await indexer.start()
        yield RealWorld(node, indexer)


class Purse:
    """A key with its script, and the transactions that spend what it holds."""

    def __init__(self, world: World, secret: int) -> None:
        self._coin = world.coin
        self.key = PrivateKey(secret.to_bytes(32, "big"))
        self.script = p2wpkh(hash160(self.key.public))

    def spend(self, point: CoinPoint, value: int, to: bytes, amount: int, *, fee_rate: int = 2) -> Payment:
        source = key_input(point, value, self.script, self.key)
        return build_payment(self._coin, [source], [TxOut(amount, to)], self.script, fee_rate)

    def sweep(self, point: CoinPoint, value: int, to: bytes, *, fee_rate: int = 2) -> Payment:
        return build_sweep(self._coin, [key_input(point, value, self.script, self.key)], to, fee_rate)


async def eventually(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool], seconds: float = PATIENCE_S) -> T:
    """The first result for which `holds`; looks again and again. Raises AssertionError with the last one."""
    result = await look()
    try:
        async with asyncio.timeout(seconds):
            while not holds(result):
                await asyncio.sleep(0.02)
                result = await look()
    except TimeoutError:
        raise AssertionError(f"not in {seconds} s; at last: {result!r}") from None
    return result


def point(txid: str, index: int) -> CoinPoint:
    return CoinPoint(bytes.fromhex(txid)[::-1], index)
