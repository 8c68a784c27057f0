"""Mempool: the node's unconfirmed transactions, seen by script.

A transaction is held only while every output that it spends is known, in the chain or in the mempool: what
cannot be resolved (the node is ahead of us, or a parent is on its way) is left out and tried again. Litecoin's
transactions that stay inside the MWEB extension are held too, for their fees; they touch no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from twinlock.indexer.daemon import Daemon, DaemonError, DaemonGoneError, hash_of, unhex
from twinlock.indexer.storage.seam import Index, Output, Touched
from twinlock.kernels.scan import ScanError, ScannedTx, hashx, scan_tx, unspendable

_BATCH = 200
_BIN = 30_000
"""Virtual bytes of the histogram's first step."""

Outpoint = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class MemTx:
    """An unconfirmed transaction. `hash` in internal order, `fee` in atoms, `vsize` in virtual bytes."""

    hash: bytes
    inputs: tuple[tuple[Outpoint, Output], ...]
    outputs: Mapping[int, Output]
    fee: int
    vsize: int

    @property
    def scripts(self) -> set[bytes]:
        """The scripts that it touches."""
        return {output.hashx for _, output in self.inputs} | {output.hashx for output in self.outputs.values()}


class Found(NamedTuple):
    """A transaction that the node gave. `fee` (atoms) and `vsize` are the node's words where they cannot be seen."""

    tx: ScannedTx
    fee: int | None = None
    vsize: int | None = None


