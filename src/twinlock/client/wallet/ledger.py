"""Where every atom of a wallet is. Pure: states of scripts go in, coins and balances come out.

The ledger knows whole transactions, those in the history of any script that it follows. An output of ours is a
coin until a transaction that it knows spends it, so an atom can be in one place only, and the sum over the places
is the sum of what the chain (mempool included) shows as unspent on our scripts, stakes included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from twinlock.chain.coins import Coin
from twinlock.chain.families import family_of
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxOut
from twinlock.client.wallet.keys import KeyPath
from twinlock.client.wallet.types import Balance, CoinState, Payment, Stake, StakeKind, WalletCoin
from twinlock.electrum.states import HistoryEntry

PEGOUT_MATURITY = 6
"""Blocks until what comes out of Litecoin's extension blocks may be spent (its consensus rules)."""


@dataclass(frozen=True)
class OwnCoin:
    """An unspent output of ours, with what is needed to spend it."""

    point: CoinPoint
    out: TxOut
    path: KeyPath
    height: int | None
    state: CoinState
    locked_for: str = ""


@dataclass(frozen=True)
class StakeTerms:
    """What the ledger was told of an output that holds our money, or held it until it was closed."""

    kind: StakeKind
    lock_time: int
    reference: str
    closed: bool = False


