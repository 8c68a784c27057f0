"""What the control interface shows and takes. Amounts are atoms, rates message-rates, IDs lower-case hex."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from twinlock.client.conditional import ConditionRecord
from twinlock.client.desk import CoinSide
from twinlock.client.keyring import SCOPES, Scope
from twinlock.client.store.records import BondRecord, EvidenceRecord, OrderRecord, SwapRecord
from twinlock.client.trader import Trader
from twinlock.client.venue import Venue
from twinlock.protocol.messages.book import Candles
from twinlock.protocol.messages.explain import Explanation
from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import OrderType, Side, TimeInForce

View = msgspec.Struct


class ErrorView(View, frozen=True):
    """Why not, whose fault, and what to do."""

    code: str
    message: str
    fault: str
    fix: str
    numbers: dict[str, int | str]


class VenueView(View, frozen=True):
    """One server. `account_id` is empty without an account."""

    host: str
    connected: bool
    account_id: str
    tier: int


class StatusView(View, frozen=True):
    """`safe_until`: the second until which the client may be closed; None: as long as you like."""

    network: str
    venues: list[VenueView]
    running_swaps: int
    safe_until: int | None


class OutcomeView(View, frozen=True):
    """One outcome of our account, signed by the server. kind and link: what it came from; stamp: ms."""

    name: str
    score: int
    counts: bool
    kind: str
    link: str
    market: str
    epoch: int
    orders: list[str]
    stamp: int
    signature: str


class ExplanationView(View, frozen=True):
    """The scores of the outcomes that count, and cancel_score, make up the score; newest first."""

    score: int
    penalties: int
    bonded_tier: int
    penalty_threshold: int
    cancel_score: int
    outcomes: list[OutcomeView]


class WalletView(View, frozen=True):
    """Every atom once."""

    asset: str
    available: int
    locked: int
    in_swap: int
    bonded: int
    immature: int
    unconfirmed: int
    outside: int
    total: int


class BondView(View, frozen=True):
    """`lock_time` in s."""

    host: str
    asset_id: int
    coin: str
    amount: int
    strength: int
    lock_time: int
    state: str


class MarketView(View, frozen=True):
    """One market as the server offers it; `last_rate` is 0 before the first price."""

    host: str
    name: str
    base: str
    quote: str
    lot_size: int
    rate_step: int
    epoch_ms: int
    last_rate: int


class BookRow(View, frozen=True):
    """One order on the book."""

    order_id: str
    quantity: int
    rate: int
    own: bool


class BookView(View, frozen=True):
    """Best first on both sides."""

    market: str
    buys: list[BookRow]
    sells: list[BookRow]


class OrderView(View, frozen=True):
    """One order; `id` is empty until the server has accepted it."""

    host: str
    id: str
    tag: str
    market: str
    type: str
    side: str
    quantity: int
    rate: int
    force: str
    post_only: bool
    expiry: int
    max_matches: int
    filled: int
    status: str
    time: int


class SwapView(View, frozen=True):
    """One match. outcome: empty while it runs."""

    host: str
    match_id: str
    order_id: str
    market: str
    role: str
    quantity: int
    rate: int
    status: str
    own_coin: str
    other_coin: str
    outcome: str


class PacketView(View, frozen=True):
    """What a watchtower is to hold of one swap. body: hex. delivered: the tower has said that it holds it."""

    match_id: str
    role: str
    revision: int
    delivered: bool
    body: str


class ProofView(View, frozen=True):
    """A swap proof: `document` is the file's text."""

    match_id: str
    role: str
    document: str


class ConditionView(View, frozen=True):
    """A stop-limit, or with `rest_rate` a one-cancels-other; see `twinlock.client.conditional`."""

    host: str
    name: str
    market: str
    side: str
    quantity: int
    stop: int
    rate: int
    rest_rate: int
    status: str
    reason: str
    time: int


class EvidenceView(View, frozen=True):
    """What proves that a server broke the rules. at: ms. body: what it said, empty in a list."""

    name: str
    host: str
    at: int
    accusation: str
    body: Any = None


