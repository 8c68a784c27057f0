"""The mirror against an honest server that matches random orders, and against every way to cheat that it must see."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.fake_server import EPOCH_MS, LOT, MARKET, epoch_note, note_of

from twinlock.client.book_mirror import BookMirror, Expectation, GapError, Note, Verdict
from twinlock.protocol import matcher
from twinlock.protocol.book import Book
from twinlock.protocol.messages.book import (
    BookOrder,
    EpochOrder,
    EpochReport,
    MatchProof,
    OrderBook,
    UnbookOrder,
    UpdateRemaining,
)
from twinlock.protocol.messages.config import Market, MarketStatus
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Order, Side, TimeInForce, commit, order_id
from twinlock.protocol.shuffle import checksum, shuffle
from twinlock.protocol.wire import Hex

OFFER = Market(
    name=MARKET,
    base=2,
    quote=0,
    epoch_ms=EPOCH_MS,
    lot_size=LOT,
    rate_step=100,
    buy_buffer=1.25,
    parcel_size=1,
    status=MarketStatus(start_epoch=1),
)


class Honest:
    """A server's market: random orders in, the feed's notes out."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.book = Book(LOT)
        self.seq = 0
        self.epoch = 10
        self.standing: list[bytes] = []

    def snapshot(self) -> OrderBook:
        orders = [note_of(order, 0) for order in self.book]
        return OrderBook(market=MARKET, seq=self.seq, epoch=self.epoch, orders=orders)

    def run_epoch(self, count: int, misses: int = 0) -> list[Note]:
        """The notes of one epoch of `count` orders, of which `misses` are not revealed."""
        queue: dict[bytes, Order] = {}
        preimages: dict[bytes, bytes] = {}
        for _ in range(count):
            preimage = self.random.randbytes(32)
            order = self._order(preimage)
            queue[order.id], preimages[order.id] = order, preimage
        notes: list[Note] = [epoch_note(order, self._next(), self.epoch) for order in queue.values()]
        missed = self.random.sample(sorted(queue), min(misses, len(queue)))
        revealed = {order_id: preimage for order_id, preimage in preimages.items() if order_id not in missed}
        shuffled = shuffle(revealed)
        result = matcher.match(self.book, [queue[order_id] for order_id in shuffled.order_ids])
        notes.append(
            MatchProof(
                market=MARKET,
                epoch=self.epoch,
                preimages=[Hex(revealed[order_id]) for order_id in shuffled.order_ids],
                misses=[Hex(order_id) for order_id in missed],
                csum=Hex(checksum(order.commitment for order in queue.values())),
                seed=Hex(shuffled.seed),
            )
        )
        notes += [note_of(order, self._next()) for order in result.booked]
        notes += [
            UpdateRemaining(seq=self._next(), market=MARKET, order_id=Hex(order.id), remaining=order.remaining)
            for order in result.updated
        ]
        notes += [self.unbook(order.id) for order in result.unbooked]
        notes.append(self._report(result))
        self.epoch += 1
        return notes

    def unbook(self, order_id: bytes) -> UnbookOrder:
        self.book.remove(order_id)
        return UnbookOrder(seq=self._next(), market=MARKET, order_id=Hex(order_id))

    def _order(self, preimage: bytes) -> Order:
        draw = self.random
        prefix: dict[str, Any] = {
            "id": b"",
            "account_id": draw.randbytes(32),
            "base": 2,
            "quote": 0,
            "client_time": 1,
            "server_time": self.epoch * EPOCH_MS + draw.randrange(EPOCH_MS),
            "commitment": commit(preimage),
        }
        kind = draw.random()
        order: Order
        if kind < 0.15 and len(self.book):
            target = draw.choice([order.id for order in self.book])
            order = CancelOrder(**prefix, target_id=target)
        else:
            side = draw.choice(list(Side))
            trade = prefix | {"coins": (), "side": side, "quantity": draw.randrange(1, 9) * LOT, "address": ""}
            if kind < 0.3:
                order = MarketOrder(**trade)
            else:
                force = draw.choice(list(TimeInForce))
                order = LimitOrder(**trade, rate=draw.randrange(95, 105) * 100, time_in_force=force)
        return msgspec.structs.replace(order, id=order_id(order))

    def _report(self, result: matcher.Matched) -> EpochReport:
        statistics = result.statistics
        return EpochReport(
            market=MARKET,
            epoch=self.epoch,
            base_fee_rate=1,
            quote_fee_rate=1,
            match_summary=list(result.summary),
            start_stamp=self.epoch * EPOCH_MS,
            end_stamp=(self.epoch + 1) * EPOCH_MS,
            match_volume=statistics.volume,
            quote_volume=statistics.quote_volume,
            high_rate=statistics.high,
            low_rate=statistics.low,
            start_rate=statistics.start,
            end_rate=statistics.end,
        )

    def _next(self) -> int:
        self.seq += 1
        return self.seq


def follow(mirror: BookMirror, notes: list[Note]) -> Verdict:
    """The one verdict that the notes of an epoch lead to."""
    verdicts = [verdict for note in notes if (verdict := mirror.apply(note)) is not None]
    assert len(verdicts) == 1
    return verdicts[0]


