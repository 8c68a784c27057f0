"""Why an account stands as it does: every point of its score, with the match or order it came from. Ours.

Servers of the reference do not know the route and refuse it; clients of the reference never ask.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from twinlock.protocol.messages.account import Reputation
from twinlock.protocol.wire import I32, U8, U16, U32, U64, Hex, Payload, Signed, u8, u32, u64


class ExplainRequest(Payload, kw_only=True, frozen=True):
    """Ask for the newest outcomes; 200 fill every window."""

    count: U16 = 200


class OutcomeRecord(Signed, kw_only=True, frozen=True):
    """One outcome, stated by the server under its signature. Times ms.

    outcome: its number (protocol section 10.1), `name` in words. score: points that it adds while it counts. counts:
    whether it is still in its window. kind, link: the match or order that it came from; market and epoch tell where
    that stands in the public ledger ("" and 0 where the server does not know any more). orders: the account's own.
    """

    account_id: Hex = field(name="accountid")
    outcome: U8
    name: str
    score: I32
    counts: bool
    kind: Literal["match", "order"]
    link: Hex
    market: str
    epoch: U64
    orders: list[Hex]
    stamp: U64

    def signed_bytes(self) -> bytes:
        return self.account_id + u8(self.outcome) + u32(self.score & 0xFFFFFFFF) + self.link + u64(self.stamp)


class Explanation(Payload, kw_only=True, frozen=True):
    """The scores of the outcomes that count and `cancel_score` make up `reputation.score`; newest outcome first.

    Each `penalty_threshold` points below zero cost a tier.
    """

    reputation: Reputation
    penalty_threshold: U32 = field(name="penaltyThreshold")
    cancel_score: I32 = field(name="cancelScore")
    outcomes: list[OutcomeRecord]

    def adds_up(self) -> bool:
        """Whether every point of the score is there."""
        counted = sum(record.score for record in self.outcomes if record.counts)
        return counted + self.cancel_score == self.reputation.score
