"""Blocks on demand: found as soon as something waits for one, unless a story makes a transaction, or a chain, wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from twinlock.seams import Clock
from twinlock.simnet.node import Node, NodeError

_NOBODY = "raw(51)"


class Mint:
    """Mines on every chain, so deep that whatever waited is final. depth: confirmations that make it so.

    picky: contracts and what spends them wait until a story lets them in.
    """

    def __init__(self, nodes: Mapping[str, Node], clock: Clock, depth: int, pace: float, *, picky: bool) -> None:
        self._nodes = nodes
        self._clock = clock
        self._depth = depth
        self._pace = pace
        self._picky = picky
        self._locks = {symbol: asyncio.Lock() for symbol in nodes}
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        self._let_in: defaultdict[str, set[str]] = defaultdict(set)
        self._known: dict[str, Any] = {}

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

    def hold(self, symbol: str, txid: str) -> None:
        """No block takes this transaction, as if it paid too little for a crowded chain."""
        self._held[symbol].add(txid)

    def release(self, symbol: str, txid: str) -> None:
        """Blocks take it again."""
        self._held[symbol].discard(txid)

    def let_in(self, symbol: str, contract: str) -> None:
        """A picky mint takes this contract (``txid:index``) from now on."""
        self._let_in[symbol].add(contract.split(":")[0])

    def let_in_spender(self, symbol: str, contract: str) -> None:
        """A picky mint takes whatever spends this contract from now on."""
        self._let_in[symbol].add(contract)

    async def spender(self, symbol: str, coin: str) -> str | None:
        """What waits in the mempool to spend a coin."""
        for txid in await self._nodes[symbol].mempool():
            with suppress(NodeError):  # it may have left by now
                if coin in _spends(await self._transaction(symbol, txid)):
                    return txid
        return None

    async def arrived(self, symbol: str, txid: str) -> None:
        """Return when the mempool has the transaction."""
        while txid not in await self._nodes[symbol].mempool():
            await self._clock.sleep(0.05)

    async def family(self, symbol: str, txid: str) -> list[str]:
        """A transaction that waits, after its parents and before its children."""
        node = self._nodes[symbol]
        above = await node.rpc("getmempoolancestors", txid, True)
        below = await node.rpc("getmempooldescendants", txid, True)
        parents = sorted(above, key=lambda each: int(above[each]["ancestorcount"]))
        children = sorted(below, key=lambda each: int(below[each]["ancestorcount"]))
        return [*parents, txid, *children]

    async def mine(self, symbol: str, *transactions: str) -> str:
        """A block with just these (IDs, or raw bytes in hexadecimal), parents first; its hash. The mint must be closed.

        Raises NodeError where they cannot be in a block.
        """
        return str((await self._nodes[symbol].rpc("generateblock", _NOBODY, list(transactions)))["hash"])

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for symbol in self._nodes:
                group.create_task(self._work(symbol))

    async def _work(self, symbol: str) -> None:
        owed = 0
        while True:
            await self._clock.sleep(self._pace)
            # A node that is down, or still starting, is asked again at the next turn.
            with suppress(OSError, NodeError):
                async with self.closed(symbol):
                    ready = await self._ready(symbol)
                    owed = self._depth if ready else owed
                    if owed:
                        await self.mine(symbol, *ready)
                        owed -= 1

    async def _ready(self, symbol: str) -> list[str]:
        """What the next block takes, parents first."""
        waiting = await self._nodes[symbol].rpc("getrawmempool", True)
        ready: list[str] = []
        for txid in sorted(waiting, key=lambda each: int(waiting[each]["ancestorcount"])):
            if set(waiting[txid]["depends"]) <= set(ready) and await self._takes(symbol, txid):
                ready.append(txid)
        return ready

    async def _takes(self, symbol: str, txid: str) -> bool:
        if txid in self._held[symbol]:
            return False
        if not self._picky or txid in self._let_in[symbol]:
            return True
        tx = await self._transaction(symbol, txid)
        return not _of_swaps(tx) or bool(_spends(tx) & self._let_in[symbol])

    async def _transaction(self, symbol: str, txid: str) -> Any:
        if txid not in self._known:
            self._known[txid] = await self._nodes[symbol].rpc("getrawtransaction", txid, True)
        return self._known[txid]


def _spends(tx: Any) -> set[str]:
    return {f"{each['txid']}:{each['vout']}" for each in tx["vin"]}


def _of_swaps(tx: Any) -> bool:
    """Contracts pay to a script and, unlike bonds, say nothing; what spends one shows it last."""
    kinds = [out["scriptPubKey"]["type"] for out in tx["vout"]]
    pays = kinds[0] == "witness_v0_scripthash" and "nulldata" not in kinds
    return pays or any(len(each.get("txinwitness", ())) >= 4 for each in tx["vin"])