def joined(seed: int) -> tuple[Honest, BookMirror]:
    """A server with a history, and a mirror that has seen one epoch since it subscribed."""
    server = Honest(seed)
    for _ in range(3):
        server.run_epoch(20)
    mirror = BookMirror(OFFER)
    mirror.load(server.snapshot())
    assert not follow(mirror, server.run_epoch(5)).complete
    return server, mirror


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3)), min_size=1, max_size=5))
def test_an_honest_server_is_never_accused_and_the_book_stays_equal(seed: int, epochs: list[tuple[int, int]]) -> None:
    server, mirror = joined(seed)
    for count, misses in epochs:
        verdict = follow(mirror, server.run_epoch(count, misses))
        assert verdict.complete
        assert verdict.accusation == ""
        assert {o.id: (o.remaining, o.rate, o.server_time) for o in mirror.book} == {
            o.id: (o.remaining, o.rate, o.server_time) for o in server.book
        }


def test_a_revocation_between_epochs_or_among_their_notes_is_no_cheat() -> None:
    server, mirror = joined(1)
    revoked = 0
    for _ in range(12):
        if victim := next((order.id for order in server.book), None):
            mirror.apply(server.unbook(victim))
        notes = server.run_epoch(12)
        if victim := next((order.id for order in server.book), None):
            notes.insert(-1, server.unbook(victim))
            revoked += 1
        assert follow(mirror, notes).accusation == ""
    assert revoked > 3


def test_a_revocation_that_overtakes_the_proof_is_no_cheat() -> None:
    """Matched in part, then revoked, and the revocation was told before the epoch's notes."""
    seen = 0
    for seed in range(40):
        server, mirror = joined(seed)
        notes = server.run_epoch(15)
        filled = next((note for note in notes if isinstance(note, UpdateRemaining)), None)
        if filled is None:
            continue
        seen += 1
        proof = next(index for index, note in enumerate(notes) if isinstance(note, MatchProof))
        revocation = UnbookOrder(seq=0, market=MARKET, order_id=filled.order_id)
        told = [*notes[:proof], revocation, *(note for note in notes[proof:] if note is not filled)]
        assert follow(mirror, renumbered(told, mirror.seq)).accusation == ""
    assert seen >= 2


def renumbered(notes: list[Note], seq: int) -> list[Note]:
    """The same notes, numbered in the order in which they stand."""
    counted = []
    for note in notes:
        if not isinstance(note, MatchProof | EpochReport):
            seq += 1
            note = msgspec.structs.replace(note, seq=seq)
        counted.append(note)
    return counted


Cheat = Callable[[list[Note]], list[Note]]


def change(kind: type[Any], **members: Any) -> Cheat:
    """The first note of that type, with other members."""

    def cheat(notes: list[Note]) -> list[Note]:
        index = next(index for index, note in enumerate(notes) if type(note) is kind)
        values = {name: make(notes[index]) if callable(make) else make for name, make in members.items()}
        return [*notes[:index], msgspec.structs.replace(notes[index], **values), *notes[index + 1 :]]

    return cheat


CHEATS: dict[str, Cheat] = {
    "another seed": change(MatchProof, seed=Hex(bytes(32))),
    "another checksum": change(MatchProof, csum=Hex(bytes(32))),
    "a preimage left out": change(MatchProof, preimages=lambda proof: proof.preimages[1:]),
    "a preimage invented": change(MatchProof, preimages=lambda proof: [*proof.preimages, Hex(b"\x01" * 32)]),
    "a revealed order called missed": change(MatchProof, misses=lambda proof: [*proof.misses, Hex(b"\x02" * 32)]),
    "matches left out": change(EpochReport, match_summary=lambda report: report.match_summary[1:]),
    "a match at another rate": change(
        EpochReport, match_summary=lambda report: [(report.match_summary[0][0] + 100, 1), *report.match_summary[1:]]
    ),
    "an order booked with less": change(BookOrder, quantity=lambda note: note.quantity - LOT or 2 * LOT),
    "an order booked at another rate": change(BookOrder, rate=lambda note: note.rate + 100),
    "an order changed in the epoch": change(EpochOrder, rate=lambda note: note.rate + 5_000),
    "an order of the epoch given another commitment": change(EpochOrder, commitment=Hex(b"\x03" * 32)),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheating_server_is_accused_with_evidence(name: str) -> None:
    accusations = []
    for seed in range(6):
        server, mirror = joined(seed)
        notes = server.run_epoch(30)
        try:
            cheated = CHEATS[name](notes)
        except (StopIteration, IndexError):
            continue
        accusations.append(follow(mirror, cheated))
    assert accusations
    # Changing one order of many need not change what happens; the others always show.
    shown = [verdict for verdict in accusations if verdict.accusation]
    assert shown if name == "an order changed in the epoch" else len(shown) == len(accusations)
    evidence = msgspec.json.decode(shown[0].evidence)
    assert {"market", "before", "epoch", "proof", "report"} <= set(evidence)


def test_an_own_order_that_is_left_out_is_noticed() -> None:
    server, mirror = joined(3)
    mirror.expect(server.epoch, Expectation(b"\x09" * 32, b"\x08" * 32))
    assert "left out" in follow(mirror, server.run_epoch(4)).accusation


def test_a_checksum_other_than_the_one_we_were_shown_is_noticed() -> None:
    server, mirror = joined(3)
    notes = server.run_epoch(4)
    first = notes[0]
    assert isinstance(first, EpochOrder)
    mirror.expect(first.epoch, Expectation(bytes(first.order_id), bytes(first.commitment), b"\x01" * 32))
    assert "after the preimages" in follow(mirror, notes).accusation


def test_a_missing_note_is_a_gap_and_a_repeated_one_is_nothing() -> None:
    server, mirror = joined(4)
    notes = server.run_epoch(3)
    mirror.apply(notes[0])
    assert mirror.apply(notes[0]) is None
    with pytest.raises(GapError):
        mirror.apply(notes[2])
