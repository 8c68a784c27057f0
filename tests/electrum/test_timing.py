"""Waiting with a limit leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import gc

import pytest

from twinlock.electrum.timing import within
from twinlock.seams import VirtualClock

pytestmark = pytest.mark.anyio


async def fail_after(gate: asyncio.Event) -> int:
    await gate.wait()
    raise ValueError("too bad")


async def test_a_result_in_time_is_given_and_an_error_raised() -> None:
    clock, gate = VirtualClock(), asyncio.Event()
    assert await within(clock, 5, asyncio.sleep(0, "done")) == "done"
    gate.set()
    with pytest.raises(ValueError, match="too bad"):
        await within(clock, 5, fail_after(gate))


async def test_what_takes_too_long_is_cancelled() -> None:
    clock = VirtualClock()
    never = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(clock, 5, never))
    await clock.advance(4)
    assert not waiting.done()
    await clock.advance(2)
    with pytest.raises(TimeoutError):
        await waiting
    assert never.cancelled()


async def test_a_caller_that_gave_up_hears_no_more_of_errors() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    clock, gate = VirtualClock(), asyncio.Event()
    waiting = asyncio.create_task(within(clock, 5, fail_after(gate)))
    await clock.advance(0)
    gate.set()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises((asyncio.CancelledError, ValueError)):
        await waiting
    gc.collect()
    await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert complaints == []
