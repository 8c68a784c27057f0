"""One market's book as its feed tells it, and every epoch replayed: was everybody matched as the rules say?

The mirror is pure: it takes a snapshot and notes, and returns what it found. An epoch can be judged when all
of its orders were seen, so the ones under way at subscription are taken as told. A verdict against the server
carries everything needed to repeat it.

What is compared, in this order: the match proof with the epoch's orders (commitments, checksum, seed), the
notes that follow with the result of `twinlock.protocol.matcher`, and the epoch report with both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from twinlock.client.errors import SessionError
from twinlock.client.ledger_watch import Told
from twinlock.protocol import matcher, wire
from twinlock.protocol.book import Book
from twinlock.protocol.epoch import ProofError, verify_proof
from twinlock.protocol.messages.book import (
    BookOrder,
    EpochOrder,
    EpochReport,
    MatchProof,
    OrderBook,
    Suspension,
    UnbookOrder,
    UpdateRemaining,
)
from twinlock.protocol.messages.config import Market
from twinlock.protocol.messages.orders import PLAIN
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Order, OrderType, Side, TimeInForce

Note: TypeAlias = BookOrder | UnbookOrder | UpdateRemaining | EpochOrder | MatchProof | EpochReport | Suspension


class GapError(SessionError):
    """A note is missing: subscribe again."""

    code = "book.gap"


class Verdict(msgspec.Struct, frozen=True):
    """What became of one epoch. accusation: empty when all was as it must be.

    complete: every order of the epoch was seen, so that the replay proves something.
    evidence: JSON with the book before, the epoch's orders, the proof and the published result.
    """

    epoch: int
    orders: int
    matches: int
    complete: bool
    accusation: str = ""
    evidence: bytes = b""


class Expectation(msgspec.Struct, frozen=True):
    """An own order that the server accepted into an epoch; csum as it was named when the preimage was asked for."""

    order_id: bytes
    commitment: bytes
    csum: bytes = b""


class _Published(msgspec.Struct):
    """What the feed says between a match proof and the epoch report."""

    proof: MatchProof
    before: Book
    orders: dict[bytes, EpochOrder]
    booked: dict[bytes, tuple[int, int]] = msgspec.field(default_factory=dict)
    updated: dict[bytes, int] = msgspec.field(default_factory=dict)
    unbooked: set[bytes] = msgspec.field(default_factory=set)


class BookMirror:
    """`load` a snapshot, then `apply` each note in the order of arrival."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.book = Book(market.lot_size)
        self.seq = 0
        self.epoch = 0
        self.recent: list[tuple[int, int, int]] = []
        """(rate, quantity, time ms), newest first; the quantity is negative when the taker bought."""
        self._orders: dict[int, dict[bytes, EpochOrder]] = {}
        self._complete_from = 0
        self._expected: dict[int, dict[bytes, Expectation]] = {}
        self._published: _Published | None = None
        self._lately_removed: dict[bytes, LimitOrder] = {}
        self.told: Told | None = None
        """The newest epoch as the feed told it, to be compared with the ledger."""

    def load(self, snapshot: OrderBook) -> None:
        """Begin anew from what `orderbook` answered."""
        self.book = Book(self.market.lot_size, (self._standing(order) for order in snapshot.orders))
        self.seq, self.epoch = snapshot.seq, snapshot.epoch
        self.recent = list(snapshot.recent_matches)
        self._orders.clear()
        self._lately_removed.clear()
        self._published = None
        self._complete_from = snapshot.epoch + 1

    def expect(self, epoch: int, own: Expectation) -> None:
        """The proof of `epoch` has to account for this order, under the checksum that we were shown."""
        self._expected.setdefault(epoch, {})[own.order_id] = own

    def apply(self, note: Note) -> Verdict | None:
        """Follow one note. Raises GapError when an earlier one is missing; a repeated one changes nothing."""
        seq = getattr(note, "seq", None)
        if seq is not None:
            if seq <= self.seq:
                return None
            if seq != self.seq + 1:
                raise GapError(
                    f"{self.market.name}: notes are missing", numbers={"expected": self.seq + 1, "received": seq}
                )
            self.seq = seq
        return _APPLY[type(note)](self, note)

    def epoch_orders(self) -> tuple[EpochOrder, ...]:
        """The orders of the current epoch, in the order of arrival."""
        return tuple(self._orders.get(self.epoch, {}).values())

    # Notes -------------------------------------------------------------------------------------------

    def _epoch_order(self, note: EpochOrder) -> None:
        self.epoch = max(self.epoch, note.epoch)
        self._orders.setdefault(note.epoch, {})[bytes(note.order_id)] = note

    def _book_order(self, note: BookOrder) -> None:
        self.book.insert(self._standing(note))
        if self._published:
            self._published.booked[bytes(note.order_id)] = (note.quantity, note.rate)

    def _update_remaining(self, note: UpdateRemaining) -> None:
        order = self.book.get(note.order_id)
        if order is not None:
            quantity = order.filled + note.remaining
            self.book.insert(msgspec.structs.replace(order, quantity=quantity, matches=note.matches))
        if self._published:
            self._published.updated[bytes(note.order_id)] = note.remaining

    def _unbook_order(self, note: UnbookOrder) -> None:
        order = self.book.remove(note.order_id)
        if self._published:
            self._published.unbooked.add(bytes(note.order_id))
        elif order is not None:
            self._lately_removed[order.id] = order

    def _suspension(self, note: Suspension) -> None:
        if note.seq is not None and not note.persist_book:
            self.book = Book(self.market.lot_size)

    def _match_proof(self, note: MatchProof) -> None:
        self.epoch = max(self.epoch, note.epoch + 1)
        self._published = _Published(note, self.book.copy(), self._orders.pop(note.epoch, {}))

    def _epoch_report(self, note: EpochReport) -> Verdict | None:
        published, self._published = self._published, None
        removed, self._lately_removed = self._lately_removed, {}
        for rate, quantity in note.match_summary:
            self.recent.insert(0, (rate, quantity, note.end_stamp))
        del self.recent[100:]
        expected = self._expected.get(note.epoch, {})
        self._orders = {epoch: orders for epoch, orders in self._orders.items() if epoch > note.epoch}
        # Epochs of which no report came are over too: the market was suspended, or we were away.
        self._expected = {epoch: own for epoch, own in self._expected.items() if epoch > note.epoch}
        if published is None or published.proof.epoch != note.epoch:
            return None
        complete = note.epoch >= self._complete_from
        self.told = Told(published.proof, published.orders, note, complete)
        accusation = self._judge(published, note, expected, removed.values()) if complete else ""
        return Verdict(
            epoch=note.epoch,
            orders=len(published.orders),
            matches=len(note.match_summary),
            complete=complete,
            accusation=accusation,
            evidence=self._evidence(published, note) if accusation else b"",
        )

    # Judging -----------------------------------------------------------------------------------------

    def _judge(
        self,
        published: _Published,
        report: EpochReport,
        expected: dict[bytes, Expectation],
        removed: Iterable[LimitOrder],
    ) -> str:
        proof, seen = published.proof, published.orders
        for own in expected.values():
            note = seen.get(own.order_id)
            if note is None or note.commitment != own.commitment:
                return f"our order {own.order_id.hex()} was accepted and left out of its epoch"
            if own.csum and own.csum != proof.csum:
                return "the orders of the epoch were changed after the preimages were asked for"
        commitments = {order_id: bytes(note.commitment) for order_id, note in seen.items()}
        try:
            queue = verify_proof(commitments, proof.preimages, map(bytes, proof.misses), proof.csum, proof.seed)
        except ProofError as error:
            return str(error)
        orders = [self._order(seen[order_id]) for order_id in queue.order_ids]
        difference = _compare(published.before.copy(), orders, published, report, set())
        if difference:
            # A revocation may have overtaken the epoch's notes: then the order was still there to be matched.
            before, revoked = published.before.copy(), {order.id: order for order in removed}
            for order in revoked.values():
                before.insert(order)
            if not _compare(before, orders, published, report, set(revoked)):
                return ""
        return difference

    def _evidence(self, published: _Published, report: EpochReport) -> bytes:
        return wire.encode(
            {
                "market": self.market,
                "before": [_told(order) for order in published.before],
                "epoch": list(published.orders.values()),
                "proof": published.proof,
                "booked": {order_id.hex(): row for order_id, row in published.booked.items()},
                "updated": {order_id.hex(): row for order_id, row in published.updated.items()},
                "unbooked": sorted(order_id.hex() for order_id in published.unbooked),
                "report": report,
            }
        )

    # Orders as the matcher wants them ------------------------------------------------------------------

    def _standing(self, note: BookOrder) -> LimitOrder:
        return LimitOrder(**self._common(note), rate=note.rate, time_in_force=TimeInForce.STANDING)

    def _order(self, note: EpochOrder) -> Order:
        if note.order_type == OrderType.CANCEL:
            return CancelOrder(**self._prefix(note), target_id=bytes(note.target))
        if note.order_type == OrderType.MARKET:
            return MarketOrder(**self._common(note))
        return LimitOrder(**self._common(note), rate=note.rate, time_in_force=TimeInForce(note.time_in_force))

    def _common(self, note: BookOrder) -> dict[str, Any]:
        return self._prefix(note) | {
            "coins": (),
            "side": Side(note.side),
            "quantity": note.quantity,
            "address": "",
            "options": PLAIN if isinstance(note.options, msgspec.UnsetType) else note.options,
            "matches": note.matches,
        }

    def _prefix(self, note: BookOrder) -> dict[str, Any]:
        return {
            "id": bytes(note.order_id),
            "account_id": b"",
            "base": self.market.base,
            "quote": self.market.quote,
            "client_time": 0,
            "server_time": note.time,
            "commitment": bytes(note.commitment) if isinstance(note, EpochOrder) else b"",
        }


