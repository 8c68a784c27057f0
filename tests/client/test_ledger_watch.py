"""Records of the ledger are held to their signatures, to one chain, and to what the feed told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import Raw
from msgspec.structs import replace
from tests.server.test_ledger_replay import KEY, World

from twinlock.client.ledger_watch import LedgerWatch, Told
from twinlock.protocol.ledger import Epoch, decode_record, digest, encode_record, parse_line
from twinlock.protocol.messages.book import EpochOrder, EpochReport, LedgerNote, MatchProof
from twinlock.protocol.signing import sign
from twinlock.protocol.wire import Hex

WORLD = World(7).live(10)
NOTES = [LedgerNote(market="ltc_btc", record=entry.record, sig=entry.sig) for entry in map(parse_line, WORLD.lines)]
BUSY = next(
    number
    for number, note in enumerate(NOTES)
    if isinstance(record := decode_record(bytes(note.record)), Epoch) and record.fills and record.misses
)


def told(record: Epoch, **changes: object) -> Told:
    """What an honest feed tells of an epoch."""
    orders = {
        bytes(order.order_id): EpochOrder(
            order_id=order.order_id,
            order_type=order.order_type,
            side=order.side,
            quantity=order.quantity,
            rate=order.rate,
            time_in_force=order.time_in_force,
            time=order.time,
            target=order.target,
            commitment=order.commitment,
            epoch=record.epoch,
            **({"options": order.options} if order.options else {}),  # type: ignore[arg-type]
        )
        for order in record.orders
    }
    sides = {order.order_id: order for order in record.orders}
    rows: list[tuple[int, int]] = []
    for fill in record.fills:
        if sides[fill.taker].order_type == 3:
            continue
        quantity = fill.quantity if sides[fill.taker].side == 2 else -fill.quantity
        if rows and rows[-1][0] == fill.rate and (rows[-1][1] > 0) == (quantity > 0):
            rows[-1] = (fill.rate, rows[-1][1] + quantity)
        else:
            rows.append((fill.rate, quantity))
    proof = MatchProof(
        market="ltc_btc",
        epoch=record.epoch,
        preimages=record.preimages,
        misses=record.misses,
        csum=record.csum,
        seed=record.seed,
    )
    report = EpochReport(
        market="ltc_btc",
        epoch=record.epoch,
        base_fee_rate=record.base_fee_rate,
        quote_fee_rate=record.quote_fee_rate,
        match_summary=rows,
        start_stamp=0,
        end_stamp=0,
        match_volume=0,
        quote_volume=0,
        high_rate=0,
        low_rate=0,
        start_rate=0,
        end_rate=0,
    )
    return replace(Told(proof, orders, report, True), **changes)


def busy() -> tuple[LedgerNote, Epoch]:
    record = decode_record(bytes(NOTES[BUSY].record))
    assert isinstance(record, Epoch)
    return NOTES[BUSY], record


def forged(note: LedgerNote, **changes: object) -> LedgerNote:
    """Another record in the note's place, signed by the server."""
    raw = encode_record(replace(decode_record(bytes(note.record)), **changes))
    return LedgerNote(market="ltc_btc", record=Raw(raw), sig=sign(KEY, raw))


def test_an_honest_ledger_is_followed_also_after_a_pause() -> None:
    watch = LedgerWatch("ltc_btc", KEY.public)
    for note in NOTES[:4]:
        record = decode_record(bytes(note.record))
        assert watch.take(note, told(record) if isinstance(record, Epoch) else None) == ""
    again = LedgerWatch("ltc_btc", KEY.public, watch.last_line)
    for note in NOTES[3:5] + NOTES[7:]:
        assert again.take(note, None) == ""
    assert again.last_line == WORLD.lines[-1]


def test_two_records_with_one_number_are_evidence() -> None:
    watch = LedgerWatch("ltc_btc", KEY.public)
    assert watch.take(NOTES[3], None) == ""
    later = LedgerWatch("ltc_btc", KEY.public, watch.last_line)
    assert "two records" in later.take(forged(NOTES[3], stamp=1), None)
    assert "does not follow" in later.take(forged(NOTES[4], previous=Hex(digest(b""))), None)
    assert later.last_line == watch.last_line, "what is wrong replaces nothing"


def test_what_the_server_did_not_sign_is_no_record() -> None:
    watch = LedgerWatch("ltc_btc", KEY.public)
    assert "signature" in watch.take(replace(NOTES[0], sig=NOTES[1].sig), None)
    raw = bytes(NOTES[0].record) + b" "
    assert "no record" in watch.take(LedgerNote(market="ltc_btc", record=Raw(raw), sig=sign(KEY, raw)), None)
    assert "another market" in watch.take(replace(NOTES[0], market="doge_btc"), None)


FEEDS: list[tuple[str, Callable[[Told], Told]]] = [
    ("match proof", lambda t: replace(t, proof=replace(t.proof, seed=Hex(bytes(32))))),
    ("fee rates", lambda t: replace(t, report=replace(t.report, base_fee_rate=99))),
    ("orders", lambda t: replace(t, orders={i: replace(o, quantity=o.quantity + 10) for i, o in t.orders.items()})),
    ("fills", lambda t: replace(t, report=replace(t.report, match_summary=[]))),
]


@pytest.mark.parametrize(("what", "other"), FEEDS, ids=[what for what, _ in FEEDS])
def test_a_ledger_that_differs_from_the_feed_is_accused(what: str, other: Callable[[Told], Told]) -> None:
    note, record = busy()
    honest = told(record)
    assert LedgerWatch("ltc_btc", KEY.public).take(note, honest) == ""
    assert what in LedgerWatch("ltc_btc", KEY.public).take(note, other(honest))


def test_an_epoch_that_was_not_seen_whole_is_not_compared_order_by_order() -> None:
    note, record = busy()
    assert LedgerWatch("ltc_btc", KEY.public).take(note, told(record, orders={}, complete=False)) == ""
