"""A subscriber who keeps the book by the feed alone."""

from __future__ import annotations

from typing import Any

from tests.server.conftest import BTC, LTC
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.epoch import verify_proof
from twinlock.protocol.messages.book import BookSubscription

_SEQUENCED = (routes.BOOK_ORDER, routes.UNBOOK_ORDER, routes.UPDATE_REMAINING, routes.EPOCH_ORDER)


class Mirror:
    """`orders`: what rests, by order ID, as (side, rate, remaining)."""

    def __init__(self, eyes: Trader) -> None:
        self.eyes = eyes
        self.orders: dict[bytes, tuple[int, int, int]] = {}
        self._seq = 0
        self._entered: dict[int, dict[bytes, bytes]] = {}
        self._seen_from = 0

    async def begin(self) -> None:
        """Subscribe."""
        self.eyes.notes.clear()
        book = await self.eyes.ask(routes.ORDERBOOK, BookSubscription(base=LTC, quote=BTC))
        self._seq, self._seen_from = book.seq, book.epoch + 1
        self.orders = {bytes(order.order_id): (order.side, order.rate, order.quantity) for order in book.orders}

    async def look(self) -> None:
        """Take in everything that was published up to now."""
        await self.eyes.ask(routes.CONFIG, None)
        notes = [note for route in _SEQUENCED for note in self._new(route)]
        stops = [note for note in self._new(routes.SUSPENSION) if note.seq is not None]
        for note in sorted((*notes, *stops), key=lambda note: note.seq):
            assert note.seq == self._seq + 1, f"note {note.seq} came after {self._seq}"
            self._seq = note.seq
            self._apply(note)
        for proof in self._new(routes.MATCH_PROOF):
            entered = self._entered.pop(proof.epoch, {})
            if proof.epoch >= self._seen_from:
                verify_proof(entered, proof.preimages, proof.misses, proof.csum, proof.seed)

    def _apply(self, note: Any) -> None:
        match type(note).__name__:
            case "BookOrder":
                self.orders[bytes(note.order_id)] = (note.side, note.rate, note.quantity)
            case "UnbookOrder":
                self.orders.pop(bytes(note.order_id), None)
            case "UpdateRemaining":
                side, rate, _ = self.orders[bytes(note.order_id)]
                self.orders[bytes(note.order_id)] = (side, rate, note.remaining)
            case "EpochOrder":
                self._entered.setdefault(note.epoch, {})[bytes(note.order_id)] = note.commitment
            case "Suspension":
                self.orders.clear()

    def _new(self, route: routes.Route[Any, Any]) -> list[Any]:
        return self.eyes.notes.pop(route.name, [])
