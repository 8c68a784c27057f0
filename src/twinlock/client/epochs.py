"""The epochs of a market as they were seen and replayed, kept over restarts, the newest of them."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import ClassVar

from twinlock.client.book_mirror import Verdict
from twinlock.client.store.base import Record, Store
from twinlock.protocol.messages.book import EpochReport

KEPT = 10_000
"""How many epochs of a market are kept: a day and more."""


class EpochRecord(Record, kw_only=True):
    """One epoch. end: ms; volumes: atoms; rates: message-rates, 0 where nothing matched; complete: it was replayed."""

    kind: ClassVar[str] = "epoch"
    host: str
    market: str
    epoch: int
    end: int
    orders: int
    matches: int
    volume: int
    quote_volume: int
    high_rate: int
    low_rate: int
    start_rate: int
    end_rate: int
    complete: bool
    accusation: str

    @property
    def key(self) -> str:
        return f"{self.host}/{self.market}/{self.epoch:016d}"


class EpochHistory:
    """Those of one market."""

    def __init__(self, store: Store, host: str, market: str) -> None:
        self._store = store
        self._host, self._market = host, market
        self._keys = deque(record.key for record in stored(store, host, market))

    def add(self, verdict: Verdict, report: EpochReport) -> None:
        """Keep one more, and let the oldest go where there are too many."""
        record = EpochRecord(
            host=self._host,
            market=self._market,
            epoch=verdict.epoch,
            end=report.end_stamp,
            orders=verdict.orders,
            matches=verdict.matches,
            volume=report.match_volume,
            quote_volume=report.quote_volume,
            high_rate=report.high_rate,
            low_rate=report.low_rate,
            start_rate=report.start_rate,
            end_rate=report.end_rate,
            complete=verdict.complete,
            accusation=verdict.accusation,
        )
        with self._store.transaction():
            self._store.undo(partial(setattr, self, "_keys", self._keys.copy()))
            self._store.put(record)
            if record.key not in self._keys:
                self._keys.append(record.key)
            while len(self._keys) > KEPT:
                self._store.delete(EpochRecord, self._keys.popleft())


def stored(store: Store, host: str, market: str) -> list[EpochRecord]:
    """Oldest first."""
    return store.all(EpochRecord, f"{host}/{market}/")
