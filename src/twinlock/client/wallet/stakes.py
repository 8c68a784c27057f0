"""Outputs that hold a wallet's money without being its own: told to the ledger, and watched until spent for good."""

from __future__ import annotations

from functools import partial

from twinlock.chain import spend
from twinlock.chain.coins import Coin
from twinlock.chain.families import family_of
from twinlock.chain.terms import CoinPoint
from twinlock.client.wallet.journal import Journal
from twinlock.client.wallet.ledger import Ledger, StakeTerms
from twinlock.client.wallet.records import StakeRecord
from twinlock.client.wallet.scanner import Scanner
from twinlock.client.wallet.types import StakeKind

FINAL_DEPTH = 6
"""Confirmations after which nobody reckons with a reorg any more."""


class OpenStakes:
    """Contracts and bonds of one wallet. `start` takes up those of the journal."""

    def __init__(self, coin: Coin, journal: Journal, ledger: Ledger, scanner: Scanner) -> None:
        self._coin = coin
        self._family = family_of(coin)
        self._journal = journal
        self._ledger = ledger
        self._scanner = scanner
        self._open: dict[CoinPoint, StakeRecord] = {}

    def start(self) -> None:
        for stake in self._journal.stakes():
            self._tell(stake)

    def add(self, coin_id: bytes, kind: StakeKind, script: bytes, lock_time: int, reference: str) -> None:
        """Store that an output holds our money, and watch it."""
        store = self._journal.store
        with store.transaction():
            stake = self._journal.stake(coin_id, kind, script, lock_time, reference)
            store.undo(partial(self._forget, self._point(coin_id)))
            self._tell(stake)

    def drop(self, point: CoinPoint) -> None:
        """What it was to come from is never sent. Inside the caller's transaction."""
        if (stake := self._open.get(point)) is not None:
            self._journal.store.undo(partial(self._tell, stake))
            self._journal.drop_stake(stake.coin_id)
            self._forget(point)

    def close_spent(self) -> None:
        """Watch what was spent for good no longer."""
        for point, stake in list(self._open.items()):
            if self._ledger.spent_depth(point) >= FINAL_DEPTH:
                self._journal.close(stake)
                self._forget(point)
                self._ledger.stake(point, self._terms(stake))

    def _tell(self, stake: StakeRecord) -> None:
        point = self._point(stake.coin_id)
        self._ledger.stake(point, self._terms(stake))
        if not stake.closed:
            self._open[point] = stake
            self._scanner.watch(spend.lock_script(self._coin, stake.script))

    @staticmethod
    def _terms(stake: StakeRecord) -> StakeTerms:
        return StakeTerms(stake.stake, stake.lock_time, stake.reference, stake.closed)

    def _forget(self, point: CoinPoint) -> None:
        self._scanner.forget(spend.lock_script(self._coin, self._open.pop(point).script))

    def _point(self, coin_id: bytes) -> CoinPoint:
        return self._family.parse_coin_id(coin_id)
