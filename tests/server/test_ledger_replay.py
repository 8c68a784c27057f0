"""Random markets give ledgers that replay to the same book; what is changed in one is found, where it was changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import fields, replace
from tests.protocol.support import LOT, cancel, identity, limit, market

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.audit import Auditor
from twinlock.protocol.epoch import epoch_end
from twinlock.protocol.ledger import (
    Entry,
    Epoch,
    LedgerError,
    Opening,
    Record,
    Removal,
    decode_record,
    digest,
    encode_record,
    parse_line,
)
from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import CancelOrder, LimitOrder, Order, Side, commit
from twinlock.protocol.signing import sign
from twinlock.protocol.wire import Hex
from twinlock.seams import VirtualClock
from twinlock.server.db import Database
from twinlock.server.historian.ledger import LedgerDraft, LedgerKeeper, Reason, Tip
from twinlock.server.market.core import Close, MarketCore, Process, Retract, Submit, Unbook
from twinlock.server.market.errors import MarketError
from twinlock.server.market.terms import MarketTerms

KEY = PrivateKey(bytes(31) + b"\11")
EPOCH_MS = 1_000
TERMS = MarketTerms(
    name="ltc_btc", base=2, quote=0, lot_size=LOT, rate_step=1, epoch_ms=EPOCH_MS, buy_buffer=1.25, parcel_size=4
)


class World:
    """A market that lives at random, and its ledger."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.core = MarketCore(TERMS)
        self.keeper = LedgerKeeper(cast(Database, None), KEY, VirtualClock())
        self.keeper.advance(TERMS.name, Tip())
        self.lines: list[bytes] = []
        self.numbers = iter(range(10**6))
        self.preimages: dict[bytes, bytes] = {}
        self.store(lambda draft: draft.open(()))

    def store(self, tell: Callable[[LedgerDraft], None]) -> None:
        draft = self.keeper.draft(self.core.terms)
        tell(draft)
        if self.dice.random() < 0.1:  # a transaction that failed and was tried again
            draft = self.keeper.draft(self.core.terms)
            tell(draft)
        self.lines += [entry.line() for entry in draft.commit()]

    def order(self, epoch: int) -> Order:
        dice, number = self.dice, next(self.numbers)
        side, lots = dice.choice(list(Side)), dice.randint(1, 5)
        kind = dice.choice(["limit"] * 5 + ["immediate", "market", "cancel"])
        order: Order
        if kind == "cancel" and len(self.core.book):
            order = cancel(dice.choice(list(self.core.book)).id, number=number)
        elif kind == "market":
            order = market(side, lots * LOT, number=number)
        else:
            order = limit(side, dice.randint(8, 12) * 10**7, lots, number=number, standing=kind != "immediate")
            order = replace(order, options=self.options(epoch) if kind != "immediate" else order.options)
        preimage = identity(number + 5_000_000)
        self.preimages[order.id] = preimage
        return replace(order, server_time=epoch * EPOCH_MS + dice.randrange(EPOCH_MS), commitment=commit(preimage))

    def options(self, epoch: int) -> OrderOptions:
        expiry = epoch_end(epoch + self.dice.randint(1, 3), EPOCH_MS)
        return OrderOptions(
            post_only=self.dice.random() < 0.2,
            expiry=expiry if self.dice.random() < 0.2 else 0,
            max_matches=self.dice.choice([0, 0, 0, 1, 2]),
        )

    def epoch(self, index: int) -> None:
        for _ in range(self.dice.randint(0, 6)):
            try:
                self.core.submit(Submit(self.order(index)))
            except MarketError:
                continue
        closed = self.core.close(Close(index))
        shown = {order.id: self.preimages[order.id] for order in closed.orders if self.dice.random() < 0.9}
        processed = self.core.process(Process(index, shown, 3, 4, (index + 1) * EPOCH_MS))
        self.store(lambda draft: draft.epoch(processed))

    def between(self) -> None:
        """What may happen between two epochs: a revocation, a cancel while stopped, a restart with other terms."""
        booked = sorted(self.core.book, key=lambda order: order.id)
        what = self.dice.random()
        if booked and what < 0.2:
            gone = self.core.unbook(Unbook(tuple(order.id for order in booked[:2])))
            self.store(lambda draft: draft.removal(Reason.REVOKED, [order.id for order in gone]))
        elif booked and what < 0.3:
            taken = cancel(booked[0].id, number=next(self.numbers))
            self.core.unbook(Unbook((taken.target_id,)))
            self.store(lambda draft: draft.removal(Reason.CANCELED, [taken.target_id], cancel=taken))
        elif what < 0.4:
            self.restart(booked)

    def restart(self, booked: list[LimitOrder]) -> None:
        lot = self.dice.choice([LOT, 2 * LOT])
        fit = [order for order in booked if order.remaining % lot == 0]
        misfits = [order.id for order in booked if order.remaining % lot]
        lost = self.order(0)
        self.core = MarketCore(replace(TERMS, lot_size=lot), fit)

        def tell(draft: LedgerDraft) -> None:
            draft.removal(Reason.RESTART, misfits, lapsed=[lost])
            draft.open(fit)

        self.store(tell)

    def live(self, epochs: int) -> World:
        for index in range(epochs):
            self.epoch(index)
            self.between()
        return self


