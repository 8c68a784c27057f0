"""A chain that obeys its script: blocks on command, a mempool, reorgs. For tests and simulations; regtest coins only.

It is a plain model of a node with an index: what the mempool adds to the blocks is recomputed whenever something
changed, and all of it when blocks are taken away. Signatures are not checked, real nodes do that in other tests;
amounts, double spends, fees and lock times are.

>>> from twinlock.chain.coins import coin
>>> chain = SimulatedChain(coin("btc", "regtest"))
>>> chain.mine(101)
>>> txid = chain.pay(bytes.fromhex("0014") + bytes(20), 50_000)
>>> [entry.height for entry in chain.history(chain.tx(txid).outputs[0].script)]
[0]
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from hashlib import sha256

from twinlock.chain.coins import Coin
from twinlock.chain.header import Header, median_time_past
from twinlock.chain.merkle import merkle_branch, merkle_root
from twinlock.chain.script import is_unspendable, push, push_number
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import FINAL, Tx, TxIn, TxOut

from .errors import ElectrumError
from .methods import HistoryItem

ANYONE = b"\x51"
"""OP_TRUE: the chain's own money, which `pay` gives out."""

SUBSIDY = 50 * 100_000_000
BLOCK_SECONDS = 600
LOCK_TIME_IS_HEIGHT = 500_000_000
"""Lock times below this are heights (consensus)."""

_BITS = 0x207FFFFF
_GENESIS = {
    "btc": ("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b", 2),
    "ltc": ("97ddfbbae6be97fd6cdf3e7ca13232a3afff2353e29badfab7f73011edd4ced9", 0),
}
_GENESIS_TIME = 1_296_688_602


class RefusedError(ElectrumError):
    """The simulated node does not take a transaction; the message is what a real one would say."""

    code = "electrum.simulated.refused"