class Mempool:
    """All unconfirmed transactions, their outputs and what they spend."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.txs: dict[bytes, MemTx] = {}
        self._spent: dict[Outpoint, bytes] = {}
        self._by_script: dict[bytes, set[bytes]] = {}
        self._sizes: dict[int, int] = {}  # virtual bytes by rate, tenths of an atom per virtual byte
        self._histogram: list[tuple[float, int]] | None = None

    async def refresh(self, daemon: Daemon, listed: Iterable[str]) -> set[bytes]:
        """Bring the pool to the node's list (display hex). Returns the scripts whose view changed."""
        wanted = {hash_of(txid) for txid in listed}
        missing = [tx_hash for tx_hash in wanted if tx_hash not in self.txs]
        found: dict[bytes, Found] = {}
        for start in range(0, len(missing), _BATCH):
            found.update(await fetch(daemon, missing[start : start + _BATCH]))
        touched: set[bytes] = set()
        for tx_hash in [tx_hash for tx_hash in self.txs if tx_hash not in wanted]:
            touched |= self.remove(tx_hash)
        return touched | self.add(found)

    async def change(self, daemon: Daemon, news: Mapping[str, bool]) -> set[bytes]:
        """Take in what the node said of single transactions (display hex): True entered, False left."""
        entered = [bytes.fromhex(txid)[::-1] for txid, added in news.items() if added]
        found = await fetch(daemon, [tx_hash for tx_hash in entered if tx_hash not in self.txs])
        touched: set[bytes] = set()
        for txid, added in news.items():
            tx_hash = bytes.fromhex(txid)[::-1]
            if not added and tx_hash in self.txs:
                touched |= self.remove(tx_hash)
        return touched | self.add(found)

    def add(self, found: Mapping[bytes, Found]) -> set[bytes]:
        """Take in transactions, parents first whatever their order; fees that the caller knows go before ours."""
        touched: set[bytes] = set()
        waiting = {
            tx_hash: item
            for tx_hash, item in found.items()
            if tx_hash not in self.txs and self._index.find(tx_hash) is None  # late news of one that is confirmed
        }
        while waiting:
            resolved = {}
            for tx_hash, item in waiting.items():
                if (tx := self._resolve(tx_hash, *item)) is not None:
                    resolved[tx_hash] = tx
                    touched |= self._insert(tx)
            if not resolved:
                break
            waiting = {tx_hash: item for tx_hash, item in waiting.items() if tx_hash not in resolved}
        return touched

    def _resolve(self, tx_hash: bytes, scanned: ScannedTx, fee: int | None, vsize: int | None) -> MemTx | None:
        inputs = []
        for prev, vout in scanned.inputs:
            parent = self.txs.get(prev)
            output = parent.outputs.get(vout) if parent else self._index.output(prev, vout)
            if output is None:
                return None
            inputs.append(((prev, vout), output))
        if any(point in self._spent for point, _ in inputs):
            return None  # in conflict with one that the node has dropped, or will
        outputs = {
            number: Output(hashx(script), value)
            for number, (value, script) in enumerate(scanned.outputs)
            if not unspendable(script)
        }
        if fee is None:
            fee = sum(output.value for _, output in inputs) - sum(value for value, _ in scanned.outputs)
        return MemTx(tx_hash, tuple(inputs), outputs, max(fee, 0), scanned.vsize if vsize is None else vsize)

    def _insert(self, tx: MemTx) -> set[bytes]:
        self.txs[tx.hash] = tx
        self._weigh(tx, tx.vsize)
        for point, _ in tx.inputs:
            self._spent[point] = tx.hash
        for script in tx.scripts:
            self._by_script.setdefault(script, set()).add(tx.hash)
        return tx.scripts

    def _weigh(self, tx: MemTx, size: int) -> None:
        if not size:  # it takes no room in a block
            return
        rate = 10 * tx.fee // tx.vsize
        self._sizes[rate] = self._sizes.get(rate, 0) + size
        if not self._sizes[rate]:
            del self._sizes[rate]
        self._histogram = None

    def remove(self, tx_hash: bytes) -> set[bytes]:
        """Drop one. Its children's scripts count as touched: their heights may change from -1 to 0."""
        tx = self.txs.pop(tx_hash)
        self._weigh(tx, -tx.vsize)
        touched = tx.scripts
        for point, _ in tx.inputs:
            self._spent.pop(point, None)
        for script in tx.scripts:
            members = self._by_script[script]
            members.discard(tx_hash)
            if not members:
                del self._by_script[script]
        for vout in tx.outputs:
            child = self.txs.get(self._spent.get((tx_hash, vout), b""))
            if child:
                touched |= child.scripts
        return touched

    def confirm(self, block: Touched) -> set[bytes]:
        """Drop what a block holds, and what conflicts with it together with all descendants."""
        touched: set[bytes] = set()
        if not self.txs:
            return touched
        for tx_hash in block.tx_hashes:
            if tx_hash in self.txs:
                touched |= self.remove(tx_hash)
        for point in block.spent:
            if loser := self._spent.get(point):
                touched |= self._remove_with_children(loser)
        return touched

    def _remove_with_children(self, tx_hash: bytes) -> set[bytes]:
        touched: set[bytes] = set()
        stack = [tx_hash]
        while stack:
            tx = self.txs.get(stack.pop())
            if tx is not None:
                stack += [self._spent[tx.hash, vout] for vout in tx.outputs if (tx.hash, vout) in self._spent]
                touched |= self.remove(tx.hash)
        return touched

    def clear(self) -> set[bytes]:
        """Forget everything: the chain under it was undone."""
        touched = set(self._by_script)
        self.txs.clear()
        self._spent.clear()
        self._by_script.clear()
        self._sizes.clear()
        self._histogram = None
        return touched

    # -- what wallets ask

    def history(self, script: bytes) -> list[tuple[str, int, int]]:
        """(txid, height 0 or -1, fee) in the protocol's order: 0 first, then by txid as text."""
        rows = [
            (tx_hash[::-1].hex(), self.height(self.txs[tx_hash]), self.txs[tx_hash].fee)
            for tx_hash in self._by_script.get(script, ())
        ]
        rows.sort(key=lambda row: (-row[1], row[0]))
        return rows

    def height(self, tx: MemTx) -> int:
        """-1 when an input is unconfirmed, else 0."""
        return -1 if any(prev in self.txs for (prev, _), _ in tx.inputs) else 0

    def touches(self, script: bytes) -> bool:
        """Whether any unconfirmed transaction concerns the script."""
        return script in self._by_script

    def delta(self, script: bytes) -> int:
        """Unconfirmed receipts less unconfirmed spendings, atoms."""
        total = 0
        for tx_hash in self._by_script.get(script, ()):
            tx = self.txs[tx_hash]
            total += sum(output.value for output in tx.outputs.values() if output.hashx == script)
            total -= sum(output.value for _, output in tx.inputs if output.hashx == script)
        return total

    def spender(self, tx_hash: bytes, vout: int) -> bytes | None:
        """The unconfirmed transaction that spends an outpoint."""
        return self._spent.get((tx_hash, vout))

    def spends(self, script: bytes) -> list[Outpoint]:
        """The outpoints paying the script that unconfirmed transactions spend."""
        return [
            point
            for tx_hash in self._by_script.get(script, ())
            for point, output in self.txs[tx_hash].inputs
            if output.hashx == script
        ]

    def unspent(self, script: bytes) -> list[tuple[bytes, int, int]]:
        """(transaction hash, output number, value) of unconfirmed coins of the script, in the order of `history`."""
        return [
            (tx_hash, vout, output.value)
            for tx_hash in (bytes.fromhex(txid)[::-1] for txid, _, _ in self.history(script))
            for vout, output in self.txs[tx_hash].outputs.items()
            if output.hashx == script and (tx_hash, vout) not in self._spent
        ]

    def newest(self, count: int) -> list[MemTx]:
        """The transactions that came last, the last one first."""
        return list(islice(reversed(self.txs.values()), count))

    def histogram(self) -> list[tuple[float, int]]:
        """The fee histogram: (sat/vB, virtual bytes), rates falling."""
        if self._histogram is None:
            self._histogram = [(rate / 10, size) for rate, size in compact_histogram(self._sizes)]
        return self._histogram


