"""What the control interface shows. Amounts are atoms, rates message-rates, IDs lower-case hex."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.client.keyring import Scope

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


class Accepted(View, frozen=True):
    """It was done."""

    done: bool = True


class TierView(View, frozen=True):
    """The account's tier, and how many tiers the code gave."""

    tier: int
    given: int


# One wallet --------------------------------------------------------------------------------------------


class CoinView(View, frozen=True):
    """An unspent output. coin: txid:index."""

    coin: str
    value: int
    address: str
    height: int | None
    state: str
    locked_for: str


class SentView(View, frozen=True):
    """A transaction that went out."""

    txid: str
    fee: int


class AddressView(View, frozen=True):
    """A fresh address."""

    address: str


class DescriptorView(View, frozen=True):
    """An output descriptor with its checksum; no secret."""

    descriptor: str


class LabelsView(View, frozen=True):
    """One JSON object a line (BIP 329)."""

    labels: str


class PsbtView(View, frozen=True):
    """Base64 (BIP 174)."""

    psbt: str
