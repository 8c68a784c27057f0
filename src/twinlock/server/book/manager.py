"""Snapshots of a book and the feed of its changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from msgspec import UNSET, Raw
from msgspec.structs import replace

from twinlock.protocol import routes
from twinlock.protocol.book import Book
from twinlock.protocol.constants import RECENT_MATCHES
from twinlock.protocol.ledger import Entry
from twinlock.protocol.matcher import Match, Matched
from twinlock.protocol.messages.book import (
    BookOrder,
    EpochOrder,
    EpochReport,
    LedgerNote,
    MatchProof,
    OrderBook,
    Resumption,
    Suspension,
    UnbookOrder,
    UpdateRemaining,
)
from twinlock.protocol.orders import CancelOrder, LimitOrder, Order
from twinlock.protocol.routes import Route
from twinlock.protocol.wire import EMPTY, Hex, encode
from twinlock.server.comms.channel import Channel
from twinlock.server.comms.outgoing import Spliced, notification_frame

P = TypeVar("P")

_HOLE = b"\0"
"""Stands for what is put in later: a byte that JSON never holds."""


class BookManager:
    """The public side of one market's book."""

    def __init__(self, market: str, book: Book) -> None:
        self.market = market
        self.subscribers = Channel()
        self.ledger_subscribers = Channel()
        """Who asked for the ledger's records too: other clients never see a note that they do not know."""
        self.on_change: list[Callable[[Sequence[Match], int], None]] = []
        """Called after a change of the book with the trades that did it and their time (ms)."""
        self._book = book
        self._seq = 0
        self._booked_at: dict[bytes, int] = {}
        self._recent: deque[tuple[int, int, int]] = deque(maxlen=RECENT_MATCHES)
        self._encoded: dict[bytes, bytes] = {}
        """The notes of booked orders, as they were last asked for."""
        self._orders: bytes | None = None
        """All of them together, until the book changes."""
        self._depth: tuple[list[tuple[int, int]], list[tuple[int, int]]] | None = None

    def snapshot(self, epoch: int, base_fee_rate: int, quote_fee_rate: int) -> OrderBook:
        """The book as a new subscriber needs it; only to be encoded."""
        return OrderBook(
            market=self.market,
            seq=self._seq,
            epoch=epoch,
            orders=cast(list[BookOrder], Raw(self._written())),
            base_fee_rate=base_fee_rate,
            quote_fee_rate=quote_fee_rate,
            recent_matches=list(self._recent),
        )

    def spliced(self, epoch: int, base_fee_rate: int, quote_fee_rate: int) -> Spliced:
        """The same, encoded around the orders."""
        book = self.snapshot(epoch, base_fee_rate, quote_fee_rate)
        before, after = encode(replace(book, orders=Raw(_HOLE))).split(_HOLE)
        return Spliced(before, self._written(), after)

    def _written(self) -> bytes:
        """The orders as JSON.

        A thousand subscribers may come at once, after a restart say, and a big book takes a quarter of a second to
        write down: so its orders are written down once, and each of them when it has changed.
        """
        if self._orders is None:
            self._orders = b"[" + b",".join([self._encode(order) for order in self._book]) + b"]"
        return self._orders

    def _encode(self, order: LimitOrder) -> bytes:
        found = self._encoded.get(order.id)
        if found is None:
            found = self._encoded[order.id] = encode(self._note(order, self._booked_at.get(order.id, 0)))
        return found

    def _moved(self, order_id: bytes) -> None:
        """An order was booked, filled in part, or left."""
        self._orders = self._depth = None
        self._encoded.pop(order_id, None)

    def depth(self, levels: int = 0) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(rate, base atoms) of bids and asks, best first, orders at one rate added up; 0 levels means all."""
        if levels == 1:  # asked after every epoch, also where nobody asks for more
            return _levels(self._book.buys, 1), _levels(self._book.sells, 1)
        if self._depth is None:
            self._depth = _levels(self._book.buys, 0), _levels(self._book.sells, 0)
        bids, asks = self._depth
        return (bids[:levels], asks[:levels]) if levels else self._depth

    def remember_matches(self, matches: Iterable[tuple[int, int, int]]) -> None:
        """(rate, signed quantity, ms), oldest first, for snapshots."""
        self._recent.extendleft(matches)

    def epoch_order(self, order: Order, epoch: int) -> None:
        """An order entered the current epoch."""
        common: dict[str, Any] = {
            "seq": self._next(),
            "market": self.market,
            "order_id": Hex(order.id),
            "time": order.server_time,
            "commitment": Hex(order.commitment),
            "order_type": int(order.order_type),
            "epoch": epoch,
        }
        trade: dict[str, Any] = {}
        if isinstance(order, CancelOrder):
            trade = {"target": Hex(order.target_id)}
        else:
            trade = {"side": int(order.side), "quantity": order.remaining}
            if not order.options.plain:
                trade["options"] = order.options
        if isinstance(order, LimitOrder):
            trade |= {"rate": order.rate, "time_in_force": int(order.time_in_force)}
        self._publish(routes.EPOCH_ORDER, EpochOrder(**common, **trade))

    def proof(self, epoch: int, preimages: Iterable[bytes], misses: Iterable[bytes], csum: bytes, seed: bytes) -> None:
        """The evidence of a closed epoch."""
        note = MatchProof(
            market=self.market,
            epoch=epoch,
            preimages=[Hex(preimage) for preimage in preimages],
            misses=[Hex(order_id) for order_id in misses],
            csum=Hex(csum) if csum else EMPTY,
            seed=Hex(seed) if seed else EMPTY,
        )
        self._publish(routes.MATCH_PROOF, note)

    def matched(self, matched: Matched, stamp: int) -> None:
        """What an epoch did to the book: all booked, then all updated, then all unbooked."""
        for order in matched.booked:
            self._booked_at[order.id] = seq = self._next()
            self._moved(order.id)
            self._publish(routes.BOOK_ORDER, self._note(order, seq))
        for order in matched.updated:
            self._moved(order.id)
            note = UpdateRemaining(
                seq=self._next(),
                market=self.market,
                order_id=Hex(order.id),
                remaining=order.remaining,
                matches=order.matches,
            )
            self._publish(routes.UPDATE_REMAINING, note)
        self._unbook(order.id for order in matched.unbooked)
        trades = [match for match in matched.matches if not match.cancels]
        self.remember_matches((match.rate, match.signed_quantity, stamp) for match in trades)
        self._changed(trades, stamp)

    def unbooked(self, order_ids: Iterable[bytes]) -> None:
        """Orders left the book for another reason than a match."""
        if self._unbook(order_ids):
            self._changed((), 0)

    def _unbook(self, order_ids: Iterable[bytes]) -> int:
        count = 0
        for order_id in order_ids:
            count += 1
            self._booked_at.pop(order_id, None)
            self._moved(order_id)
            note = UnbookOrder(seq=self._next(), market=self.market, order_id=Hex(order_id))
            self._publish(routes.UNBOOK_ORDER, note)
        return count

    def _changed(self, trades: Sequence[Match], stamp: int) -> None:
        for callback in self.on_change:
            callback(trades, stamp)

    def report(self, report: EpochReport) -> None:
        """The numbers of a processed epoch."""
        self._publish(routes.EPOCH_REPORT, report)

    def ledger(self, entries: Iterable[Entry]) -> None:
        """New records of the epoch ledger."""
        for entry in entries:
            if len(self.ledger_subscribers):
                note = LedgerNote(market=self.market, record=entry.record, sig=entry.sig)
                self.ledger_subscribers.publish(notification_frame(routes.EPOCH_LEDGER, note))

    def suspended(self, final_epoch: int, persist: bool) -> None:
        """The market stopped; without `persist` the book is empty now, which this note alone says."""
        seq = None if persist else self._next()
        note = Suspension(market=self.market, seq=seq, final_epoch=final_epoch, persist_book=persist)
        self._publish(routes.SUSPENSION, note)
        if not persist:
            self._booked_at.clear()
            self._encoded.clear()
            self._orders = self._depth = None
            self._changed((), 0)

    def resumed(self, start_epoch: int) -> None:
        """The market runs again."""
        self._publish(routes.RESUMPTION, Resumption(market=self.market, start_epoch=start_epoch))

    def _note(self, order: LimitOrder, seq: int) -> BookOrder:
        return BookOrder(
            seq=seq,
            market=self.market,
            order_id=Hex(order.id),
            side=int(order.side),
            quantity=order.remaining,
            rate=order.rate,
            time_in_force=int(order.time_in_force),
            time=order.server_time,
            options=UNSET if order.options.plain else order.options,
            matches=order.matches,
        )

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _publish(self, route: Route[P, None], note: P) -> None:
        if len(self.subscribers):
            self.subscribers.publish(notification_frame(route, note))


def _levels(side: Iterable[LimitOrder], count: int) -> list[tuple[int, int]]:
    return list(_take(_added_up(side), count))


def _added_up(side: Iterable[LimitOrder]) -> Iterator[tuple[int, int]]:
    rate, quantity = 0, 0
    for order in side:
        if order.rate != rate:
            if quantity:
                yield rate, quantity
            rate, quantity = order.rate, 0
        quantity += order.remaining
    if quantity:
        yield rate, quantity


def _take(levels: Iterator[tuple[int, int]], count: int) -> Iterator[tuple[int, int]]:
    for number, level in enumerate(levels, 1):
        yield level
        if number == count:
            return
