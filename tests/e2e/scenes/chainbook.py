"""What one chain holds, read block by block from its node without any index of ours, and kept up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from twinlock.simnet.node import COIN_ATOMS, Node, NodeError

ATTEMPTS = 5
"""How often a chain is read again that changes meanwhile."""


class ChainBook:
    """Every transaction in a block since `first`. Amounts are atoms, coins ``txid:index``."""

    def __init__(self, node: Node, first: int) -> None:
        self._node = node
        self._first = first
        self._blocks: list[tuple[str, list[Any]]] = []
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read what is new, and forget what a reorganisation took away."""
        async with self._reading:
            for left in reversed(range(ATTEMPTS)):
                try:
                    await self._read()
                    break
                except NodeError:  # another story may take blocks away while they are read
                    if not left:
                        raise

    async def _read(self) -> None:
        height = await self._node.height()
        while self._blocks and await self._moved(height):
            self._blocks.pop()
        for each in range(self._first + len(self._blocks), height + 1):
            block = await self._node.rpc("getblock", await self._node.rpc("getblockhash", each), 2)
            self._blocks.append((block["hash"], block["tx"]))

    async def _moved(self, height: int) -> bool:
        last = self._first + len(self._blocks) - 1
        return last > height or await self._node.rpc("getblockhash", last) != self._blocks[-1][0]

    def transactions(self) -> Iterator[Any]:
        """Oldest first, as the node shows them."""
        for _, transactions in self._blocks:
            yield from transactions

    def find(self, txid: str) -> Any | None:
        """The transaction, if a block holds it."""
        return next((tx for tx in self.transactions() if tx["txid"] == txid), None)

    def fee(self, txid: str) -> int:
        """What a transaction in a block paid to the miners."""
        tx = self.find(txid)
        assert tx is not None, f"{self._node.symbol}: {txid} is in no block"
        paid = sum(self.value(f"{each['txid']}:{each['vout']}") for each in tx["vin"])
        return paid - sum(_atoms(out) for out in tx["vout"])

    def value(self, coin: str) -> int:
        """What an output in a block is worth."""
        txid, index = coin.split(":")
        tx = self.find(txid)
        assert tx is not None, f"{self._node.symbol}: {txid} is in no block"
        return _atoms(tx["vout"][int(index)])

    def spender(self, coin: str) -> Any | None:
        """The transaction in a block that spends an output."""
        wanted = tuple(coin.split(":"))
        for tx in self.transactions():
            if any((each.get("txid"), str(each.get("vout"))) == wanted for each in tx["vin"]):
                return tx
        return None

    def lifted(self, txid: str) -> list[Any]:
        """A transaction in a block, then the children made to pay for it, which have nothing else to spend."""
        tx = self.find(txid)
        assert tx is not None, f"{self._node.symbol}: {txid} is in no block"
        child = self.spender(f"{txid}:0")
        lone = child is not None and len(child["vin"]) == len(child["vout"]) == 1
        return [tx, *(self.lifted(child["txid"]) if child is not None and lone else [])]


def witness_of(tx: Any, coin: str) -> list[str]:
    """What a transaction shows in order to spend a coin, in hexadecimal."""
    txid, index = coin.split(":")
    return next(each["txinwitness"] for each in tx["vin"] if (each["txid"], each["vout"]) == (txid, int(index)))


def _atoms(out: Any) -> int:
    return int(out["value"] * COIN_ATOMS)