def replay(lines: list[bytes]) -> Auditor:
    auditor = Auditor(KEY.public)
    for line in lines:
        auditor.take(line)
    return auditor


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_ledger_replays_to_the_market_s_book(seed: int) -> None:
    world = World(seed).live(12)
    auditor = replay(world.lines)
    told = {order.id: (order.remaining, order.matches) for order in auditor.book}
    assert told == {order.id: (order.remaining, order.matches) for order in world.core.book}
    assert auditor.tip == digest(bytes(parse_line(world.lines[-1]).record))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_a_replay_may_begin_at_any_opening(seed: int, data: st.DataObject) -> None:
    world = World(seed).live(12)
    openings = [number for number, line in enumerate(world.lines) if b'"opening"' in line]
    first = data.draw(st.sampled_from(openings))
    late = replay(world.lines[first:])
    assert late.first == first
    assert late.tip == replay(world.lines).tip
    assert {order.id for order in late.book} == {order.id for order in world.core.book}


# Tampering


def busy() -> list[bytes]:
    """A ledger with a record of each kind in which every member is set."""
    for seed in range(200):
        lines = World(seed).live(14).lines
        records = [decode_record(bytes(parse_line(line).record)) for line in lines]
        full = any(isinstance(r, Epoch) and r.expired and r.misses and r.fills for r in records)
        cancels = any(isinstance(r, Removal) and r.cancel for r in records)
        opened = any(isinstance(r, Opening) and r.number and r.book for r in records)
        options = b'"maxmatches"' in b"".join(lines) and b'"postonly"' in b"".join(lines)
        if full and cancels and opened and options:
            return lines
    raise AssertionError("no random market did everything")


LINES = busy()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every number, string and boolean of a JSON value."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def flipped(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return ("0" if value[0] != "0" else "1") + value[1:] if value else "00"


def changed(record: Any, path: tuple[Any, ...]) -> bytes:
    twin = json.loads(json.dumps(record))
    inner = twin
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = flipped(inner[path[-1]])
    return json.dumps(twin, separators=(",", ":")).encode()


def test_every_field_of_every_record_is_guarded() -> None:
    """Flip any one value in any record: the replay stops at that very record."""
    seen: set[tuple[Any, ...]] = set()
    auditor = Auditor(KEY.public)
    for line in LINES:
        entry = parse_line(line)
        record = json.loads(bytes(entry.record))
        for path in leaves(record):
            seen.add((record["kind"], *(key for key in path if isinstance(key, str))))
            with pytest.raises(LedgerError) as caught:
                auditor.take_entry(Entry(record=Raw(changed(record, path)), sig=entry.sig))
            assert caught.value.code in ("ledger.signature", "ledger.form", "ledger.key"), path
        auditor.take(line)
    named = {
        (kind.__struct_config__.tag, field.encode_name) for kind in (Opening, Epoch, Removal) for field in fields(kind)
    }
    assert named <= {path[:2] for path in seen}, "every member of every kind was flipped"


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw.replace(b'","', b'", "', 1),
        lambda raw: raw[:-1] + b',"more":1}',
        lambda raw: raw[:-1],
        lambda raw: b"[]",
        lambda raw: b"",
    ],
)
def test_a_record_has_one_serialization(edit: Callable[[bytes], bytes]) -> None:
    """Even what the server itself signed must be in it."""
    auditor = Auditor(KEY.public)
    raw = edit(bytes(parse_line(LINES[0]).record))
    with pytest.raises(LedgerError) as caught:
        auditor.take(b'{"record":%b,"sig":"%b"}' % (raw, sign(KEY, raw).hex().encode()))
    assert caught.value.code == "ledger.form"