class SimulatedChain:
    """`listeners` are called after every change."""

    def __init__(self, coin: Coin) -> None:
        root, nonce = _GENESIS[coin.symbol]
        genesis = Header(1, bytes(32), bytes.fromhex(root)[::-1], _GENESIS_TIME, _BITS, nonce)
        assert genesis.hash_hex == coin.genesis_hash, "simulated chains are regtest chains"
        self.coin = coin
        self.headers = [genesis]
        self.blocks: list[list[Tx]] = [[]]
        self.mempool: dict[str, Tx] = {}
        self.listeners: list[Callable[[], None]] = []
        self._mined = 0
        self._of_blocks = _Index()
        self._index: _Index | None = None

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def median_time(self) -> int:
        """Seconds."""
        return median_time_past([header.time for header in self.headers])

    def mine(self, count: int = 1, *, to: bytes = ANYONE, seconds: int = BLOCK_SECONDS, empty: bool = False) -> None:
        """Add blocks, the first with all of the mempool unless `empty`, each so many seconds after the one before."""
        for _ in range(count):
            self._mined += 1
            txs = [] if empty else [tx for tx in self.mempool.values() if self._final(tx)]
            fees = sum(self._fee(tx) for tx in txs)
            height_script = push_number(self.height + 1) + push(self._mined.to_bytes(4, "little"))
            coinbase = Tx(1, (TxIn(bytes(32), FINAL, height_script),), (TxOut(SUBSIDY + fees, to),))
            block = [coinbase, *txs]
            before = self.headers[-1]
            root = merkle_root([tx.hash for tx in block])
            self.headers.append(Header(4, before.hash, root, before.time + seconds, _BITS, self._mined))
            self.blocks.append(block)
            for tx in txs:
                del self.mempool[tx.txid]
            self._index = None
        self._changed()

    def undo(self, count: int = 1) -> None:
        """Take blocks away; their transactions go back to the mempool, except what a coinbase paid for."""
        self._remove(count)
        self._changed()

    def reorg(self, depth: int, blocks: int | None = None, *, drop: tuple[str, ...] = ()) -> None:
        """Replace the last `depth` blocks by `blocks` others (one more, if None); `drop` are forgotten transactions."""
        self._remove(depth)
        for txid in drop:
            self.mempool.pop(txid, None)
        self._prune()
        self.mine(depth + 1 if blocks is None else blocks)

    def pay(self, script: bytes, value: int, *, fee: int = 1000) -> str:
        """Send chain money to a script; in the mempool when it returns. Needs a mature block of the chain's own."""
        index = self._indexed()
        ripe = [txs[0] for txs in self.blocks[: max(0, self.height - self.coin.maturity + 2)] if txs]
        points = (CoinPoint(tx.hash, 0) for tx in ripe if tx.outputs[0].script == ANYONE)
        change = (CoinPoint(tx.hash, 1) for tx in index.txs.values() if tx.lock_time == 0 and _is_payout(tx))
        for point in itertools.chain(points, change):
            out = index.outputs[point]
            if point not in index.spenders and out.value >= value + fee:
                outs = TxOut(value, script), TxOut(out.value - value - fee, ANYONE)
                return self.submit(Tx(2, (TxIn(point.tx_hash, point.index),), outs).serialize())
        raise RefusedError("the simulated chain has no ripe money; mine more blocks")

    def submit(self, raw: bytes) -> str:
        """Take a transaction into the mempool; known ones are fine. Raises RefusedError with a node's words."""
        tx = Tx.parse(raw)
        index = self._indexed()
        if tx.txid in self.mempool:
            return tx.txid
        if tx.txid in index.heights:
            raise RefusedError("Transaction outputs already in utxo set")
        spent_twice = len({txin.point for txin in tx.inputs}) < len(tx.inputs)
        if spent_twice or any(i.point not in index.outputs or i.point in index.spenders for i in tx.inputs):
            replaced = self._replaceable(tx)
            if spent_twice or replaced is None:
                raise RefusedError("bad-txns-inputs-missingorspent")
            self.mempool = {txid: old for txid, old in self.mempool.items() if txid not in replaced}
        if not self._final(tx):
            raise RefusedError("non-final")
        fee = sum(index.outputs[txin.point].value for txin in tx.inputs) - tx.total_out
        if fee < tx.vsize:
            raise RefusedError(f"min relay fee not met, {fee} < {tx.vsize}" if fee >= 0 else "bad-txns-in-belowout")
        self.mempool[tx.txid] = tx
        self._changed()
        return tx.txid

    def forget(self, txid: str) -> None:
        """Drop a mempool transaction and what spends it, as nodes do with one whose fee is too low."""
        del self.mempool[txid]
        self._prune()
        self._changed()

    def tx(self, txid: str) -> Tx:
        """Raises KeyError."""
        return self._indexed().txs[txid]

    def history(self, script: bytes) -> list[HistoryItem]:
        """In the protocol's order."""
        index = self._indexed()
        entries = index.touched.get(sha256(script).digest()[::-1].hex(), ())
        return index.sorted_history(entries, self._fee)

    def history_of(self, key: str) -> list[HistoryItem]:
        """The same by scripthash."""
        index = self._indexed()
        return index.sorted_history(index.touched.get(key, ()), self._fee)

    def unspent_of(self, key: str) -> list[tuple[CoinPoint, int, int]]:
        """(point, value, height) of a scripthash's unspent outputs, blocks first; height 0 in the mempool."""
        index = self._indexed()
        found = []
        for txid in index.touched.get(key, ()):
            tx = index.txs[txid]
            for place, out in enumerate(tx.outputs):
                point = CoinPoint(tx.hash, place)
                if sha256(out.script).digest()[::-1].hex() == key and point not in index.spenders:
                    found.append((point, out.value, index.heights.get(txid, 0)))
        return sorted(found, key=lambda each: (each[2] or 1 << 40, index.order[each[0].txid], each[0].index))

    def branch(self, txid: str, height: int) -> tuple[list[str], int] | None:
        """The Merkle branch (display hex) and place of a transaction in that block."""
        if not 0 < height <= self.height:
            return None
        hashes = [tx.hash for tx in self.blocks[height]]
        wanted = bytes.fromhex(txid)[::-1]
        if wanted not in hashes:
            return None
        place = hashes.index(wanted)
        return [node[::-1].hex() for node in merkle_branch(hashes, place)[0]], place

    def _remove(self, count: int) -> None:
        assert 0 < count <= self.height, "the genesis block stays"
        returned = [tx for block in self.blocks[-count:] for tx in block[1:]]
        del self.blocks[-count:], self.headers[-count:]
        self._of_blocks = _Index()
        self.mempool = {tx.txid: tx for tx in returned} | self.mempool
        self._prune()

    def _prune(self) -> None:
        """Forget mempool transactions whose inputs are gone, until none is left."""
        while True:
            self._index = None
            index = self._indexed()
            lost = [t for t, tx in self.mempool.items() if any(txin.point not in index.outputs for txin in tx.inputs)]
            if not lost:
                return
            for txid in lost:
                del self.mempool[txid]

    def _replaceable(self, tx: Tx) -> set[str] | None:
        """Mempool transactions that this one pays more than and so replaces (BIP 125), descendants included."""
        index = self._indexed()
        spenders = {index.spenders[txin.point] for txin in tx.inputs if txin.point in index.spenders}
        known = all(txin.point in index.outputs for txin in tx.inputs)
        if not known or any(t not in self.mempool for t in spenders):
            return None
        if any(all(txin.sequence >= FINAL - 1 for txin in self.mempool[t].inputs) for t in spenders):
            return None
        gone = set(spenders)
        for txid, other in self.mempool.items():
            if any(txin.point.txid in gone for txin in other.inputs):
                gone.add(txid)
        value_in = sum(index.outputs[txin.point].value for txin in tx.inputs)
        return gone if value_in - tx.total_out > sum(self._fee(self.mempool[t]) for t in gone) else None

    def _final(self, tx: Tx) -> bool:
        if tx.lock_time == 0 or all(txin.sequence == FINAL for txin in tx.inputs):
            return True
        return tx.lock_time < (self.height + 1 if tx.lock_time < LOCK_TIME_IS_HEIGHT else self.median_time())

    def _fee(self, tx: Tx) -> int:
        index = self._indexed()
        return sum(index.outputs[txin.point].value for txin in tx.inputs) - tx.total_out

    def _indexed(self) -> _Index:
        if self._index is None:
            for height in range(self._of_blocks.blocks, len(self.blocks)):
                self._of_blocks.add_block(self.blocks[height])
            self._index = self._of_blocks.with_mempool(self.mempool)
        return self._index

    def _changed(self) -> None:
        self._index = None
        for listener in self.listeners:
            listener()


