"""The epoch ledger as its records arrive: signed, in one chain, and telling what the feed told.

Pure, like the book's mirror. A record that a server signed and that contradicts another one, or the notes of the same
epoch, is evidence that convinces anybody; what was wrong is returned in words.
"""

from __future__ import annotations

import msgspec

from twinlock.protocol.ledger import Entry, Epoch, LedgerError, LedgerOrder, decode_record, digest, parse_line
from twinlock.protocol.messages.book import EpochOrder, EpochReport, LedgerNote, MatchProof
from twinlock.protocol.orders import OrderType, Side
from twinlock.protocol.signing import check
from twinlock.protocol.wire import Hex


class Told(msgspec.Struct, frozen=True):
    """What the feed told of one epoch. complete: whether all of its orders were seen."""

    proof: MatchProof
    orders: dict[bytes, EpochOrder]
    report: EpochReport
    complete: bool


class LedgerWatch:
    """Follows one market's ledger. last_line: the newest entry that was seen before, b"" for none."""

    def __init__(self, market: str, server_key: bytes, last_line: bytes = b"") -> None:
        self._market = market
        self._key = server_key
        self.last_line = last_line
        self._number, self._digest = -1, b""
        if last_line:
            raw = bytes(parse_line(last_line).record)
            self._number, self._digest = decode_record(raw).number, digest(raw)

    def take(self, note: LedgerNote, told: Told | None) -> str:
        """Check the next record; what is wrong with it, "" if nothing. told: of the newest epoch, if there is one."""
        raw = bytes(note.record)
        if not check(self._key, raw, note.sig):
            return "a record of the ledger has a wrong signature"
        try:
            record = decode_record(raw)
        except LedgerError as error:
            return f"the server signed what is no record of a ledger: {error}"
        if record.market != self._market or note.market != self._market:
            return "the server signed a record of another market"
        accusation = self._chain(record.number, bytes(record.previous), raw)
        if not accusation and isinstance(record, Epoch) and told is not None and told.proof.epoch == record.epoch:
            accusation = _compare(record, told)
        if record.number > self._number and not accusation:
            self._number, self._digest = record.number, digest(raw)
            self.last_line = Entry(record=note.record, sig=note.sig).line()
        return accusation

    def _chain(self, number: int, previous: bytes, raw: bytes) -> str:
        if number == self._number and digest(raw) != self._digest:
            return f"the server signed two records with number {number}"
        if number == self._number + 1 and self._digest and previous != self._digest:
            return f"record {number} of the ledger does not follow the one that was shown before"
        return ""


def _compare(record: Epoch, told: Told) -> str:
    proof, report = told.proof, told.report
    if (record.preimages, record.misses, record.csum, record.seed) != (
        proof.preimages,
        proof.misses,
        proof.csum,
        proof.seed,
    ):
        return "the ledger's epoch is not the one that the match proof told"
    if (record.base_fee_rate, record.quote_fee_rate) != (report.base_fee_rate, report.quote_fee_rate):
        return "the ledger's fee rates are not those that the epoch report told"
    if told.complete and {bytes(order.order_id): order for order in record.orders} != _ledger_orders(told.orders):
        return "the ledger's orders are not those that the feed told"
    if _summary(record) != [tuple(row) for row in report.match_summary]:
        return "the ledger's fills are not those that the epoch report told"
    return ""


def _ledger_orders(notes: dict[bytes, EpochOrder]) -> dict[bytes, LedgerOrder]:
    return {
        order_id: LedgerOrder(
            order_id=note.order_id,
            order_type=note.order_type,
            side=note.side,
            quantity=note.quantity,
            rate=note.rate,
            time_in_force=note.time_in_force,
            time=note.time,
            target=note.target,
            commitment=note.commitment,
            options=None if isinstance(note.options, msgspec.UnsetType) else note.options,
        )
        for order_id, note in notes.items()
    }


def _summary(record: Epoch) -> list[tuple[int, int]]:
    """The fills as an epoch report sums them up."""
    orders = {Hex(order.order_id): order for order in record.orders}
    rows: list[tuple[int, int]] = []
    for fill in record.fills:
        taker = orders.get(fill.taker)
        if taker is None or taker.order_type == OrderType.CANCEL:
            continue
        quantity = fill.quantity if taker.side == Side.SELL else -fill.quantity
        if rows and rows[-1][0] == fill.rate and (rows[-1][1] > 0) == (quantity > 0):
            rows[-1] = (fill.rate, rows[-1][1] + quantity)
        else:
            rows.append((fill.rate, quantity))
    return rows
