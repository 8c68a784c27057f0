"""The epoch ledger: a chain of signed records from which anybody can replay a market.

Three kinds of record tell everything that ever changes a book, in the order in which it happened:

- `Opening`: the market's terms and the book at rest; the first record, and again whenever the terms change
- `Epoch`: one processed epoch: orders, commitments, preimages, misses, seed, what expired, fills, fee rates
- `Removal`: orders that left the book between epochs, and why

Each names the digest of the record before it and is signed by the server's key, so none can be changed, dropped or
slipped in unseen; `twinlock.protocol.audit` replays them. Coins and addresses are not in it. An order's ID hashes
them together with everything that is published, so its owner, who knows them, can recompute the ID and holds the
record to every field; everybody else takes the IDs as given and recomputes all the rest.

A record has one serialization: the compact JSON of its members in the order below, members at their defaults left
out. Those bytes are what is hashed (BLAKE-256), signed (as every message of the protocol) and stored. A ledger file
holds one `Entry` a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from twinlock.errors import Fault, TwinlockError
from twinlock.kernels.blake256 import blake256
from twinlock.protocol import wire
from twinlock.protocol.matcher import Match
from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Order
from twinlock.protocol.wire import EMPTY, U8, U16, U32, U64, Hex, Payload

VERSION = 1
GENESIS = Hex(bytes(32))
"""What the first record names as the one before it."""


class LedgerError(TwinlockError):
    """A record that contradicts its signature, its predecessor or its own orders. Evidence: keep it."""

    code = "ledger.record"
    fault: Fault = "server"


class LedgerOrder(Payload, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """An order without its owner, coins and address. Sizes in atoms, `time` in ms."""

    order_id: Hex = msgspec.field(name="oid")
    order_type: U8 = msgspec.field(name="otype")
    side: U8 = 0
    quantity: U64 = msgspec.field(name="qty", default=0)
    rate: U64 = 0
    time_in_force: U8 = msgspec.field(name="tif", default=0)
    time: U64
    target: Hex = EMPTY
    commitment: Hex = msgspec.field(name="com")
    options: OrderOptions | None = None


class RestingOrder(Payload, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """An order at rest. `quantity` is what remains, in base atoms; matches: so far, where they are capped."""

    order_id: Hex = msgspec.field(name="oid")
    side: U8
    quantity: U64 = msgspec.field(name="qty")
    rate: U64
    time: U64
    options: OrderOptions | None = None
    matches: U32 = 0


class LedgerFill(Payload, kw_only=True, frozen=True, gc=False):
    """One match; of a cancellation, the cancel is the taker."""

    match_id: Hex = msgspec.field(name="matchid")
    taker: Hex
    maker: Hex
    quantity: U64 = msgspec.field(name="qty")
    rate: U64


class Link(msgspec.Struct, kw_only=True, frozen=True):
    """A record's place: the how-manieth of its market (from 0), the digest of the one before, and when (ms)."""

    market: str
    number: int
    previous: bytes
    stamp: int


