"""What the control interface shows. Amounts are atoms, rates message-rates, IDs lower-case hex."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.client.control.units import Atoms, Hex, Market, Ms, Rate, Seconds
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
    account_id: Hex
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
    link: Hex
    market: Market
    epoch: int
    orders: list[str]
    stamp: Ms
    signature: Hex


class ExplanationView(View, frozen=True):
    """The scores of the outcomes that count, and cancel_score, make up the score; newest first."""

    score: int
    penalties: int
    bonded_tier: int
    penalty_threshold: int
    cancel_score: int
    outcomes: list[OutcomeView]


class WalletView(View, frozen=True):
    """Every atom once. factor: atoms in a whole coin. scanned: every address was looked at; before that, atoms may be
    missing.

    birthday: height below which nothing is looked at; older: transactions of ours that are known to lie there and count
    for nothing; first_block: the lowest block with anything of ours, 0 for none.
    """

    asset: str
    factor: int
    available: Atoms
    locked: Atoms
    in_swap: Atoms
    bonded: Atoms
    immature: Atoms
    unconfirmed: Atoms
    outside: Atoms
    total: Atoms
    birthday: int
    older: int
    first_block: int
    scanned: bool


class BondView(View, frozen=True):
    """asset: symbol. lock_time: s, when it comes back. strength: the tiers that it counts for.

    Of a redeemed code the state is prepaid, `lock_time` is when it ceases to count; there is neither asset nor coin.
    """

    host: str
    asset: str
    asset_id: int
    coin: str
    amount: Atoms
    strength: int
    lock_time: Seconds
    state: str


class MarketView(View, frozen=True):
    """One market as the server offers it; `last_rate` is 0 before the first price. Factors: atoms in a whole coin."""

    host: str
    name: str
    base: str
    quote: str
    lot_size: Atoms
    rate_step: Rate
    epoch_ms: int
    last_rate: Rate
    base_factor: int
    quote_factor: int


class BookRow(View, frozen=True):
    """One order on the book."""

    order_id: Hex
    quantity: Atoms
    rate: Rate
    own: bool


class BookView(View, frozen=True):
    """Best first on both sides."""

    market: Market
    buys: list[BookRow]
    sells: list[BookRow]


class OrderView(View, frozen=True):
    """One order; `id` is empty until the server has accepted it. cursor: as of a swap."""

    host: str
    id: Hex
    tag: str
    market: Market
    type: str
    side: str
    quantity: Atoms
    rate: Rate
    force: str
    post_only: bool
    expiry: Ms
    max_matches: int
    filled: Atoms
    status: str
    time: Ms
    cursor: str = ""


class SwapView(View, frozen=True):
    """One match. outcome: empty while it runs. time: of the match.

    safe_until: the second until which the client may be closed without endangering it; None: as long as you like.
    cursor: its place in the list, by which what was before it is asked for; empty while it is open.
    """

    host: str
    match_id: Hex
    order_id: Hex
    market: Market
    role: str
    quantity: Atoms
    rate: Rate
    status: str
    own_coin: str
    other_coin: str
    outcome: str
    time: Ms
    safe_until: int | None
    cursor: str = ""


class PacketView(View, frozen=True):
    """What a watchtower is to hold of one swap. body: hex. delivered: the tower has said that it holds it."""

    match_id: Hex
    role: str
    revision: int
    delivered: bool
    body: Hex


class ProofView(View, frozen=True):
    """A swap proof: `document` is the file's text."""

    match_id: Hex
    role: str
    document: str


class ConditionView(View, frozen=True):
    """A stop-limit, or with `rest_rate` a one-cancels-other; see `twinlock.client.conditional`.

    cursor: as of a swap.
    """

    host: str
    name: str
    market: Market
    side: str
    quantity: Atoms
    stop: Rate
    rate: Rate
    rest_rate: Rate
    post_only: bool
    expiry: Ms
    max_matches: int
    status: str
    reason: str
    time: Ms
    cursor: str = ""


class EvidenceView(View, frozen=True):
    """What proves that a server broke the rules. at: ms. body: what it said, empty in a list."""

    name: str
    host: str
    at: Ms
    accusation: str
    body: Any = None


class EpochView(View, frozen=True):
    """An epoch that this client saw. Rates are 0 where nothing matched; complete: it was replayed."""

    host: str
    market: Market
    epoch: int
    end: Ms
    orders: int
    matches: int
    volume: Atoms
    quote_volume: Atoms
    high_rate: Rate
    low_rate: Rate
    start_rate: Rate
    end_rate: Rate
    complete: bool
    accusation: str


class CandleView(View, frozen=True):
    """A candle of a market as its server tells it. start, end: ms; volumes: atoms."""

    host: str
    market: Market
    start: Ms
    end: Ms
    volume: Atoms
    quote_volume: Atoms
    high_rate: Rate
    low_rate: Rate
    start_rate: Rate
    end_rate: Rate


class KeyView(View, frozen=True):
    """A key of the control interface. key: its text, only in the answer to its making. made: ms."""

    name: str
    scopes: list[Scope]
    made: Ms
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
    value: Atoms
    address: str
    height: int | None
    state: str
    locked_for: str


class SentView(View, frozen=True):
    """A transaction that went out."""

    txid: str
    fee: Atoms


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
