"""The slow oracle: chain and mempool as a node's own JSON tells them, kept in the most obvious way.

Nothing of ours reads a block here, so that a mistake in our reading shows. Scripts and hashes are hex as people write
them; values are atoms.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple

from twinlock.simnet.node import COIN_ATOMS, Node, NodeError

Row = dict[str, Any]
Point = tuple[str, int]


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def electrum_hash(script: str) -> str:
    """A script's name on the wire."""
    return sha256(bytes.fromhex(script)).digest()[::-1].hex()


def branch_and_root(leaves: list[str], position: int) -> tuple[list[str], str]:
    """The published algorithm, level by level."""
    level, branch = [bytes.fromhex(leaf)[::-1] for leaf in leaves], []
    while len(level) > 1:
        level += level[-1:] if len(level) % 2 else []
        branch.append(level[position ^ 1][::-1].hex())
        level = [sha256d(level[n] + level[n + 1]) for n in range(0, len(level), 2)]
        position //= 2
    return branch, level[0][::-1].hex()


class Tx(NamedTuple):
    """A transaction's bytes (hex), and what it spends and pays as far as scripts are concerned."""

    txid: str
    raw: str
    spends: list[Point]
    pays: dict[int, tuple[str, int]]


class Block(NamedTuple):
    """A block of the best chain, and which scripts it touches."""

    hash: str
    root: str
    txs: list[Tx]
    scripts: set[str]


class Oracle:
    """Follows a node by `look`, then knows what every script's answers must be."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.chain: list[Block] = []
        self.mempool: dict[str, Tx] = {}
        self.scripts: set[str] = set()
        """All that were ever paid, also in blocks and transactions that are gone."""

        self._fees: dict[str, int] = {}
        self._outputs: dict[Point, tuple[str, int]] = {}

    @property
    def height(self) -> int:
        return len(self.chain) - 1

    async def look(self) -> None:
        """Follow the node."""
        while self.chain and self.chain[-1].hash != await self._hash_at(self.height):
            self.chain.pop()
        following = await self._hash_at(self.height + 1)
        while following:
            block = await self._node.rpc("getblock", following, 2)
            # The first block's coins cannot be spent, and no server shows them.
            txs = [self._take(tx, spendable=bool(self.chain)) for tx in block["tx"]]
            scripts = {script for tx in txs for script in self._touched(tx)}
            self.chain.append(Block(block["hash"], block["merkleroot"], txs, scripts))
            following = block.get("nextblockhash", "")
        txids = await self._node.mempool()
        raws = [await self._node.rpc("getrawtransaction", txid, True) for txid in txids]
        self.mempool = {raw["txid"]: self._take(raw) for raw in raws}
        entries = [await self._node.rpc("getmempoolentry", txid) for txid in txids]
        self._fees = {t: int(e["fees"]["base"] * COIN_ATOMS) for t, e in zip(txids, entries, strict=True)}

    async def _hash_at(self, height: int) -> str:
        try:
            return str(await self._node.rpc("getblockhash", height))
        except NodeError:
            return ""

    def _take(self, tx: Any, spendable: bool = True) -> Tx:
        pays: dict[int, tuple[str, int]] = {}
        for output in tx["vout"] if spendable else ():
            script = output.get("scriptPubKey", {}).get("hex")  # one inside the extension block has none
            if script is not None and not script.startswith(("6a", "006a")):
                pays[output["n"]] = self._outputs[tx["txid"], output["n"]] = script, int(output["value"] * COIN_ATOMS)
                self.scripts.add(script)
        return Tx(tx["txid"], tx["hex"], [(each["txid"], each["vout"]) for each in tx["vin"] if "txid" in each], pays)

    def _touched(self, tx: Tx) -> set[str]:
        return {script for script, _ in tx.pays.values()} | {self._outputs[point][0] for point in tx.spends}

    def _of_chain(self, script: str) -> list[tuple[int, Tx]]:
        return [
            (height, tx)
            for height, block in enumerate(self.chain)
            if script in block.scripts
            for tx in block.txs
            if script in self._touched(tx)
        ]

    def _waiting(self, script: str) -> list[tuple[int, Tx]]:
        """The mempool's transactions in the protocol's order, each with its height, 0 or -1."""
        rows = [
            (-1 if any(txid in self.mempool for txid, _ in tx.spends) else 0, tx)
            for tx in self.mempool.values()
            if script in self._touched(tx)
        ]
        return sorted(rows, key=lambda row: (-row[0], row[1].txid))

    def history(self, script: str) -> list[Row]:
        waiting = [{"height": h, "tx_hash": tx.txid, "fee": self._fees[tx.txid]} for h, tx in self._waiting(script)]
        return [{"height": height, "tx_hash": tx.txid} for height, tx in self._of_chain(script)] + waiting

    def status(self, script: str) -> str | None:
        rows = self._of_chain(script) + self._waiting(script)
        text = "".join(f"{tx.txid}:{height}:" for height, tx in rows)
        return sha256(text.encode()).hexdigest() if text else None

    def unspent(self, script: str) -> list[Row]:
        """In the history's order."""
        chain, waiting = self._of_chain(script), self._waiting(script)
        gone = {point for _, tx in chain + waiting for point in tx.spends}
        return [
            {"height": max(height, 0), "tx_hash": tx.txid, "tx_pos": number, "value": value}
            for height, tx in chain + waiting
            for number, (paid, value) in sorted(tx.pays.items())
            if paid == script and (tx.txid, number) not in gone
        ]

    def balance(self, script: str) -> dict[str, int]:
        return {
            "confirmed": self._sum(self._of_chain(script), script),
            "unconfirmed": self._sum(self._waiting(script), script),
        }

    def _sum(self, rows: list[tuple[int, Tx]], script: str) -> int:
        paid = sum(value for _, tx in rows for to, value in tx.pays.values() if to == script)
        spent = (self._outputs[point] for _, tx in rows for point in tx.spends)
        return paid - sum(value for owner, value in spent if owner == script)

    def proof(self, height: int, position: int) -> Row:
        """What `get_merkle` has to answer; it is proven here that it leads to the header."""
        block = self.chain[height]
        branch, root = branch_and_root([tx.txid for tx in block.txs], position)
        assert root == block.root
        return {"block_height": height, "merkle": branch, "pos": position}

    def header_proof(self, height: int, cp_height: int) -> tuple[list[str], str]:
        """Branch and root over the hashes of the blocks up to a checkpoint."""
        return branch_and_root([block.hash for block in self.chain[: cp_height + 1]], height)