async def fetch(daemon: Daemon, hashes: Sequence[bytes]) -> dict[bytes, Found]:
    """Raw transactions from the node, scanned; those that it no longer has are left out."""
    texts = [tx_hash[::-1].hex() for tx_hash in hashes]
    raws = await daemon.batch([("getrawtransaction", (txid,)) for txid in texts])
    found: dict[bytes, Found] = {}
    for tx_hash, raw in zip(hashes, raws, strict=True):
        if isinstance(raw, DaemonError):
            continue
        try:
            scanned = scan_tx(unhex(raw))
        except ScanError:
            continue
        if scanned.hash != tx_hash and not scanned.sealed:
            raise DaemonGoneError("the node sent another transaction than the one asked for")
        found[tx_hash] = Found(scanned)
    # Part of what these move and pay lies in the MWEB extension.
    hidden = [tx_hash for tx_hash, item in found.items() if item.tx.mweb]
    entries = await daemon.batch([("getmempoolentry", (tx_hash[::-1].hex(),)) for tx_hash in hidden])
    for tx_hash, entry in zip(hidden, entries, strict=True):
        if isinstance(entry, DaemonError):
            del found[tx_hash]  # it has just left
        else:
            found[tx_hash] = Found(found[tx_hash].tx, *_fee_and_size(entry))
    return found


def _fee_and_size(entry: Any) -> tuple[int, int]:
    try:
        return round(float(entry["fees"]["base"]) * 100_000_000), int(entry["vsize"])
    except (KeyError, TypeError, ValueError) as error:
        raise DaemonGoneError("the node does not say a transaction's fee and size") from error


def compact_histogram(sizes: Mapping[int, int], bin_size: float = _BIN) -> list[tuple[int, int]]:
    """Sum virtual bytes by falling rate into bins that grow by a tenth each.

    A rate with more than two bins' worth stands alone: what was gathered before it is given under the rate
    before. The rest that fills no bin is dropped. (The custom of Electrum servers, which wallets are tuned to.)

    >>> compact_histogram({5: 10, 4: 25, 3: 100, 2: 5}, bin_size=20)
    [(4, 35), (3, 100)]
    """
    rows: list[tuple[int, int]] = []
    gathered, previous = 0, None
    for rate in sorted(sizes, reverse=True):
        size = sizes[rate]
        if size > 2 * bin_size and gathered > 0 and previous is not None:
            rows.append((previous, gathered))
            gathered = 0
            bin_size *= 1.1
        gathered += size
        if gathered > bin_size:
            rows.append((rate, gathered))
            gathered = 0
            bin_size *= 1.1
        previous = rate
    return rows