_APPLY: dict[type[Any], Callable[[BookMirror, Any], Verdict | None]] = {
    EpochOrder: BookMirror._epoch_order,
    BookOrder: BookMirror._book_order,
    UpdateRemaining: BookMirror._update_remaining,
    UnbookOrder: BookMirror._unbook_order,
    Suspension: BookMirror._suspension,
    MatchProof: BookMirror._match_proof,
    EpochReport: BookMirror._epoch_report,
}


def _compare(book: Book, orders: list[Order], published: _Published, report: EpochReport, revoked: set[bytes]) -> str:
    """What differs between the replay and what was published, revoked orders aside; empty if nothing."""
    result = matcher.match(book, orders)
    if result.summary != tuple(tuple(row) for row in report.match_summary):
        return "the matches of the epoch are not those that its orders give"
    if {order.id: (order.remaining, order.rate) for order in result.booked} != published.booked:
        return "the orders booked in the epoch are not those that its orders give"
    if {order.id: order.remaining for order in result.updated if order.id not in revoked} != published.updated:
        return "the partly filled orders of the epoch are not those that its orders give"
    # The server may revoke more orders at any time, but none that left by matching may stay.
    if not {order.id for order in result.unbooked} <= published.unbooked | revoked:
        return "orders that were filled or cancelled in the epoch are still on the book"
    return ""


def _told(order: LimitOrder) -> BookOrder:
    return BookOrder(
        order_id=wire.Hex(order.id),
        side=order.side,
        quantity=order.remaining,
        rate=order.rate,
        time_in_force=order.time_in_force,
        time=order.server_time,
        options=msgspec.UNSET if order.options.plain else order.options,
        matches=order.matches,
    )
