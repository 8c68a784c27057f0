"""Books, epochs and prices as subscribers see them (protocol sections 3.6 to 3.8 and 3.13)."""

from __future__ import annotations

from msgspec import UNSET, Raw, UnsetType, field

from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.wire import EMPTY, I64, U8, U32, U64, Hex, Payload, Signed, u16, u32, u64


class BookSubscription(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """The payload of `orderbook`. ledger: send the epoch ledger's records too; ours, left out where it is not asked."""

    base: U32
    quote: U32
    ledger: bool = False


class BookUnsubscription(Payload, kw_only=True, frozen=True):
    """The payload of `unsub_orderbook`."""

    market: str = field(name="marketid")


class BookOrder(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """An order on the book, and the payload of `book_order`. `quantity` is what remains, in base atoms.

    options, matches: only of orders that ask for more than the reference knows; matches so far, of a capped one.
    """

    seq: U64 = 0
    market: str = field(name="marketid", default="")
    order_id: Hex = field(name="oid")
    side: U8 = 0
    quantity: U64 = field(name="qty", default=0)
    rate: U64 = 0
    time_in_force: U8 = field(name="tif", default=0)
    time: U64 = 0
    options: OrderOptions | UnsetType = UNSET
    matches: U32 = 0


class UnbookOrder(Payload, kw_only=True, frozen=True):
    """The payload of `unbook_order`."""

    seq: U64
    market: str = field(name="marketid")
    order_id: Hex = field(name="oid")


class UpdateRemaining(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """The payload of `update_remaining`. matches: so far, of an order with a cap on them."""

    seq: U64
    market: str = field(name="marketid")
    order_id: Hex = field(name="oid")
    remaining: U64
    matches: U32 = 0


class EpochOrder(BookOrder, kw_only=True, frozen=True, omit_defaults=True):
    """An order of the current epoch. Cancels have only time and target among the trade members."""

    commitment: Hex = field(name="com")
    order_type: U8 = field(name="otype")
    epoch: U64
    target: Hex = EMPTY


class OrderBook(Payload, kw_only=True, frozen=True):
    """The result of `orderbook`: the book at sequence number `seq`, without the current epoch's orders."""

    market: str = field(name="marketid")
    seq: U64
    epoch: U64
    orders: list[BookOrder] = field(default_factory=list)
    base_fee_rate: U64 = field(name="baseFeeRate", default=0)
    quote_fee_rate: U64 = field(name="quoteFeeRate", default=0)
    recent_matches: list[tuple[U64, I64, U64]] = field(name="recentMatches", default_factory=list)
    """(rate, quantity, time ms), newest first; the quantity is negative when the taker bought."""


class MatchProof(Payload, kw_only=True, frozen=True):
    """The evidence of a closed epoch. `preimages` stand in matching order, `misses` are order IDs."""

    market: str = field(name="marketid")
    epoch: U64
    preimages: list[Hex] = field(default_factory=list)
    misses: list[Hex] = field(default_factory=list)
    csum: Hex
    seed: Hex


class EpochReport(Payload, kw_only=True, frozen=True):
    """What a closed epoch did. `match_summary` is (rate, quantity), negative when the taker bought."""

    market: str = field(name="marketid")
    epoch: U64
    base_fee_rate: U64 = field(name="baseFeeRate")
    quote_fee_rate: U64 = field(name="quoteFeeRate")
    match_summary: list[tuple[U64, I64]] = field(name="matchSummary", default_factory=list)
    start_stamp: U64 = field(name="startStamp")
    end_stamp: U64 = field(name="endStamp")
    match_volume: U64 = field(name="matchVolume")
    quote_volume: U64 = field(name="quoteVolume")
    high_rate: U64 = field(name="highRate")
    low_rate: U64 = field(name="lowRate")
    start_rate: U64 = field(name="startRate")
    end_rate: U64 = field(name="endRate")


class LedgerNote(Payload, kw_only=True, frozen=True):
    """A new record of the epoch ledger (`twinlock.protocol.ledger`), in the bytes that `sig` signs."""

    market: str = field(name="marketid")
    record: Raw
    sig: Hex


class Suspension(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """A market stops. With `time` (ms) it is announced; without, it is in effect."""

    market: str = field(name="marketid")
    seq: U64 | None = None
    time: U64 | None = field(name="suspendtime", default=None)
    final_epoch: U64 = field(name="finalepoch")
    persist_book: bool = field(name="persistbook")


class Resumption(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """A market starts. With `time` (ms) it is announced; without, it is in effect."""

    market: str = field(name="marketid")
    time: U64 | None = field(name="resumetime", default=None)
    start_epoch: U64 = field(name="startepoch")


class Spot(Payload, kw_only=True, frozen=True):
    """The last price of a market, and its day. `change24` is a fraction; volumes in base atoms."""

    stamp: U64
    base: U32 = field(name="baseID")
    quote: U32 = field(name="quoteID")
    rate: U64
    book_volume: U64 = field(name="bookVolume", default=0)
    change24: float
    vol24: U64
    high24: U64
    low24: U64


class CandlesRequest(Payload, kw_only=True, frozen=True):
    """The payload of `candles`."""

    base: U32 = field(name="baseID")
    quote: U32 = field(name="quoteID")
    bin_size: str = field(name="binSize")
    count: U32 = field(name="numCandles", default=50)


class Candles(Payload, kw_only=True, frozen=True):
    """Candles as parallel arrays of equal length, oldest first."""

    start_stamps: list[U64] = field(name="startStamps", default_factory=list)
    end_stamps: list[U64] = field(name="endStamps", default_factory=list)
    match_volumes: list[U64] = field(name="matchVolumes", default_factory=list)
    quote_volumes: list[U64] = field(name="quoteVolumes", default_factory=list)
    high_rates: list[U64] = field(name="highRates", default_factory=list)
    low_rates: list[U64] = field(name="lowRates", default_factory=list)
    start_rates: list[U64] = field(name="startRates", default_factory=list)
    end_rates: list[U64] = field(name="endRates", default_factory=list)


class SnapshotSubscription(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """The payload of `subscribe_mm_snapshots`."""

    market: str = field(name="marketid")
    unsubscribe: bool = field(name="unsub", default=False)


class SnapshotLevel(Payload, kw_only=True, frozen=True):
    """One order of a market maker."""

    rate: U64
    quantity: U64 = field(name="qty")


class EpochSnapshot(Signed, kw_only=True, frozen=True):
    """A market maker's own orders at the end of an epoch, by ascending rate, signed by the server."""

    market: str = field(name="marketid")
    base: U32
    quote: U32
    epoch: U64 = field(name="epochIdx")
    epoch_ms: U64 = field(name="epochDur")
    account_id: Hex = field(name="accountID")
    buys: list[SnapshotLevel] = field(name="buyOrders", default_factory=list)
    sells: list[SnapshotLevel] = field(name="sellOrders", default_factory=list)
    best_buy: U64 = field(name="bestBuy")
    best_sell: U64 = field(name="bestSell")

    def signed_bytes(self) -> bytes:
        head = u32(self.base) + u32(self.quote) + u64(self.epoch) + u64(self.epoch_ms) + self.account_id
        return head + u64(self.best_buy) + u64(self.best_sell) + _levels(self.buys) + _levels(self.sells)


def _levels(levels: list[SnapshotLevel]) -> bytes:
    return u16(len(levels)) + b"".join(u64(level.rate) + u64(level.quantity) for level in levels)