class EpochView(View, frozen=True):
    """An epoch that this client saw since it started. Rates are 0 where nothing matched; complete: it was replayed."""

    host: str
    market: str
    epoch: int
    end: int
    orders: int
    matches: int
    volume: int
    quote_volume: int
    high_rate: int
    low_rate: int
    start_rate: int
    end_rate: int
    complete: bool
    accusation: str


class CandleView(View, frozen=True):
    """A candle of a market as its server tells it. start, end: ms; volumes: atoms."""

    host: str
    market: str
    start: int
    end: int
    volume: int
    quote_volume: int
    high_rate: int
    low_rate: int
    start_rate: int
    end_rate: int


class KeyView(View, frozen=True):
    """A key of the control interface. key: its text, only in the answer to its making. made: ms."""

    name: str
    scopes: list[Scope]
    made: int
    key: str = ""


class Outcome(View, frozen=True):
    """Of one of several orders: the order, or why it was not placed."""

    order: OrderView | None = None
    code: str = ""
    message: str = ""


class PlaceOrder(View, frozen=True, forbid_unknown_fields=True):
    """tag: the caller's own name for the order; placing the same tag again returns the first order.

    post_only: rather end than take. expiry: ms, 0 for none. max_matches: 0 for any number. split: pay for a
    transaction that makes a coin of exactly the sum needed, so that no more is locked (limit orders).
    """

    market: str
    side: Literal["buy", "sell"]
    quantity: int
    type: Literal["limit", "market"] = "limit"
    rate: int = 0
    force: Literal["standing", "immediate"] = "standing"
    tag: str = ""
    host: str = ""
    post_only: bool = False
    expiry: int = 0
    max_matches: int = 0
    split: bool = False

    @property
    def options(self) -> OrderOptions:
        return OrderOptions(post_only=self.post_only, expiry=self.expiry, max_matches=self.max_matches)


class PlaceCondition(View, frozen=True, forbid_unknown_fields=True):
    """Place a limit order at `rate` once a trade reaches `stop`; placing the same name again changes nothing.

    rest_rate: an order of the same size rests at this rate until then (one-cancels-other).
    """

    name: str
    market: str
    side: Literal["buy", "sell"]
    quantity: int
    stop: int
    rate: int
    rest_rate: int = 0
    host: str = ""


class RedeemCode(View, frozen=True, forbid_unknown_fields=True):
    """code: 32 hex digits of an operator's prepaid bond."""

    code: str
    host: str = ""


class NewKey(View, frozen=True, forbid_unknown_fields=True):
    """A key to be made. Withdrawing is never among the scopes unless it is named."""

    name: str
    scopes: list[Scope] = msgspec.field(default_factory=lambda: list(SCOPES[:1]))


class PostBondRequest(View, frozen=True, forbid_unknown_fields=True):
    """asset: symbol, such as btc."""

    asset: str
    tier: int = 1
    host: str = ""


class Accepted(View, frozen=True):
    """It was done."""

    done: bool = True


class TierView(View, frozen=True):
    """The account's tier, and how many tiers the code gave."""

    tier: int
    given: int


def condition_view(record: ConditionRecord) -> ConditionView:
    return ConditionView(
        record.host,
        record.name,
        record.market,
        Side(record.side).name.lower(),
        record.quantity,
        record.stop,
        record.rate,
        record.rest_rate,
        record.status,
        record.reason,
        record.made_ms,
    )


def evidence_view(record: EvidenceRecord, *, body: bool) -> EvidenceView:
    shown = msgspec.json.decode(record.body) if body else None
    return EvidenceView(record.name, record.host, record.at, record.accusation, shown)


def epoch_views(venue: Venue, market: str) -> list[EpochView]:
    feed = venue.feeds.get(market)
    return [
        EpochView(
            venue.desk.host,
            market,
            verdict.epoch,
            report.end_stamp,
            verdict.orders,
            verdict.matches,
            report.match_volume,
            report.quote_volume,
            report.high_rate,
            report.low_rate,
            report.start_rate,
            report.end_rate,
            verdict.complete,
            verdict.accusation,
        )
        for verdict, report in (feed.epochs if feed else ())
    ]


def candle_views(host: str, market: str, candles: Candles) -> list[CandleView]:
    columns = (
        candles.start_stamps,
        candles.end_stamps,
        candles.match_volumes,
        candles.quote_volumes,
        candles.high_rates,
        candles.low_rates,
        candles.start_rates,
        candles.end_rates,
    )
    return [CandleView(host, market, *row) for row in zip(*columns, strict=True)]