class Ledger:
    """tip_height decides what is mature; set it when the tip changes."""

    def __init__(self, coin: Coin) -> None:
        self._coin = coin
        self._family = family_of(coin)
        self._own: dict[bytes, tuple[KeyPath, str]] = {}
        self._outside: set[bytes] = set()
        self._stakes: dict[CoinPoint, StakeTerms] = {}
        self._locks: dict[CoinPoint, str] = {}
        self._histories: dict[bytes, tuple[HistoryEntry, ...]] = {}
        self._told: dict[str, dict[bytes, tuple[int, HistoryEntry]]] = {}
        self._revision = 0
        self._txs: dict[str, Tx] = {}
        self._entries: dict[str, HistoryEntry] = {}
        self._spenders: dict[CoinPoint, set[str]] = {}
        self._unspent: defaultdict[bytes, set[CoinPoint]] = defaultdict(set)
        """By script, ours or not, since it may become ours. What is spent is not here: a long history costs nothing."""
        self._coins: set[CoinPoint] = set()
        """Of these, the ones whose scripts are ours."""
        self._held: set[CoinPoint] = set()
        """Stakes that are not closed."""
        self.tip_height = 0

    # What it is told -----------------------------------------------------------------------------------

    def own(self, script: bytes, path: KeyPath, address: str, *, outside: bool = False) -> None:
        """Outputs with this script are ours. outside: only a signature from elsewhere can spend them."""
        self._own[script] = path, address
        self._coins |= self._unspent.get(script, set())
        if outside:
            self._outside.add(script)

    def stake(self, point: CoinPoint, terms: StakeTerms) -> None:
        """This output holds our money without being ours."""
        self._stakes[point] = terms
        (self._held.discard if terms.closed else self._held.add)(point)

    def lock(self, point: CoinPoint, reference: str) -> None:
        """Set an output aside, whether it is known yet or not; an empty reference: it may be chosen again."""
        if reference:
            self._locks[point] = reference
        else:
            self._locks.pop(point, None)

    def missing(self, history: Sequence[HistoryEntry]) -> list[str]:
        """Transactions that `update` will need."""
        return [entry.txid for entry in history if entry.txid not in self._txs]

    def update(self, script: bytes, history: Sequence[HistoryEntry], txs: Mapping[str, Tx]) -> None:
        """A script's history is now this; txs must hold what `missing` named. Costs what the history is long."""
        self._revision += 1
        now = {entry.txid: entry for entry in history}
        gone = [entry.txid for entry in self._histories.get(script, ()) if entry.txid not in now]
        self._histories[script] = tuple(history)
        for txid, entry in now.items():
            self._told.setdefault(txid, {})[script] = self._revision, entry
            if txid not in self._txs:
                self._add(txid, txs[txid])
        for txid in gone:
            del self._told[txid][script]
            if not self._told[txid]:
                self._drop(txid)
        for txid in (*now, *gone):
            if told := self._told.get(txid):
                # Histories of two scripts may be of different age for a moment: the younger one knows better.
                self._entries[txid] = max(told.values(), key=lambda each: each[0])[1]

    # What it tells -------------------------------------------------------------------------------------

    def knows(self, txid: str) -> bool:
        """Is the transaction in the history of one of our scripts?"""
        return txid in self._entries

    def path(self, script: bytes) -> KeyPath | None:
        """Where the key of a script of ours is; None if it is not ours."""
        own = self._own.get(script)
        return own[0] if own else None

    def address(self, script: bytes) -> str:
        """The address of a script of ours; empty if it is not ours."""
        own = self._own.get(script)
        return own[1] if own else ""

    def tx(self, txid: str) -> Tx | None:
        """A transaction in the history of one of our scripts."""
        return self._txs.get(txid) if txid in self._entries else None

    def height(self, txid: str) -> int | None:
        """The block of such a transaction; None in the mempool, and where it is not known."""
        entry = self._entries.get(txid)
        return entry.height if entry else None

    def spenders(self, point: CoinPoint) -> set[str]:
        """IDs of the transactions that spend an output; more than one only for a moment, after a replacement."""
        return set(self._spenders.get(point, ()))

    def lock_of(self, point: CoinPoint) -> str:
        """What an output is set aside for; empty if it is not."""
        return self._locks.get(point, "")

    def spent_depth(self, point: CoinPoint) -> int:
        """Confirmations of the transaction that spends an output; 0 if none does or it is in the mempool."""
        return max((self._depth(self._entries[spender]) for spender in self._spenders.get(point, ())), default=0)

    def coins(self) -> list[OwnCoin]:
        """Unspent outputs of ours, oldest first."""
        points: defaultdict[str, list[CoinPoint]] = defaultdict(list)
        for point in self._coins:
            points[point.txid].append(point)
        coins = []
        for entry, tx in self._in_order(txid for txid in points if txid in self._entries):
            trusted = entry.height is not None or self._all_ours(tx)
            for point in sorted(points[entry.txid], key=lambda each: each.index):
                out = tx.outputs[point.index]
                state = self._state(point, out, entry, tx, trusted)
                path = self._own[out.script][0]
                coins.append(OwnCoin(point, out, path, entry.height, state, self._locks.get(point, "")))
        return coins

    def wallet_coin(self, coin: OwnCoin) -> WalletCoin:
        """The same for the outside."""
        coin_id = self._family.coin_id(coin.point.txid, coin.point.index)
        address = self._own[coin.out.script][1]
        return WalletCoin(coin_id, coin.out.value, address, coin.height, coin.state, coin.locked_for)

    def stakes(self) -> list[Stake]:
        """Unspent stakes that the chain or the mempool holds."""
        found = []
        # A closed stake's script is watched no longer, so that its spender may be unknown here.
        for point in sorted(self._held):
            terms, entry = self._stakes[point], self._entries.get(point.txid)
            if entry is None or point in self._spenders:
                continue
            value = self._txs[point.txid].outputs[point.index].value
            coin_id = self._family.coin_id(point.txid, point.index)
            found.append(Stake(coin_id, terms.kind, value, terms.lock_time, terms.reference, entry.height))
        return found

    def balance(self) -> Balance:
        """Each atom once."""
        sums = dict.fromkeys(("available", "locked", "unconfirmed", "immature", "outside", "swap", "bond"), 0)
        for coin in self.coins():
            sums[coin.state] += coin.out.value
        for stake in self.stakes():
            sums[stake.kind] += stake.value
        return Balance(
            available=sums["available"],
            locked=sums["locked"],
            in_swap=sums["swap"],
            bonded=sums["bond"],
            immature=sums["immature"],
            unconfirmed=sums["unconfirmed"],
            outside=sums["outside"],
        )

    def payments(self, times: Mapping[int, int], labels: Mapping[str, str]) -> list[Payment]:
        """The history, oldest first. times: block times by height; labels by txid."""
        payments = []
        for entry, tx in self._in_order(self._entries):
            came = sum(out.value for out in tx.outputs if out.script in self._own)
            spent = [self.output(txin.point) for txin in tx.inputs]
            went = sum(out.value for out in spent if out is not None and out.script in self._own)
            if not came and not went:
                continue
            fee = sum(out.value for out in spent if out) - tx.total_out if self._all_ours(tx) else None
            time = times.get(entry.height) if entry.height is not None else None
            payments.append(Payment(entry.txid, came - went, fee, entry.height, time, labels.get(entry.txid, "")))
        return payments

    # ---------------------------------------------------------------------------------------------------

    def _add(self, txid: str, tx: Tx) -> None:
        self._txs[txid] = tx
        for txin in tx.inputs:
            self._spenders.setdefault(txin.point, set()).add(txid)
            self._spent(txin.point)
        for point, _ in _outputs(txid, tx):
            self._found(point)

    def _drop(self, txid: str) -> None:
        del self._told[txid], self._entries[txid]
        for point, _ in _outputs(txid, self._txs[txid]):
            self._spent(point)
        for txin in self._txs.pop(txid).inputs:
            self._spenders[txin.point].discard(txid)
            if not self._spenders[txin.point]:
                del self._spenders[txin.point]
                self._found(txin.point)

    def _found(self, point: CoinPoint) -> None:
        """An output is there, if its transaction is known and no spender is."""
        out = self.output(point)
        if out is None or point in self._spenders:
            return
        self._unspent[out.script].add(point)
        if out.script in self._own:
            self._coins.add(point)

    def _spent(self, point: CoinPoint) -> None:
        """An output is there no longer, if it was."""
        self._coins.discard(point)
        out = self.output(point)
        if out is not None and (points := self._unspent.get(out.script)) is not None:
            points.discard(point)
            if not points:
                del self._unspent[out.script]

    def _in_order(self, txids: Iterable[str]) -> Iterator[tuple[HistoryEntry, Tx]]:
        def age(entry: HistoryEntry) -> tuple[bool, int, bool, str]:
            return entry.height is None, entry.height or 0, entry.unsafe, entry.txid

        for entry in sorted((self._entries[txid] for txid in txids), key=age):
            yield entry, self._txs[entry.txid]

    def _depth(self, entry: HistoryEntry) -> int:
        return 0 if entry.height is None else max(0, self.tip_height - entry.height + 1)

    def output(self, point: CoinPoint) -> TxOut | None:
        """An output of a transaction that is known here."""
        tx = self._txs.get(point.txid)
        return tx.outputs[point.index] if tx is not None and point.index < len(tx.outputs) else None

    def _all_ours(self, tx: Tx) -> bool:
        """All that it spends was our money, so that nobody but us could spend it another way."""
        for txin in tx.inputs:
            out = self.output(txin.point)
            if out is None or (out.script not in self._own and txin.point not in self._stakes):
                return False
        return True

    def _state(self, point: CoinPoint, out: TxOut, entry: HistoryEntry, tx: Tx, trusted: bool) -> CoinState:
        ripe = self._coin.maturity if tx.is_coinbase else PEGOUT_MATURITY if tx.is_hogex else 0
        if self._depth(entry) < ripe:
            return "immature"
        if point in self._locks:
            return "locked"
        if not trusted:
            return "unconfirmed"
        return "outside" if out.script in self._outside else "available"


def _outputs(txid: str, tx: Tx) -> Iterator[tuple[CoinPoint, TxOut]]:
    tx_hash = bytes.fromhex(txid)[::-1]
    for index, out in enumerate(tx.outputs):
        yield CoinPoint(tx_hash, index), out
