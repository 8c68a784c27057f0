"""Keeping the epoch ledger: every change of a book becomes a signed record, committed with the change itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.ledger import (
    GENESIS,
    Entry,
    Epoch,
    Link,
    Opening,
    Record,
    Removal,
    decode_record,
    digest,
    encode_record,
    head,
    ledger_fill,
    ledger_order,
    resting_orders,
)
from twinlock.protocol.orders import CancelOrder, LimitOrder, Order
from twinlock.protocol.signing import sign
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock
from twinlock.server.db import Database, Write
from twinlock.server.db.ledger import add_entry, last_opening, last_record
from twinlock.server.market.core import Processed
from twinlock.server.market.terms import MarketTerms


class Reason(StrEnum):
    """Why orders left a book between epochs, as `Removal` names it."""

    REVOKED = "revoked"
    CANCELED = "canceled"
    SUSPENDED = "suspended"
    TERMS = "terms"
    RESTART = "restart"


class Tip(msgspec.Struct, frozen=True):
    """Where a market's ledger ends; opening: the newest one, None before the first record."""

    number: int = -1
    digest: bytes = GENESIS
    opening: Opening | None = None


class LedgerKeeper:
    """The ledgers of all markets: where each ends, and the key that signs them."""

    def __init__(self, database: Database, key: PrivateKey, clock: Clock) -> None:
        self._database = database
        self._tips: dict[str, Tip] = {}
        self.key = key
        self.clock = clock

    async def load(self, market: str) -> None:
        """Go on with a market's ledger where it ends."""
        last = await last_record(self._database, market)
        stated = await last_opening(self._database, market)
        opening = decode_record(stated) if stated is not None else None
        assert opening is None or isinstance(opening, Opening)
        self._tips[market] = Tip() if last is None else Tip(*last, opening)

    def draft(self, terms: MarketTerms) -> LedgerDraft:
        """Records that follow the last one."""
        return LedgerDraft(self, terms, self._tips[terms.name])

    def advance(self, market: str, tip: Tip) -> None:
        """The records up to there are committed."""
        self._tips[market] = tip


class LedgerDraft:
    """Records of one change: put `writes` into its transaction, and `commit` after it.

    A draft that was not committed leaves no trace. Drafts of one market must not overlap; its shell sees to that.
    """

    def __init__(self, keeper: LedgerKeeper, terms: MarketTerms, tip: Tip) -> None:
        self._keeper = keeper
        self._terms = terms
        self._tip = tip
        self._entries: list[Entry] = []
        self.writes: list[Write] = []

    def open(self, book: Iterable[LimitOrder]) -> None:
        """State the terms and the book, unless the ledger states these terms already."""
        terms, key = self._terms, Hex(self._keeper.key.public)
        stated = self._tip.opening
        wanted = (key, terms.base, terms.quote, terms.epoch_ms, terms.lot_size, terms.rate_step)
        if stated is not None and wanted == _stated(stated):
            return
        opening = Opening(
            **head(self._link()),
            public_key=key,
            base=terms.base,
            quote=terms.quote,
            epoch_ms=terms.epoch_ms,
            lot_size=terms.lot_size,
            rate_step=terms.rate_step,
            book=resting_orders(book),
        )
        self._add(opening)

    def epoch(self, processed: Processed) -> None:
        """A processed epoch."""
        report = processed.report
        record = Epoch(
            **head(self._link()),
            epoch=processed.epoch,
            orders=[ledger_order(order) for order in (*processed.revealed, *processed.missed)],
            preimages=[Hex(preimage) for preimage in processed.preimages],
            misses=[Hex(order.id) for order in processed.missed],
            csum=Hex(processed.csum),
            seed=Hex(processed.seed),
            expired=[Hex(order.id) for order in processed.expired],
            fills=[ledger_fill(match) for match in processed.matched.matches],
            base_fee_rate=report.fee_rate_base,
            quote_fee_rate=report.fee_rate_quote,
        )
        self._add(record)

    def removal(
        self,
        reason: Reason,
        order_ids: Sequence[bytes],
        *,
        lapsed: Sequence[Order] = (),
        cancel: CancelOrder | None = None,
    ) -> None:
        """Orders left between epochs; no record where none did.

        lapsed: accepted orders whose epoch is never processed. cancel: the order that took the one off.
        """
        if not order_ids and not lapsed:
            return
        record = Removal(
            **head(self._link()),
            reason=reason.value,
            orders=[Hex(order_id) for order_id in order_ids],
            lapsed=[ledger_order(order) for order in lapsed],
            cancel=None if cancel is None else ledger_order(cancel),
        )
        self._add(record)

    def commit(self) -> list[Entry]:
        """The transaction succeeded: the next draft goes on from here. Returns the new entries."""
        if self._entries:
            self._keeper.advance(self._terms.name, self._tip)
        return self._entries

    def _link(self) -> Link:
        stamp = self._keeper.clock.now_ms()
        return Link(market=self._terms.name, number=self._tip.number + 1, previous=self._tip.digest, stamp=stamp)

    def _add(self, record: Record) -> None:
        raw = encode_record(record)
        opening = record if isinstance(record, Opening) else None
        self._tip = Tip(record.number, digest(raw), opening or self._tip.opening)
        entry = Entry(record=msgspec.Raw(raw), sig=sign(self._keeper.key, raw))
        self._entries.append(entry)
        self.writes.append(
            add_entry(record.market, record.number, entry, self._tip.digest, opening=opening is not None)
        )


def _stated(opening: Opening) -> tuple[Hex, int, int, int, int, int]:
    return (
        opening.public_key,
        opening.base,
        opening.quote,
        opening.epoch_ms,
        opening.lot_size,
        opening.rate_step,
    )