class _Record(Payload, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind"):
    """What every record begins with."""

    version: U16
    market: str
    number: U64
    previous: Hex
    stamp: U64


class Opening(_Record, kw_only=True, frozen=True, omit_defaults=True, tag="opening"):
    """The terms from now on, and the book, by order ID. base, quote: asset IDs; public_key: the server's."""

    public_key: Hex = msgspec.field(name="pubkey")
    base: U32
    quote: U32
    epoch_ms: U64 = msgspec.field(name="epochlen")
    lot_size: U64 = msgspec.field(name="lotsize")
    rate_step: U64 = msgspec.field(name="ratestep")
    book: list[RestingOrder] = msgspec.field(default_factory=list)


class Epoch(_Record, kw_only=True, frozen=True, omit_defaults=True, tag="epoch"):
    """One processed epoch.

    orders: the revealed ones in matching order, then the missed. preimages: in matching order. misses: order IDs.
    expired: IDs of what left the book before the epoch was matched. fills: as matched.
    """

    epoch: U64
    orders: list[LedgerOrder] = msgspec.field(default_factory=list)
    preimages: list[Hex] = msgspec.field(default_factory=list)
    misses: list[Hex] = msgspec.field(default_factory=list)
    csum: Hex = EMPTY
    seed: Hex = EMPTY
    expired: list[Hex] = msgspec.field(default_factory=list)
    fills: list[LedgerFill] = msgspec.field(default_factory=list)
    base_fee_rate: U64 = msgspec.field(name="baseFeeRate", default=0)
    quote_fee_rate: U64 = msgspec.field(name="quoteFeeRate", default=0)


class Removal(_Record, kw_only=True, frozen=True, omit_defaults=True, tag="removal"):
    """Orders that left between epochs.

    reason: `revoked` (owner absent, suspended or at fault, or coins spent), `canceled` (while the market stood still;
    then `cancel` is the order that did it), `suspended` (with the whole book), `terms` (no longer fits the lot size)
    or `restart`. orders: IDs of what was on the book. lapsed: accepted orders whose epoch is never processed.
    """

    reason: str
    orders: list[Hex] = msgspec.field(default_factory=list)
    lapsed: list[LedgerOrder] = msgspec.field(default_factory=list)
    cancel: LedgerOrder | None = None


Record: TypeAlias = Opening | Epoch | Removal


class Entry(Payload, kw_only=True, frozen=True):
    """A record as it travels: its bytes, and the server's signature over them."""

    record: msgspec.Raw
    sig: Hex

    def line(self) -> bytes:
        """The entry as one line of a ledger file."""
        return b'{"record":%b,"sig":"%b"}\n' % (bytes(self.record), self.sig.hex().encode())


def parse_line(line: bytes) -> Entry:
    """A line of a ledger file. Raises LedgerError."""
    try:
        return wire.decode(line, Entry)
    except wire.DecodeError as error:
        raise LedgerError(f"not an entry of a ledger: {error}", code="ledger.form") from error


def encode_record(record: Record) -> bytes:
    """The one serialization of a record."""
    return wire.encode(record)


def decode_record(raw: bytes) -> Record:
    """Parse a record. Raises LedgerError for anything but the bytes that `encode_record` gives."""
    try:
        record: Record = wire.decode(raw, Record)  # type: ignore[arg-type]
    except wire.DecodeError as error:
        raise LedgerError(f"not a record: {error}", code="ledger.form") from error
    if encode_record(record) != raw:
        raise LedgerError("the record is not in its one serialization", code="ledger.form", numbers=place(record))
    return record


def digest(record: bytes) -> bytes:
    """What the next record names: the hash of the record's bytes."""
    return blake256(record)


def place(record: Record) -> dict[str, int | str]:
    """Where a record stands, for people."""
    found: dict[str, int | str] = {"market": record.market, "record": record.number}
    return found | {"epoch": record.epoch} if isinstance(record, Epoch) else found


def head(link: Link) -> dict[str, Any]:
    """The members that every record begins with."""
    return {
        "version": VERSION,
        "market": link.market,
        "number": link.number,
        "previous": Hex(link.previous),
        "stamp": link.stamp,
    }


def ledger_order(order: Order) -> LedgerOrder:
    """An order as it was submitted, without what concerns only its owner."""
    if isinstance(order, CancelOrder):
        return LedgerOrder(
            order_id=Hex(order.id),
            order_type=int(order.order_type),
            time=order.server_time,
            target=Hex(order.target_id),
            commitment=Hex(order.commitment),
        )
    rate, force = (order.rate, int(order.time_in_force)) if isinstance(order, LimitOrder) else (0, 0)
    return LedgerOrder(
        order_id=Hex(order.id),
        order_type=int(order.order_type),
        side=int(order.side),
        quantity=order.quantity,
        rate=rate,
        time_in_force=force,
        time=order.server_time,
        commitment=Hex(order.commitment),
        options=_options(order),
    )


def resting_orders(book: Iterable[LimitOrder]) -> list[RestingOrder]:
    """A book, by order ID."""
    return [
        RestingOrder(
            order_id=Hex(order.id),
            side=int(order.side),
            quantity=order.remaining,
            rate=order.rate,
            time=order.server_time,
            options=_options(order),
            matches=order.matches,
        )
        for order in sorted(book, key=lambda order: order.id)
    ]


def ledger_fill(found: Match) -> LedgerFill:
    """A match, by its IDs."""
    return LedgerFill(
        match_id=Hex(found.id),
        taker=Hex(found.taker.id),
        maker=Hex(found.maker.id),
        quantity=found.quantity,
        rate=found.rate,
    )


def _options(order: LimitOrder | MarketOrder) -> OrderOptions | None:
    return None if order.options.plain else order.options