def test_records_cannot_be_dropped_swapped_repeated_or_begun_late() -> None:
    for number in range(1, len(LINES) - 1):
        for edit in (
            LINES[:number] + LINES[number + 1 :],
            [*LINES[:number], LINES[number + 1], LINES[number], *LINES[number + 2 :]],
            [*LINES[:number], LINES[number - 1], *LINES[number:]],
        ):
            with pytest.raises(LedgerError) as caught:
                replay(edit)
            assert caught.value.code in ("ledger.chain", "ledger.opening")
    epoch = next(number for number, line in enumerate(LINES) if b'"kind":"epoch"' in line)
    with pytest.raises(LedgerError, match="begins with an opening"):
        replay(LINES[epoch:])
    with pytest.raises(LedgerError) as caught:
        Auditor(PrivateKey(bytes(31) + b"\12").public).take(LINES[0])
    assert caught.value.code == "ledger.key"


def forged(change: Callable[[Record], Record | None]) -> list[bytes]:
    """A ledger that the server itself changed: the first record that the change takes, and all after it signed anew."""
    lines, previous, done = [], None, False
    for line in LINES:
        record = decode_record(bytes(parse_line(line).record))
        lie = None if done else change(record)
        if lie is not None:
            record, done = lie, True
        if previous is not None:
            record = replace(record, previous=Hex(previous))
        raw = encode_record(record)
        previous = digest(raw)
        lines.append(Entry(record=Raw(raw), sig=sign(KEY, raw)).line())
    assert done
    return lines


def of_epoch(change: Callable[[Epoch], Epoch | None]) -> Callable[[Record], Record | None]:
    return lambda record: change(record) if isinstance(record, Epoch) else None


LIES: dict[str, Callable[[Record], Record | None]] = {
    "ledger.version": lambda r: replace(r, version=2) if r.number == 3 else None,
    "ledger.market": lambda r: replace(r, market="doge_btc") if r.number == 3 else None,
    "ledger.chain": lambda r: replace(r, number=99) if r.number == 3 else None,
    "ledger.epoch": of_epoch(lambda r: replace(r, epoch=0, orders=[]) if r.epoch > 1 else None),
    "ledger.time": of_epoch(lambda r: replace(r, epoch=r.epoch + 1) if r.orders else None),
    "ledger.orders": of_epoch(lambda r: replace(r, orders=r.orders[::-1]) if len(r.preimages) > 1 else None),
    "ledger.expired": of_epoch(lambda r: replace(r, expired=[]) if r.expired else None),
    "ledger.fills": of_epoch(lambda r: replace(r, fills=r.fills[:-1]) if r.fills else None),
    "ledger.book": lambda r: replace(r, book=r.book[1:]) if isinstance(r, Opening) and r.book else None,
    "ledger.removed": lambda r: (
        replace(r, orders=[*r.orders, Hex(bytes(32))]) if isinstance(r, Removal) and r.orders and not r.cancel else None
    ),
    "epoch.proof.preimage": of_epoch(lambda r: replace(r, preimages=[Hex(bytes(32))]) if r.preimages else None),
    "epoch.proof.orders": of_epoch(lambda r: replace(r, misses=[]) if r.misses else None),
    "epoch.proof.checksum": of_epoch(lambda r: replace(r, csum=Hex(bytes(32))) if r.orders else None),
    "epoch.proof.seed": of_epoch(lambda r: replace(r, seed=Hex(bytes(32))) if r.preimages else None),
}


@pytest.mark.parametrize("code", LIES)
def test_what_the_server_signs_must_replay_all_the_same(code: str) -> None:
    with pytest.raises(LedgerError) as caught:
        replay(forged(LIES[code]))
    assert caught.value.code == code
    assert caught.value.numbers["market"]


def test_a_fill_that_never_was_is_found() -> None:
    def invent(record: Epoch) -> Epoch | None:
        if not record.fills:
            return None
        fill = replace(record.fills[0], quantity=record.fills[0].quantity + LOT)
        return replace(record, fills=[fill, *record.fills[1:]])

    with pytest.raises(LedgerError, match="fills"):
        replay(forged(of_epoch(invent)))


def test_a_refused_record_changes_nothing() -> None:
    auditor = Auditor(KEY.public)
    for line in LINES:
        with pytest.raises(LedgerError):
            auditor.take(line.replace(b'"sig":"30', b'"sig":"31'))
        auditor.take(line)
    assert auditor.records == len(LINES)


def test_retracted_orders_are_in_no_record() -> None:
    world = World(1)
    order = world.order(0)
    while isinstance(order, CancelOrder):
        order = world.order(0)
    world.core.submit(Submit(order))
    world.core.retract(Retract(order.id, 0))
    world.epoch(0)
    assert order.id.hex().encode() not in b"".join(world.lines)
