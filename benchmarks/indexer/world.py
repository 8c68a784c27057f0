"""The chain that is measured, on a node, in a folder: made once, and the same for every part of the benchmark."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.indexer.chain import ChainMaker
from benchmarks.indexer.servers import Node

from twinlock.chain.coins import Network, coin


class World:
    """A chain of so many blocks and transactions. `maker` knows what is in it, and makes the blocks that follow."""

    def __init__(self, folder: Path, blocks: int, txs: int) -> None:
        self.folder = folder / f"{txs}-in-{blocks}"
        self.blocks = blocks
        self._made = self.folder / "maker.pickle"
        self.maker = ChainMaker(coin("btc", Network.REGTEST).genesis_hash, blocks, txs)

    async def make(self) -> None:
        """Make the chain and give it to the node, unless the folder has it already."""
        if not self._made.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            node = Node(self.folder / "node")
            await node.start()
            await node.give(self.maker.blocks())
            await node.stop()
            self._made.write_bytes(pickle.dumps(self.maker))
        self.maker = self._restored()

    def _restored(self) -> ChainMaker:
        maker = pickle.loads(self._made.read_bytes())
        assert isinstance(maker, ChainMaker)
        return maker

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        """The node, running. What is added to its chain stays; see `copy`."""
        node = Node(self.folder / "node")
        await node.start()
        try:
            yield node
        finally:
            await node.stop()

    @asynccontextmanager
    async def copy(self) -> AsyncIterator[tuple[Node, ChainMaker]]:
        """A node whose chain may grow, and who makes its blocks; both are forgotten afterwards."""
        place = self.empty("copy")
        shutil.copytree(self.folder / "node", place)
        node = Node(place)
        await node.start()
        try:
            yield node, self._restored()
        finally:
            await node.stop()
            shutil.rmtree(place)

    def empty(self, name: str) -> Path:
        """The path of a folder that does not exist."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path