class _Index:
    """What a node and an indexer know of the blocks so far, and of a mempool on top of them."""

    def __init__(self) -> None:
        self.blocks = 0
        self.txs: dict[str, Tx] = {}
        self.heights: dict[str, int] = {}
        self.order: dict[str, int] = {}
        self.outputs: dict[CoinPoint, TxOut] = {}
        self.spenders: dict[CoinPoint, str] = {}
        self.touched: dict[str, tuple[str, ...]] = {}

    def add_block(self, txs: list[Tx]) -> None:
        for tx in txs:
            txid = tx.txid
            self._add(tx, txid)
            self.heights[txid] = self.blocks
        self.blocks += 1

    def with_mempool(self, mempool: dict[str, Tx]) -> _Index:
        """A copy that knows these too, by their IDs."""
        copy = _Index()
        copy.blocks = self.blocks
        copy.txs, copy.heights, copy.order = self.txs.copy(), self.heights.copy(), self.order.copy()
        copy.outputs, copy.spenders, copy.touched = self.outputs.copy(), self.spenders.copy(), self.touched.copy()
        for txid, tx in mempool.items():
            copy._add(tx, txid)
        return copy

    def _add(self, tx: Tx, txid: str) -> None:
        tx_hash = bytes.fromhex(txid)[::-1]
        self.txs[txid] = tx
        self.order[txid] = len(self.order)
        scripts = set()
        for place, out in enumerate(tx.outputs):
            self.outputs[CoinPoint(tx_hash, place)] = out
            scripts.add(out.script)
        for point in (txin.point for txin in tx.inputs):
            if point in self.outputs:
                self.spenders[point] = txid
                scripts.add(self.outputs[point].script)
        for script in scripts:
            if not is_unspendable(script):
                key = sha256(script).digest()[::-1].hex()
                self.touched[key] = (*self.touched.get(key, ()), txid)

    def sorted_history(self, txids: Sequence[str], fee: Callable[[Tx], int]) -> list[HistoryItem]:
        mined = [HistoryItem(t, self.heights[t]) for t in txids if t in self.heights]
        waiting = [
            HistoryItem(t, -1 if self._unsafe(self.txs[t]) else 0, fee(self.txs[t]))
            for t in txids
            if t not in self.heights
        ]
        return mined + sorted(waiting, key=lambda item: (-item.height, item.tx_hash))

    def _unsafe(self, tx: Tx) -> bool:
        """Whether it spends what no block holds yet."""
        return any(txin.point.txid not in self.heights for txin in tx.inputs)


def _is_payout(tx: Tx) -> bool:
    return len(tx.outputs) == 2 and tx.outputs[1].script == ANYONE
