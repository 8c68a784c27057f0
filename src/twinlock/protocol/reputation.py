"""Reputation: what an account did lately, and what follows from it (protocol section 4.8).

Three rolling windows of outcomes; a score; penalties that take tiers away. Every point of the score can be traced
to an outcome.

>>> record = Record().add(Outcome.NO_REDEEM_AS_MAKER).add(Outcome.SWAP_SUCCESS)
>>> record.score(Policy())
-6
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from math import floor
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from twinlock.protocol.constants import (
    CANCEL_THRESHOLD,
    MATCH_WINDOW,
    ORDER_WINDOW,
    PENALTY_THRESHOLD,
    PREIMAGE_WINDOW,
)
from twinlock.protocol.messages.account import Reputation


class Outcome(IntEnum):
    """What an account did; the numbers are those that servers store (protocol section 10.1)."""

    INVALID = 0
    FORGIVEN = 1
    SWAP_SUCCESS = 2
    NO_SWAP_AS_MAKER = 3
    NO_SWAP_AS_TAKER = 4
    NO_REDEEM_AS_MAKER = 5
    NO_REDEEM_AS_TAKER = 6
    PREIMAGE_SUCCESS = 7
    PREIMAGE_MISS = 8
    ORDER_COMPLETE = 9
    ORDER_CANCELED = 10
    NO_ADDRESS_AS_TAKER = 11


class OutcomeClass(IntEnum):
    """Which window an outcome belongs to."""

    PREIMAGE = 1
    ORDER = 2
    MATCH = 3


class Weight(NamedTuple):
    """An outcome's window, and its score there."""

    window: OutcomeClass
    score: int


WEIGHTS: Final = MappingProxyType(
    {
        Outcome.FORGIVEN: Weight(OutcomeClass.MATCH, 1),
        Outcome.SWAP_SUCCESS: Weight(OutcomeClass.MATCH, 1),
        Outcome.NO_SWAP_AS_MAKER: Weight(OutcomeClass.MATCH, -4),
        Outcome.NO_SWAP_AS_TAKER: Weight(OutcomeClass.MATCH, -11),
        Outcome.NO_REDEEM_AS_MAKER: Weight(OutcomeClass.MATCH, -7),
        Outcome.NO_REDEEM_AS_TAKER: Weight(OutcomeClass.MATCH, -1),
        Outcome.NO_ADDRESS_AS_TAKER: Weight(OutcomeClass.MATCH, -4),
        Outcome.PREIMAGE_SUCCESS: Weight(OutcomeClass.PREIMAGE, 0),
        Outcome.PREIMAGE_MISS: Weight(OutcomeClass.PREIMAGE, -2),
        Outcome.ORDER_COMPLETE: Weight(OutcomeClass.ORDER, 0),
        Outcome.ORDER_CANCELED: Weight(OutcomeClass.ORDER, 0),
    }
)
WINDOWS: Final = MappingProxyType(
    {OutcomeClass.MATCH: MATCH_WINDOW, OutcomeClass.PREIMAGE: PREIMAGE_WINDOW, OutcomeClass.ORDER: ORDER_WINDOW}
)
EXCESSIVE_CANCELS: Final = -5


class Policy(msgspec.Struct, frozen=True):
    """What an operator sets."""

    penalty_threshold: int = PENALTY_THRESHOLD
    cancel_threshold: float = CANCEL_THRESHOLD
    free_cancels: bool = False

    @property
    def grace_limit(self) -> int:
        """Orders that an account may have in its window before the share of cancels matters."""
        if self.cancel_threshold >= 1:
            return ORDER_WINDOW
        return floor(round(self.cancel_threshold / (1 - self.cancel_threshold), 8))


class Standing(NamedTuple):
    """What others see of an account."""

    bonded_tier: int
    penalties: int
    score: int

    @classmethod
    def of(cls, bonded_tier: int, score: int, policy: Policy) -> Standing:
        """What a score costs."""
        return cls(bonded_tier, -score // policy.penalty_threshold if score < 0 else 0, score)

    @property
    def tier(self) -> int:
        """The effective tier; below 1 the account may not trade."""
        return self.bonded_tier - self.penalties

    def message(self) -> Reputation:
        """In the form of the wire."""
        return Reputation(bonded_tier=self.bonded_tier, penalties=self.penalties, score=self.score)


_NAMES: Final = {OutcomeClass.MATCH: "matches", OutcomeClass.PREIMAGE: "preimages", OutcomeClass.ORDER: "orders"}


class Record(msgspec.Struct, frozen=True):
    """The outcomes in the three windows, oldest first."""

    matches: tuple[Outcome, ...] = ()
    preimages: tuple[Outcome, ...] = ()
    orders: tuple[Outcome, ...] = ()

    @staticmethod
    def of(outcomes: Iterable[Outcome]) -> Record:
        """The record of a history, oldest first."""
        windows: dict[OutcomeClass, list[Outcome]] = {window: [] for window in OutcomeClass}
        for outcome in outcomes:
            windows[WEIGHTS[outcome].window].append(outcome)
        matches, preimages, orders = (
            tuple(windows[window][-WINDOWS[window] :])
            for window in (OutcomeClass.MATCH, OutcomeClass.PREIMAGE, OutcomeClass.ORDER)
        )
        return Record(matches, preimages, orders)

    def add(self, outcome: Outcome) -> Record:
        """The record with one more outcome."""
        window = WEIGHTS[outcome].window
        name = _NAMES[window]
        return msgspec.structs.replace(self, **{name: (*getattr(self, name), outcome)[-WINDOWS[window] :]})

    def score(self, policy: Policy) -> int:
        """The sum of all outcomes, and of the punishment for cancelling too much."""
        points = sum(WEIGHTS[outcome].score for outcome in (*self.matches, *self.preimages))
        return points + (EXCESSIVE_CANCELS if self.cancels_too_much(policy) else 0)

    def cancels_too_much(self, policy: Policy) -> bool:
        """Whether the share of early cancels passes the threshold."""
        total = len(self.orders)
        cancels = self.orders.count(Outcome.ORDER_CANCELED)
        return not policy.free_cancels and total > policy.grace_limit and cancels / total > policy.cancel_threshold

    def standing(self, bonded_tier: int, policy: Policy) -> Standing:
        """What the score costs."""
        return Standing.of(bonded_tier, self.score(policy), policy)


def order_outcome(epoch_gap: int | None) -> Outcome:
    """How an order that ended counts: a cancel only in the order's own epoch or the next.

    epoch_gap: epochs between the order and the cancel that ended it; None if no cancel of its owner did.
    """
    return Outcome.ORDER_CANCELED if epoch_gap in (0, 1) else Outcome.ORDER_COMPLETE
