"""The virtual clock wakes sleepers in order, each at its own moment."""

from __future__ import annotations

import asyncio

import pytest

from twinlock.seams import SeededEntropy, SystemClock, SystemEntropy, VirtualClock


@pytest.mark.anyio
async def test_sleepers_wake_in_the_order_of_their_deadlines_and_see_their_own_time() -> None:
    clock = VirtualClock(now_ms=1_000_000)
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now_ms()))

    tasks = [asyncio.create_task(sleeper("late", 3)), asyncio.create_task(sleeper("early", 1.5))]
    await clock.advance(2)
    assert woken == [("early", 1_001_500)]
    assert clock.now_ms() == 1_002_000
    await clock.advance(1)
    assert woken[1:] == [("late", 1_003_000)]
    await asyncio.gather(*tasks)


@pytest.mark.anyio
async def test_a_woken_sleeper_may_sleep_again_within_one_advance() -> None:
    clock = VirtualClock(now_ms=0)
    ticks: list[int] = []

    async def ticker() -> None:
        for _ in range(5):
            await clock.sleep(1)
            ticks.append(clock.now_ms())

    task = asyncio.create_task(ticker())
    await clock.advance(10)
    assert ticks == [1000, 2000, 3000, 4000, 5000]
    await task


@pytest.mark.anyio
async def test_a_cancelled_sleeper_disturbs_nobody() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.advance(0.1)
    task.cancel()
    await clock.advance(5)
    assert task.cancelled()


def test_seeded_entropy_repeats_and_the_systems_does_not() -> None:
    assert SeededEntropy(7).token(32) == SeededEntropy(7).token(32) != SeededEntropy(8).token(32)
    assert SystemEntropy().token(32) != SystemEntropy().token(32)


def test_the_system_clock_tells_a_time_after_this_was_written() -> None:
    clock = SystemClock()
    assert clock.now_ms() > 1_700_000_000_000
    assert clock.monotonic() <= clock.monotonic()
