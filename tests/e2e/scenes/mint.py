"""Blocks on demand: found as soon as something waits for one, unless a story makes a transaction, or a chain, wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import httpx

from twinlock.seams import Clock
from twinlock.simnet.node import COIN_ATOMS, Node, NodeError


class Mint:
    """Mines on every chain, so deep that whatever waited is final. depth: confirmations that make it so."""

    def __init__(self, nodes: Mapping[str, Node], clock: Clock, depth: int, pace: float) -> None:
        self._nodes = nodes
        self._clock = clock
        self._depth = depth
        self._pace = pace
        self._locks = {symbol: asyncio.Lock() for symbol in nodes}
        self._held: defaultdict[str, set[str]] = defaultdict(set)

    @asynccontextmanager
    async def closed(self, *symbols: str) -> AsyncIterator[None]:
        """Meanwhile nobody else adds blocks to these chains."""
        for symbol in sorted(symbols):
            await self._locks[symbol].acquire()
        try:
            yield
        finally:
            for symbol in symbols:
                self._locks[symbol].release()

    async def hold(self, symbol: str, txid: str) -> None:
        """No block takes this transaction, as if it paid too little for a crowded chain."""
        self._held[symbol].add(txid)
        await self._nodes[symbol].rpc("prioritisetransaction", txid, 0, -COIN_ATOMS)

    async def release(self, symbol: str, txid: str) -> None:
        """Blocks take it again."""
        self._held[symbol].discard(txid)
        await self._nodes[symbol].rpc("prioritisetransaction", txid, 0, COIN_ATOMS)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for symbol in self._nodes:
                group.create_task(self._work(symbol))

    async def _work(self, symbol: str) -> None:
        node, owed = self._nodes[symbol], 0
        while True:
            await self._clock.sleep(self._pace)
            # A node that is down, or still starting, is asked again at the next turn.
            with suppress(httpx.TransportError, NodeError):
                async with self.closed(symbol):
                    if set(await node.mempool()) - self._held[symbol]:
                        owed = self._depth
                    if owed:
                        await node.mine()
                        owed -= 1
