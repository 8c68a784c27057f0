"""Replaying a ledger: every record is checked against the server's key, the record before it, and the true matcher."""

from __future__ import annotations

from typing import Any, NoReturn

from twinlock.errors import TwinlockError
from twinlock.protocol.book import Book, BookError
from twinlock.protocol.epoch import ProofError, epoch_end, epoch_index, verify_proof
from twinlock.protocol.ledger import (
    GENESIS,
    VERSION,
    Entry,
    Epoch,
    LedgerError,
    LedgerOrder,
    Opening,
    Record,
    Removal,
    RestingOrder,
    decode_record,
    digest,
    ledger_fill,
    parse_line,
    place,
    resting_orders,
)
from twinlock.protocol.matcher import match
from twinlock.protocol.messages.orders import PLAIN
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Order, OrderType, Side, TimeInForce
from twinlock.protocol.signing import check


class Auditor:
    """Replays one market's ledger from an opening on, record by record; holds the book as it stands after the last.

    server_key: 33 bytes; None takes the key that the opening names, which proves only that the ledger is of one piece.
    """

    def __init__(self, server_key: bytes | None = None) -> None:
        self.server_key = server_key
        self.terms: Opening | None = None
        self.first = 0
        self.records = self.epochs = self.orders = self.fills = 0
        self.tip: bytes = GENESIS
        self._book = Book(1)
        self._number = -1
        self._epoch = -1

    @property
    def book(self) -> Book:
        """The orders at rest after the last record; only to look at."""
        return self._book

    @property
    def last(self) -> int:
        """The number of the last record; -1 before the first."""
        return self._number

    def take(self, line: bytes) -> Record:
        """Check and replay the next line of a ledger file. Raises LedgerError and changes nothing then."""
        return self.take_entry(parse_line(line))

    def take_entry(self, entry: Entry) -> Record:
        """Check and replay the next entry. Raises LedgerError and changes nothing then."""
        raw = bytes(entry.record)
        record = decode_record(raw)
        key = self._key(record)
        self._check_chain(record, raw, entry.sig, key)
        book = self._replay(record)
        if isinstance(record, Opening):
            self.terms, self._epoch = record, self._epoch if self._same_clock(record) else -1
        if isinstance(record, Epoch):
            self._epoch = record.epoch
            self.epochs += 1
            self.orders += len(record.orders)
            self.fills += len(record.fills)
        if not self.records:
            self.first = record.number
        self.server_key, self._book, self.tip, self._number = key, book, digest(raw), record.number
        self.records += 1
        return record

    def _key(self, record: Record) -> bytes:
        if not self.records and not isinstance(record, Opening):
            _fail(record, "opening", "a replay begins with an opening")
        if not isinstance(record, Opening):
            assert self.server_key is not None
            return self.server_key
        if self.server_key is not None and record.public_key != self.server_key:
            _fail(record, "key", "the record names another key of the server")
        return bytes(record.public_key)

    def _same_clock(self, opening: Opening) -> bool:
        return self.terms is not None and self.terms.epoch_ms == opening.epoch_ms

    def _check_chain(self, record: Record, raw: bytes, signature: bytes, key: bytes) -> None:
        if not check(key, raw, signature):
            _fail(record, "signature", "the server did not sign this record")
        if record.version != VERSION:
            _fail(record, "version", f"version {record.version} of the ledger is not known")
        if self.terms is not None and record.market != self.terms.market:
            _fail(record, "market", f"the record belongs to {record.market}, not to {self.terms.market}")
        if not self.records and record.number:
            return
        if record.number != self._number + 1 or record.previous != self.tip:
            _fail(record, "chain", "the record does not follow the one before it")

    def _replay(self, record: Record) -> Book:
        """The book after the record."""
        try:
            match record:
                case Opening():
                    return self._open(record)
                case Epoch():
                    return self._replay_epoch(record)
                case Removal():
                    return self._remove(record)
        except (ProofError, BookError, ValueError) as error:
            reason = error.code if isinstance(error, TwinlockError) else "ledger.order"
            raise LedgerError(str(error), code=reason, numbers=place(record)) from error

    def _open(self, record: Opening) -> Book:
        if self.records and record.book != resting_orders(self._book):
            _fail(record, "book", "the opening's book is not the one that the records before it give")
        resting = self._book if self.records else [_resting(order) for order in record.book]
        return Book(record.lot_size, resting)

    def _remove(self, record: Removal) -> Book:
        book = self._book.copy()
        for order_id in record.orders:
            if book.remove(bytes(order_id)) is None:
                _fail(record, "removed", f"order {order_id.hex()} was removed and was not on the book")
        if record.cancel is not None and record.orders != [record.cancel.target]:
            _fail(record, "removed", "the cancel did not name the order that was removed")
        return book

    def _replay_epoch(self, record: Epoch) -> Book:
        assert self.terms is not None
        epoch_ms = self.terms.epoch_ms
        if record.epoch <= self._epoch:
            _fail(record, "epoch", f"epoch {record.epoch} was processed after epoch {self._epoch}")
        orders = {bytes(told.order_id): _order(told) for told in record.orders}
        for order in orders.values():
            if epoch_index(order.server_time, epoch_ms) != record.epoch:
                _fail(record, "time", f"order {order.id.hex()} was accepted in another epoch")
        seen = {order_id: order.commitment for order_id, order in orders.items()}
        queue = verify_proof(seen, record.preimages, record.misses, record.csum, record.seed)
        if [bytes(told.order_id) for told in record.orders] != [*queue.order_ids, *map(bytes, record.misses)]:
            _fail(record, "orders", "the orders do not stand in matching order")
        book = self._book.copy()
        if [order.id for order in book.expire(epoch_end(record.epoch, epoch_ms))] != record.expired:
            _fail(record, "expired", "the expired orders are not those whose time was over")
        matches = match(book, [orders[order_id] for order_id in queue.order_ids]).matches
        if [ledger_fill(found) for found in matches] != record.fills:
            _fail(record, "fills", "the fills are not those that the orders and the seed give")
        return book


def _fail(record: Record, reason: str, message: str) -> NoReturn:
    raise LedgerError(message, code=f"ledger.{reason}", numbers=place(record))


def _order(told: LedgerOrder) -> Order:
    """The order with nobody's account, coins and address: matching does not look at them."""
    common: dict[str, Any] = {
        "id": bytes(told.order_id),
        "account_id": b"",
        "base": 0,
        "quote": 0,
        "client_time": 0,
        "server_time": told.time,
        "commitment": bytes(told.commitment),
    }
    if told.order_type == OrderType.CANCEL:
        return CancelOrder(**common, target_id=bytes(told.target))
    common |= {"coins": (), "side": Side(told.side), "quantity": told.quantity, "address": ""}
    common["options"] = told.options or PLAIN
    if told.order_type == OrderType.MARKET:
        return MarketOrder(**common)
    return LimitOrder(**common, rate=told.rate, time_in_force=TimeInForce(told.time_in_force))


def _resting(told: RestingOrder) -> LimitOrder:
    return LimitOrder(
        id=bytes(told.order_id),
        account_id=b"",
        base=0,
        quote=0,
        client_time=0,
        server_time=told.time,
        commitment=b"",
        coins=(),
        side=Side(told.side),
        quantity=told.quantity,
        address="",
        options=told.options or PLAIN,
        matches=told.matches,
        rate=told.rate,
        time_in_force=TimeInForce.STANDING,
    )