def status_view(trader: Trader) -> StatusView:
    running = sum(not swap.outcome for swap in trader.swaps())
    venues = [_venue_view(venue) for venue in trader.venues.values()]
    return StatusView(str(trader.config.network), venues, running, trader.safe_until())


def _venue_view(venue: Venue) -> VenueView:
    desk = venue.desk
    account = desk.account.account_id.hex() if desk.account and desk.account.exists else ""
    return VenueView(desk.host, desk.session.ready.is_set(), account, venue.bonds.tier)


def wallet_view(side: CoinSide) -> WalletView:
    balance = side.wallet.balance()
    return WalletView(
        side.coin.symbol,
        balance.available,
        balance.locked,
        balance.in_swap,
        balance.bonded,
        balance.immature,
        balance.unconfirmed,
        balance.outside,
        balance.total,
    )


def bond_view(trader: Trader, bond: BondRecord) -> BondView:
    coin = trader.venue(bond.host).desk.coin(bond.asset_id).family.coin_id_text(bond.coin_id)
    return BondView(bond.host, bond.asset_id, coin, bond.amount, bond.strength, bond.lock_time, bond.state)


def market_views(venue: Venue) -> list[MarketView]:
    desk = venue.desk
    if desk.config is None:
        return []
    views = []
    for market in desk.config.markets:
        spot = venue.spots.get((market.base, market.quote))
        base, quote = desk.asset(market.base).symbol, desk.asset(market.quote).symbol
        rate = spot.rate if spot else 0
        views.append(
            MarketView(desk.host, market.name, base, quote, market.lot_size, market.rate_step, market.epoch_ms, rate)
        )
    return views


async def book_view(venue: Venue, market: str) -> BookView:
    mirror = await venue.follow(market)
    own = {order.order_id for order in venue.orders.active()}
    buys, sells = (
        [BookRow(order.id.hex(), order.remaining, order.rate, order.id in own) for order in side]
        for side in (mirror.book.buys, mirror.book.sells)
    )
    return BookView(market, buys, sells)


def order_view(order: OrderRecord) -> OrderView:
    return OrderView(
        host=order.host,
        id=order.order_id.hex(),
        tag=order.tag,
        market=order.market,
        type=OrderType(order.type).name.lower(),
        side=Side(order.side).name.lower() if order.side else "",
        quantity=order.quantity,
        rate=order.rate,
        force=TimeInForce(order.force).name.lower() if order.force else "",
        post_only=order.options.post_only,
        expiry=order.options.expiry,
        max_matches=order.options.max_matches,
        filled=order.filled,
        status=order.status,
        time=order.tserver or order.tclient,
    )


def swap_view(trader: Trader, record: SwapRecord) -> SwapView:
    desk, swap = trader.venue(record.host).desk, record.swap
    own, other = swap.legs[record.party].coin_id, swap.legs[record.party.other].coin_id
    return SwapView(
        host=record.host,
        match_id=record.match_id.hex(),
        order_id=record.order_id.hex(),
        market=record.market,
        role=record.role,
        quantity=record.quantity,
        rate=record.rate,
        status=swap.status.name.lower(),
        own_coin=desk.coin(record.own_asset).family.coin_id_text(own) if own else "",
        other_coin=desk.coin(record.other_asset).family.coin_id_text(other) if other else "",
        outcome=record.outcome,
    )


def explanation_view(told: Explanation) -> ExplanationView:
    """A checked explanation."""
    outcomes = [
        OutcomeView(
            name=record.name,
            score=record.score,
            counts=record.counts,
            kind=record.kind,
            link=record.link.hex(),
            market=record.market,
            epoch=record.epoch,
            orders=[order.hex() for order in record.orders],
            stamp=record.stamp,
            signature=record.sig.hex(),
        )
        for record in told.outcomes
    ]
    standing = told.reputation
    return ExplanationView(
        score=standing.score,
        penalties=standing.penalties,
        bonded_tier=standing.bonded_tier,
        penalty_threshold=told.penalty_threshold,
        cancel_score=told.cancel_score,
        outcomes=outcomes,
    )
