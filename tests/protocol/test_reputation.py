"""Scores, penalties and windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.protocol.reputation import WEIGHTS, WINDOWS, Outcome, OutcomeClass, Policy, Record, order_outcome

POLICY = Policy()
REAL = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.INVALID])


@pytest.mark.parametrize(
    ("outcome", "score"),
    [
        (Outcome.SWAP_SUCCESS, 1),
        (Outcome.FORGIVEN, 1),
        (Outcome.NO_SWAP_AS_MAKER, -4),
        (Outcome.NO_ADDRESS_AS_TAKER, -4),
        (Outcome.NO_SWAP_AS_TAKER, -11),
        (Outcome.NO_REDEEM_AS_MAKER, -7),
        (Outcome.NO_REDEEM_AS_TAKER, -1),
        (Outcome.PREIMAGE_SUCCESS, 0),
        (Outcome.PREIMAGE_MISS, -2),
        (Outcome.ORDER_COMPLETE, 0),
        (Outcome.ORDER_CANCELED, 0),
    ],
)
def test_what_each_outcome_costs(outcome: Outcome, score: int) -> None:
    assert Record().add(outcome).score(POLICY) == score


def test_the_grace_limit_of_the_default_threshold() -> None:
    assert POLICY.grace_limit == 19
    assert Policy(cancel_threshold=0.6).grace_limit == 1
    assert Policy(cancel_threshold=1.0).grace_limit == 100


def test_cancelling_too_much_costs_five_once_and_only_beyond_the_grace() -> None:
    canceled = [Outcome.ORDER_CANCELED]
    assert Record.of(canceled * 19).score(POLICY) == 0
    assert Record.of(canceled * 20).score(POLICY) == -5
    assert Record.of(canceled * 100).score(POLICY) == -5
    assert Record.of([*canceled * 19, Outcome.ORDER_COMPLETE]).score(POLICY) == 0, "19 of 20 is not beyond 0.95"
    assert Record.of(canceled * 100).score(Policy(free_cancels=True)) == 0


@pytest.mark.parametrize(
    ("gap", "outcome"),
    [
        (0, Outcome.ORDER_CANCELED),
        (1, Outcome.ORDER_CANCELED),
        (2, Outcome.ORDER_COMPLETE),
        (None, Outcome.ORDER_COMPLETE),
    ],
)
def test_only_early_cancels_count(gap: int | None, outcome: Outcome) -> None:
    assert order_outcome(gap) is outcome


@pytest.mark.parametrize(("misses", "penalties"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (40, 4), (41, 4)])
def test_penalties_take_tiers_away(misses: int, penalties: int) -> None:
    standing = Record.of([Outcome.PREIMAGE_MISS] * misses).standing(3, POLICY)
    assert standing.penalties == penalties
    assert standing.tier == 3 - penalties
    assert standing.message().bonded_tier == 3


@given(st.lists(REAL, max_size=150), REAL)
def test_windows_roll_and_adding_is_appending(history: list[Outcome], latest: Outcome) -> None:
    record = Record.of(history).add(latest)
    assert record == Record.of([*history, latest])
    for window, outcomes in zip(
        (OutcomeClass.MATCH, OutcomeClass.PREIMAGE, OutcomeClass.ORDER),
        (record.matches, record.preimages, record.orders),
        strict=True,
    ):
        expected = [outcome for outcome in [*history, latest] if WEIGHTS[outcome].window is window]
        assert list(outcomes) == expected[-WINDOWS[window] :]
