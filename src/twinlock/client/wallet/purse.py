"""The inside of a wallet: ledger, journal, scanner and keys kept in step.

Everything that changes what is stored and what the ledger believes passes through here, so that after a restart
the ledger is told the same again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from twinlock.chain import script, spend
from twinlock.chain.coins import Coin
from twinlock.chain.families import family_of
from twinlock.chain.psbt import Psbt
from twinlock.chain.script import Kind
from twinlock.chain.spend import Draft, Input
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import FINAL, Tx, TxOut
from twinlock.client.store.base import Store
from twinlock.client.wallet import papers
from twinlock.client.wallet.errors import (
    OutsideKeyError,
    UnknownCoinError,
    WalletError,
    short_funds,
    still_scanning,
    too_many_coins,
)
from twinlock.client.wallet.journal import TX_LOCK, Journal
from twinlock.client.wallet.keys import KeyPath, Use, WalletKeys
from twinlock.client.wallet.ledger import Ledger, OwnCoin
from twinlock.client.wallet.records import SignedRecord
from twinlock.client.wallet.scanner import Scanner, WalletView
from twinlock.client.wallet.selection import KEY_INPUT, KEY_OUTPUT, OVERHEAD, choose
from twinlock.client.wallet.stakes import FINAL_DEPTH, OpenStakes
from twinlock.client.wallet.types import CoinState, SignedTx
from twinlock.electrum.errors import ElectrumError
from twinlock.seams import Clock

REPEAT_MS = 14 * 24 * 3_600_000
"""How long a transaction that the network forgot is sent again, as long as nodes keep one in their mempools."""


class Place(NamedTuple):
    """An address of ours, not taken yet."""

    path: KeyPath
    script: bytes
    address: str


class Purse:
    """One wallet's state. `start` begins to follow the chain, `stop` ends it.

    What differs between kinds of wallets is where addresses come from (`fresh`, `take`) and who signs (`sign`,
    `proof`, `sign_psbt`).
    """

    def __init__(
        self,
        coin: Coin,
        view: WalletView,
        keys: WalletKeys,
        store: Store,
        clock: Clock,
        gap_limit: int,
        birthday: int = 0,
    ) -> None:
        self.coin = coin
        self.keys = keys
        self.journal = Journal(store, f"{coin.symbol}.{coin.network}")
        self.ledger = Ledger(coin)
        self.scanner = Scanner(view, keys, self.ledger, clock, gap_limit, self._on_tip, self.journal.birthday(birthday))
        self._family = family_of(coin)
        self.stakes = OpenStakes(coin, self.journal, self.ledger, self.scanner)
        self._view = view
        self._clock = clock
        self._gap_limit = gap_limit
        self._configured_birthday = birthday
        self._signed: dict[str, SignedRecord] = {}

    def start(self) -> None:
        """Tell the ledger what is stored, and watch."""
        for lock in self.journal.locks():
            self.ledger.lock(self.point(lock.coin_id), lock.reference)
        self.stakes.start()
        self._signed = {record.txid: record for record in self.journal.signed()}
        self.scanner.start(self.journal.handed_out())

    async def stop(self) -> None:
        """Watch no more."""
        await self.scanner.stop()

    @property
    def birthday(self) -> int:
        """Height below which the chain is not looked at."""
        return self.journal.birthday(self._configured_birthday)

    def look_from(self, height: int) -> None:
        """Another birthday, from now on. Raises WalletError above the tip."""
        if height > self.ledger.tip_height:
            numbers: dict[str, int | str] = {"height": height, "tip": self.ledger.tip_height}
            raise WalletError("the chain is not that long yet", code="wallet.height", fault="user", numbers=numbers)
        self.journal.look_from(height, self._configured_birthday)
        self.scanner.look_from(height)

    async def until_scanned(self) -> None:
        """Wait until every address was looked at."""
        while not self.scanner.complete:
            await self.scanner.news()

    # Addresses -----------------------------------------------------------------------------------------

    async def fresh(self, use: Use) -> Place:
        """The next address for a use; nothing changes until `take`. Raises ScanningError."""
        self.require_scanned()
        branch = self.keys.uses[use]
        lowest = self.scanner.last_used[branch] + 1
        index = max(lowest, self.journal.handed_out().get(branch, 0))
        path = branch, index if index < lowest + self._gap_limit else lowest
        script = self.keys.script(path)
        return Place(path, script, self.keys.address_of(script))

    def take(self, place: Place) -> None:
        """It is handed out, and watched."""
        self.journal.hand_out(*place.path)
        self.scanner.reach(place.path[0], place.path[1] + 1)

    def require_scanned(self) -> None:
        """Raises ScanningError."""
        if not self.scanner.complete:
            raise still_scanning(self.coin.symbol)

    # Coins ---------------------------------------------------------------------------------------------

    def available(self, only: Collection[bytes] = (), state: CoinState = "available") -> list[OwnCoin]:
        """What may be spent, or of that only the coins with these IDs. Raises ScanningError, UnknownCoinError."""
        self.require_scanned()
        coins = [coin for coin in self.ledger.coins() if coin.state == state]
        if not only:
            return coins
        chosen = [coin for coin in coins if self.coin_id(coin.point) in only]
        if len(chosen) != len(set(only)):
            raise UnknownCoinError(
                "not every chosen coin is there to be spent",
                fault="user",
                numbers={"chosen": len(set(only)), "found": len(chosen)},
                fix="look at the list of coins: some may be locked, spent or unconfirmed",
            )
        return chosen

    def fundable(self, only: Collection[bytes] = ()) -> list[OwnCoin]:
        """Available coins that can fund an order: others' signatures prove nothing to a server."""
        coins = self.available(only)
        fit = [coin for coin in coins if script.kind(coin.out.script) is Kind.P2WPKH]
        if only and len(fit) != len(coins):
            raise UnknownCoinError("a chosen coin cannot fund an order", fault="user", fix="choose P2WPKH coins")
        return fit

    def choose(
        self,
        target: int,
        fee_rate: int,
        coins: Sequence[OwnCoin],
        *,
        all_of: bool = False,
        most: int | None = None,
    ) -> list[OwnCoin]:
        """Coins that hold `target` once each has paid for its own input. Raises ShortFundsError, TooManyCoinsError.

        all_of: take every one of them, as the owner chose them. most: so many coins and no more.
        """
        values = [coin.out.value - KEY_INPUT * fee_rate for coin in coins]
        chosen = choose(values, target, (KEY_OUTPUT + KEY_INPUT) * fee_rate, most)
        have = sum(value for value in values if value > 0)
        if chosen is None:
            raise short_funds(self.coin, target, have, self.ledger.balance().locked, fee_rate)
        taken = list(coins) if all_of else [coins[i] for i in chosen]
        if most is not None and len(taken) > most:
            raise too_many_coins(len(taken), most, target, have)
        return taken

    def choose_for(
        self,
        outputs: Sequence[TxOut],
        fee_rate: int,
        only: Collection[bytes] = (),
        *,
        state: CoinState = "available",
    ) -> list[OwnCoin]:
        """Coins that pay these outputs, change and the fee; all of `only`, if given. Raises ShortFundsError."""
        size = OVERHEAD + KEY_OUTPUT + sum(len(out.serialize()) for out in outputs)
        target = sum(out.value for out in outputs) + fee_rate * size
        return self.choose(target, fee_rate, self.available(only, state), all_of=bool(only))

    def find(self, coin_id: bytes) -> tuple[CoinPoint, TxOut, KeyPath]:
        """A coin of ours, the change of a transaction that nobody has seen yet included. Raises UnknownCoinError."""
        point = self.point(coin_id)
        for coin in self.ledger.coins():
            if coin.point == point:
                return point, coin.out, coin.path
        record = self._signed.get(point.txid)
        outputs = Tx.parse(record.raw).outputs if record else ()
        if point.index < len(outputs) and (path := self.ledger.path(outputs[point.index].script)) is not None:
            return point, outputs[point.index], path
        raise UnknownCoinError("no such coin in this wallet", numbers={"coin": str(point)})

    def spendable(self, coin_id: bytes) -> Input:
        """A coin of ours with its key. Raises UnknownCoinError."""
        return self._input(*self.find(coin_id))

    def held_input(self, point: CoinPoint, sequence: int = FINAL) -> Input:
        """An output of ours that is spent or locked already, to be spent in another way. Raises UnknownCoinError."""
        out = self.ledger.output(point)
        path = self.ledger.path(out.script) if out is not None else None
        if out is None or path is None:
            raise UnknownCoinError("no such coin in this wallet", numbers={"coin": str(point)})
        return msgspec.structs.replace(self._input(point, out, path), sequence=sequence)

    def own_input(self, coin: OwnCoin, sequence: int = FINAL) -> Input:
        """The same for a coin that was chosen."""
        return msgspec.structs.replace(self._input(coin.point, coin.out, coin.path), sequence=sequence)

    def lock(self, coin_ids: Sequence[bytes], reference: str) -> None:
        """Set coins aside."""
        with self.journal.store.transaction():
            for coin_id in coin_ids:
                self._set(self.point(coin_id), reference)
                self.journal.lock(coin_id, reference)
        self.scanner.publish()

    def unlock(self, coin_ids: Sequence[bytes]) -> None:
        """Give coins back, unless a signed transaction of ours spends them."""
        self._free([c for c in coin_ids if not self.ledger.lock_of(self.point(c)).startswith(TX_LOCK)])

    # What only the holder of the keys can do ------------------------------------------------------------

    async def sign(self, draft: Draft) -> spend.Payment:
        """Sign every input. Raises OutsideKeyError."""
        return spend.sign(draft)

    async def describe(self, psbt: Psbt) -> Psbt:
        """Say where the keys of a PSBT come from, as far as they are ours."""
        return papers.with_origins(self.ledger, self.keys, psbt)

    async def sign_psbt(self, psbt: Psbt) -> Psbt:
        """Add our signatures. Raises PsbtError if there is nothing of ours to sign."""
        return papers.signed(self.ledger, self.keys, psbt)

    async def proof(self, coin_id: bytes) -> tuple[list[bytes], list[bytes]]:
        """(public keys, signatures) over the coin ID. Raises UnknownCoinError."""
        path = self.find(coin_id)[2]
        return self._family.coin_proof(coin_id, [self.keys.key(path)])

    # Transactions --------------------------------------------------------------------------------------

    def signed_tx(self, payment: spend.Payment, asked: int) -> SignedTx:
        """asked: how many of the first outputs are what the caller asked for."""
        tx = payment.tx
        tx_hash = tx.hash
        ids = [self.coin_id(CoinPoint(tx_hash, index)) for index in range(len(tx.outputs))]
        inputs = tuple(self.coin_id(txin.point) for txin in tx.inputs)
        change = None if payment.change is None else ids[payment.change]
        return SignedTx(payment.txid, payment.raw, payment.fee, inputs, tuple(ids[:asked]), change)

    def keep(self, signed: SignedTx, purpose: str, own: Place | None) -> None:
        """Store a signed transaction, lock what it spends, and take the address `own` that it pays.

        Call it inside `journal.store.transaction()` together with whatever else belongs to the transaction. One that is
        kept already stays as it is: it may have been broadcast.
        """
        if signed.txid not in self._signed:
            record = self.journal.keep(signed.txid, signed.raw, purpose, self._clock.now_ms(), signed.fee)
            self.journal.store.undo(partial(self._signed.pop, signed.txid, None))
            self._signed[signed.txid] = record
        self.lock([coin_id for coin_id in signed.inputs if self._is_ours(coin_id)], TX_LOCK + signed.txid)
        if own is not None:
            self.take(own)

    def record(self, txid: str) -> SignedRecord | None:
        """What was stored of a transaction of ours."""
        return self._signed.get(txid)

    def unsent(self, purpose: str) -> tuple[str, ...]:
        """IDs of what was signed for that purpose and is not known to have been broadcast."""
        return tuple(each.txid for each in self._signed.values() if each.purpose == purpose and not each.sent)

    def replaced(self, txid: str) -> None:
        """Another transaction took its place: it is not sent any more."""
        self._drop_signed(txid)

    def sent(self, txid: str) -> None:
        """It was broadcast."""
        if (record := self._signed.get(txid)) is not None:
            self.journal.sent(record)

    def abandon(self, txid: str) -> None:
        """Forget a signed transaction that was never broadcast. Raises WalletError if it was."""
        record = self._signed.get(txid)
        if self.ledger.knows(txid) or (record is not None and record.sent):
            raise WalletError("a transaction that was broadcast cannot be taken back", code="wallet.sent")
        if record is None:
            return
        tx = Tx.parse(record.raw)
        reference = TX_LOCK + txid
        made = [CoinPoint(tx.hash, index) for index in range(len(tx.outputs))]
        with self.journal.store.transaction():
            self._drop_signed(txid)
            for point in made:
                self.stakes.drop(point)
            mine = [txin.point for txin in tx.inputs if self.ledger.lock_of(txin.point) == reference]
            change = [point for point in made if self.ledger.lock_of(point)]
            self._free([self.coin_id(point) for point in (*mine, *change)])

    def coin_id(self, point: CoinPoint) -> bytes:
        return self._family.coin_id(point.txid, point.index)

    def point(self, coin_id: bytes) -> CoinPoint:
        return self._family.parse_coin_id(coin_id)

    # ---------------------------------------------------------------------------------------------------

    async def _on_tip(self) -> None:
        """Tidy up what is final, and repeat what the network forgot."""
        self.stakes.close_spent()
        for lock in self.journal.locks():
            if self.ledger.spent_depth(self.point(lock.coin_id)) >= FINAL_DEPTH:
                self._free([lock.coin_id])
        for record in list(self._signed.values()):
            # By itself, or by another one: neither is sent again.
            if any(self.ledger.spent_depth(txin.point) >= FINAL_DEPTH for txin in Tx.parse(record.raw).inputs):
                self._drop_signed(record.txid)
        youngest = self._clock.now_ms() - REPEAT_MS
        for record in list(self._signed.values()):
            forgotten = record.sent and self.scanner.complete and not self.ledger.knows(record.txid)
            if forgotten and record.created > youngest:
                try:
                    await self._view.broadcast(record.raw)
                except ElectrumError:
                    continue  # replaced, or its inputs are gone: at the next tip again

    def _is_ours(self, coin_id: bytes) -> bool:
        try:
            self.find(coin_id)
        except UnknownCoinError:
            return False
        return True

    def _input(self, point: CoinPoint, out: TxOut, path: KeyPath) -> Input:
        try:
            return spend.key_input(point, out.value, out.script, self.keys.key(path))
        except OutsideKeyError:
            return spend.foreign_input(point, out.value, out.script)

    def _free(self, coin_ids: Sequence[bytes]) -> None:
        with self.journal.store.transaction():
            for coin_id in coin_ids:
                self._set(self.point(coin_id), "")
                self.journal.unlock(coin_id)
        self.scanner.publish()

    def _set(self, point: CoinPoint, reference: str) -> None:
        """Tell the ledger what an output is set aside for, until the transaction under way fails; empty: nothing."""
        self.journal.store.undo(partial(self._put_back, point, self.ledger.lock_of(point)))
        self.ledger.lock(point, reference)

    def _put_back(self, point: CoinPoint, reference: str) -> None:
        self.ledger.lock(point, reference)
        self.scanner.publish()

    def _drop_signed(self, txid: str) -> None:
        if (record := self._signed.get(txid)) is not None:
            with self.journal.store.transaction():
                self.journal.store.undo(partial(self._signed.__setitem__, txid, record))
                self.journal.drop_signed(txid)
                del self._signed[txid]
