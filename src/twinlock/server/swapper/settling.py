"""One match on its way to settlement: the stored row and the state machine, side by side."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.chain.family import Family
from twinlock.protocol.matcher import Match
from twinlock.protocol.orders import LimitOrder, Order, Side
from twinlock.protocol.swap import MatchStatus, Party, Swap, Terms, Verdict, agree, apply
from twinlock.protocol.swap.events import AddressKnown, Announced, Audited, RedeemAccepted
from twinlock.server.db.matches import StoredMatch
from twinlock.server.market.core import Processed
from twinlock.server.market.terms import MarketTerms

SIDE_NAMES = {Party.MAKER: "maker", Party.TAKER: "taker"}
"""How the columns of a side begin."""


class SwapPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set for all settlements; ms. depths: confirmations by asset ID."""

    broadcast_timeout_ms: int
    maker_lock_ms: int
    taker_lock_ms: int
    tx_wait_ms: int
    depths: dict[int, int]


class Settling:
    """A match under way. `stored` is the row as it stands in the database, `swap` what the referee knows.

    searching: sides whose report is being looked up. marks: coins, contracts and the secret hash that no other active
    match may have. ending: its end is being written, so nothing more is taken in.
    """

    __slots__ = ("_base", "_quote", "ending", "marks", "raw", "searching", "stored", "swap")

    def __init__(self, stored: StoredMatch, base: int, quote: int, policy: SwapPolicy) -> None:
        self.stored = stored
        self.swap = Swap(terms=swap_terms(stored, base, quote, policy))
        self.searching: set[Party] = set()
        self.marks: set[bytes] = set()
        self.ending = False
        self.raw: dict[Party, bytes] = {}
        self._base, self._quote = base, quote

    @property
    def match_id(self) -> bytes:
        """32 bytes."""
        return self.stored.match_id

    @property
    def status(self) -> MatchStatus:
        """As far as it has come."""
        return self.swap.status

    def side_of(self, order_id: bytes) -> Party | None:
        """Whose order that is."""
        return {self.stored.maker_order: Party.MAKER, self.stored.taker_order: Party.TAKER}.get(order_id)

    def account(self, side: Party) -> bytes:
        """The account of a side."""
        return self.stored.maker_account if side is Party.MAKER else self.stored.taker_account

    def order(self, side: Party) -> bytes:
        """The order of a side."""
        return self.stored.maker_order if side is Party.MAKER else self.stored.taker_order

    def asset(self, side: Party) -> int:
        """The asset that a side swaps, and the other one redeems."""
        sells = self.stored.taker_sells == (side is Party.TAKER)
        return self._base if sells else self._quote

    def sides(self, account_id: bytes) -> list[Party]:
        """The sides that an account plays; both in a trade with itself."""
        return [side for side in Party if self.account(side) == account_id]

    def learn(self, *events: object) -> None:
        """Let the state machine know facts."""
        for event in events:
            self.swap = apply(self.swap, event)

    def record(self, **columns: Any) -> None:
        """Take over what was stored."""
        self.stored = msgspec.structs.replace(self.stored, **columns)


def swap_terms(stored: StoredMatch, base: int, quote: int, policy: SwapPolicy) -> Terms:
    """What the match fixed."""
    return agree(
        stored.match_id,
        quantity=stored.quantity,
        rate=stored.rate,
        maker_sells=not stored.taker_sells,
        made_ms=stored.match_time,
        base_depth=policy.depths[base],
        quote_depth=policy.depths[quote],
        base_fee_rate=stored.fee_rate_base,
        quote_fee_rate=stored.fee_rate_quote,
        maker_lock_ms=policy.maker_lock_ms,
        taker_lock_ms=policy.taker_lock_ms,
        broadcast_timeout_ms=policy.broadcast_timeout_ms,
        self_trade=stored.maker_account == stored.taker_account,
    )


def new_match(terms: MarketTerms, processed: Processed, match: Match) -> StoredMatch:
    """The row of a match that an epoch made."""
    report = processed.report
    return stored_match(
        terms,
        match.taker,
        match.maker,
        match_id=match.id,
        quantity=match.quantity,
        rate=match.rate,
        match_time=report.end_stamp,
        epoch=processed.epoch,
        fee_rates=(report.fee_rate_base, report.fee_rate_quote),
        is_cancel=match.cancels,
    )


def stored_match(
    terms: MarketTerms,
    taker: Order,
    maker: LimitOrder,
    *,
    match_id: bytes,
    quantity: int,
    rate: int,
    match_time: int,
    epoch: int,
    fee_rates: tuple[int, int],
    is_cancel: bool,
) -> StoredMatch:
    """The row of a new match. A cancel match ends where it begins, and has no addresses."""
    return StoredMatch(
        match_id=match_id,
        market=terms.name,
        active=not is_cancel,
        is_cancel=is_cancel,
        taker_sells=maker.side is Side.BUY,
        taker_order=taker.id,
        taker_account=taker.account_id,
        taker_address="" if is_cancel else getattr(taker, "address", ""),
        maker_order=maker.id,
        maker_account=maker.account_id,
        maker_address="" if is_cancel else maker.address,
        quantity=quantity,
        rate=rate,
        fee_rate_base=fee_rates[0],
        fee_rate_quote=fee_rates[1],
        epoch=epoch,
        epoch_ms=terms.epoch_ms,
        match_time=match_time,
    )


def resume(settling: Settling, families: dict[int, Family], now_ms: int) -> None:
    """Teach the state machine a stored match. Its clocks start anew: nobody is blamed for our absence."""
    stored = settling.stored
    # Lock times keep counting from the epoch's end; only the clock of inaction starts now.
    settling.swap = msgspec.structs.replace(
        settling.swap, terms=msgspec.structs.replace(settling.swap.terms, made_ms=now_ms)
    )
    for side, name in SIDE_NAMES.items():
        settling.learn(AddressKnown(side, getattr(stored, f"{name}_swap_address"), now_ms))
    for side, name in SIDE_NAMES.items():
        contract, coin = getattr(stored, f"{name}_contract"), getattr(stored, f"{name}_swap_coin")
        if contract:
            secret_hash = families[settling.asset(side)].parse_contract(contract).secret_hash
            settling.learn(Announced(side, coin, contract), Audited(side, coin, Verdict.SOUND, secret_hash))
    for side, name in SIDE_NAMES.items():
        redeem = getattr(stored, f"{name}_redeem_coin")
        if redeem:
            settling.learn(RedeemAccepted(side.other, redeem, stored.secret, now_ms))
