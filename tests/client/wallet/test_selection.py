"""Coin selection: enough whenever there is enough, never a coin too many."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from twinlock.client.wallet.selection import choose

values = st.lists(st.integers(-50, 200), max_size=10)


def every_sum(amounts: list[int], target: int, tolerance: int) -> list[int]:
    """The sums of all subsets that need no change: the slow and obvious way."""
    useful = [amount for amount in amounts if amount > 0]
    sums = [sum(some) for size in range(1, len(useful) + 1) for some in combinations(useful, size)]
    return [total for total in sums if target <= total <= target + tolerance]


@given(values, st.integers(1, 600), st.integers(0, 40))
def test_the_choice_is_enough_or_there_is_none(amounts: list[int], target: int, tolerance: int) -> None:
    chosen = choose(amounts, target, tolerance)
    if chosen is None:
        assert sum(amount for amount in amounts if amount > 0) < target
        return
    assert len(set(chosen)) == len(chosen)
    assert sum(amounts[i] for i in chosen) >= target
    assert all(amounts[i] > 0 for i in chosen)
    assert all(sum(amounts[i] for i in chosen if i != left_out) < target for left_out in chosen), "each coin is needed"


@given(values, st.integers(1, 600), st.integers(0, 40))
def test_a_sum_without_change_is_found_whenever_there_is_one(amounts: list[int], target: int, tolerance: int) -> None:
    chosen = choose(amounts, target, tolerance)
    if possible := every_sum(amounts, target, tolerance):
        assert chosen is not None
        assert sum(amounts[i] for i in chosen) == min(possible)


def test_a_thousand_coins_take_no_time_to_speak_of() -> None:
    amounts = [1000 + 7 * i for i in range(1000)]
    chosen = choose(amounts, sum(amounts) // 2, 3)
    assert chosen is not None
    assert sum(amounts[i] for i in chosen) >= sum(amounts) // 2


def test_the_same_coins_give_the_same_choice() -> None:
    assert choose([5, 9, 9, 3], 11, 0) == choose([5, 9, 9, 3], 11, 0) == [1, 2]
