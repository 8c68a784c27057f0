"""Which coins to spend. Pure, exact, and the same for the same coins."""

from __future__ import annotations

from collections.abc import Sequence

KEY_INPUT = 69
"""Worst-case vbytes of spending a P2WPKH output (protocol section 8.2)."""

KEY_OUTPUT = 31
"""Bytes of a P2WPKH output."""

OVERHEAD = 11
"""Vbytes of a segwit transaction without inputs and outputs: 10 bytes, counters included, and half a byte of flags."""

TRIES = 20_000
"""Steps of the search for a sum without change; some 10 ms."""


def choose(values: Sequence[int], target: int, tolerance: int, most: int | None = None) -> list[int] | None:
    """Indices of values whose sum is at least `target`, or None if all together are less.

    values: what each coin adds once its own fee is paid, in atoms. A sum of at most target + tolerance is preferred,
    as it leaves no change worth having; then the smallest value that does alone; then the fewest values. `most`: a
    sum of more values is not preferred; the fewest may still be more.

    >>> choose([50, 30, 20, 7], 50, 0)
    [0]
    >>> choose([60, 30, 21], 50, 2)
    [1, 2]
    >>> choose([60, 30, 21], 50, 2, most=1)
    [0]
    >>> choose([5, 5], 11, 0) is None
    True
    """
    order = sorted((i for i in range(len(values)) if values[i] > 0), key=lambda i: -values[i])
    if sum(values[i] for i in order) < target:
        return None
    exact = _exact([values[i] for i in order], target, tolerance)
    if exact is not None and (most is None or len(exact) <= most):
        return [order[i] for i in exact]
    alone = [i for i in order if values[i] >= target]
    return [alone[-1]] if alone else _largest_first(order, values, target)


def _largest_first(order: list[int], values: Sequence[int], target: int) -> list[int]:
    chosen: list[int] = []
    total = 0
    for i in order:
        if total >= target:
            break
        chosen.append(i)
        total += values[i]
    return chosen


def _exact(values: list[int], target: int, tolerance: int) -> list[int] | None:
    """The subset of falling values with the smallest sum in [target, target + tolerance], by branch and bound."""
    rest = [0] * (len(values) + 1)
    for i in range(len(values) - 1, -1, -1):
        rest[i] = rest[i + 1] + values[i]
    best: list[int] | None = None
    best_sum = target + tolerance + 1
    chosen: list[int] = []
    total, place = 0, 0
    for _ in range(TRIES):
        if target <= total < best_sum:
            best, best_sum = list(chosen), total
        if total >= target or total + rest[place] < target or place == len(values):
            if best_sum == target or not chosen:
                break
            place = chosen.pop()  # leave out what was taken last, and go on behind it
            total -= values[place]
        else:
            chosen.append(place)
            total += values[place]
        place += 1
    return best
