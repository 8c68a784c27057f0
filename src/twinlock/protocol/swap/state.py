"""What is known of one match: its terms, its two legs, and what the chains and the peers have shown."""

from __future__ import annotations

from enum import Enum, IntEnum
from hashlib import sha256

import msgspec

from twinlock.protocol.constants import (
    BROADCAST_TIMEOUT_MS,
    LOCK_TIME_MAKER_MS,
    LOCK_TIME_TAKER_MS,
    SECRET_BYTES,
)
from twinlock.protocol.rates import base_to_quote


class Party(IntEnum):
    """The two traders, and the leg that each of them funds; numbered as in `match`."""

    MAKER = 0
    TAKER = 1

    @property
    def other(self) -> Party:
        """The counterparty, and the leg that this side redeems."""
        return Party.TAKER if self is Party.MAKER else Party.MAKER


class MatchStatus(IntEnum):
    """As far as a match has come (protocol section 7.1)."""

    NEWLY_MATCHED = 0
    MAKER_SWAP_CAST = 1
    TAKER_SWAP_CAST = 2
    MAKER_REDEEMED = 3
    MATCH_COMPLETE = 4
    MATCH_CONFIRMED = 5


class LegStatus(Enum):
    """Where one contract's funds are."""

    UNSEEN = "no contract is known"
    ANNOUNCED = "a contract is known, the chain has not shown it"
    MEMPOOL = "funded, below the required depth"
    CONFIRMED = "funded at the required depth"
    SPENT = "spent by a transaction not read yet"
    REDEEMED = "spent with the secret"
    REFUNDED = "spent by its sender"
    GONE = "was shown and is no longer, after a reorg or a replacement"


class Verdict(Enum):
    """What an audit said of a contract."""

    SOUND = "as agreed"
    REFUSED = "not as agreed"


# A server holds thousands of these, and none can be part of a cycle: the garbage collector need not walk them.


class Terms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a match fixed. Each pair is the maker's leg, then the taker's.

    amounts: atoms. locks: seconds. depths: confirmations required. fee_rates: the least that a contract's
    transaction pays, atoms per vbyte. made_ms: the base of the lock times (`tserver`).
    """

    match_id: bytes
    amounts: tuple[int, int]
    locks: tuple[int, int]
    depths: tuple[int, int]
    fee_rates: tuple[int, int] = (0, 0)
    made_ms: int
    broadcast_timeout_ms: int = BROADCAST_TIMEOUT_MS
    self_trade: bool = False

    @property
    def margin_s(self) -> int:
        """Seconds before the taker's lock time from which nothing new is started: an eighth of its span."""
        return (self.locks[Party.TAKER] - self.made_ms // 1000) // 8


def lock_time(made_ms: int, lock_ms: int) -> int:
    """A contract's lock time in s, from the epoch's end and the agreed span."""
    return (made_ms + lock_ms) // 1000


def agree(
    match_id: bytes,
    *,
    quantity: int,
    rate: int,
    maker_sells: bool,
    made_ms: int,
    base_depth: int,
    quote_depth: int,
    base_fee_rate: int = 0,
    quote_fee_rate: int = 0,
    maker_lock_ms: int = LOCK_TIME_MAKER_MS,
    taker_lock_ms: int = LOCK_TIME_TAKER_MS,
    broadcast_timeout_ms: int = BROADCAST_TIMEOUT_MS,
    self_trade: bool = False,
) -> Terms:
    """The terms of a match. The seller of the base asset funds a leg of base, the other one of quote."""
    base = (quantity, base_depth, base_fee_rate)
    quote = (base_to_quote(rate, quantity), quote_depth, quote_fee_rate)
    maker, taker = (base, quote) if maker_sells else (quote, base)
    return Terms(
        match_id=match_id,
        amounts=(maker[0], taker[0]),
        locks=(lock_time(made_ms, maker_lock_ms), lock_time(made_ms, taker_lock_ms)),
        depths=(maker[1], taker[1]),
        fee_rates=(maker[2], taker[2]),
        made_ms=made_ms,
        broadcast_timeout_ms=broadcast_timeout_ms,
        self_trade=self_trade,
    )


class Leg(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One contract.

    median_time: the chain's, in s, as last shown. depth: confirmations of the funding, or of the spending once spent.
    confirmed_ms: since when it has the required depth. redeem_ms: when the referee accepted the report of its
    redemption. doomed: an input of its transaction was spent elsewhere, so it can never appear. *_acknowledged:
    whoever had to hear of it has.
    """

    status: LegStatus = LegStatus.UNSEEN
    coin_id: bytes = b""
    contract: bytes = b""
    verdict: Verdict | None = None
    depth: int = 0
    confirmed_ms: int | None = None
    median_time: int = 0
    doomed: bool = False
    redeem_coin_id: bytes = b""
    redeem_ms: int | None = None
    contract_acknowledged: bool = False
    redeem_acknowledged: bool = False

    @property
    def known(self) -> bool:
        """Whether there is a contract."""
        return bool(self.contract)

    @property
    def sound(self) -> bool:
        """Whether an audit found the contract as agreed."""
        return self.verdict is Verdict.SOUND

    @property
    def claimable(self) -> bool:
        """Whether the contract holds funds that nobody has spent."""
        return self.status in (LegStatus.MEMPOOL, LegStatus.CONFIRMED)


class Swap(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All facts about one match. `legs` and `addresses` are indexed by `Party`.

    addresses: where each side wants to be paid, "" while unknown. addressed_ms: when both became known.
    candidate: the secret as somebody claimed it; `secret` is what fits the hash. revealed: the secret is public.
    """

    terms: Terms
    legs: tuple[Leg, Leg] = (Leg(), Leg())
    addresses: tuple[str, str] = ("", "")
    addressed_ms: int | None = None
    secret_hash: bytes = b""
    candidate: bytes = b""
    revealed: bool = False
    revoked: bool = False
    server_lost: bool = False

    @property
    def secret(self) -> bytes | None:
        """The 32 bytes behind the secret hash, once they are known."""
        if len(self.candidate) != SECRET_BYTES or sha256(self.candidate).digest() != self.secret_hash:
            return None
        return self.candidate

    @property
    def status(self) -> MatchStatus:
        """How far the match has come, by what is known here."""
        maker, taker = self.legs
        reached = (
            (MatchStatus.MATCH_COMPLETE, _redeemed(maker)),
            (MatchStatus.MAKER_REDEEMED, _redeemed(taker)),
            (MatchStatus.TAKER_SWAP_CAST, taker.sound),
            (MatchStatus.MAKER_SWAP_CAST, maker.sound),
        )
        return next((status for status, so in reached if so), MatchStatus.NEWLY_MATCHED)


def _redeemed(leg: Leg) -> bool:
    return leg.redeem_ms is not None or leg.status is LegStatus.REDEEMED
