"""Waiting for whichever comes first."""

from __future__ import annotations

import asyncio

from twinlock.seams import Clock


async def rest(clock: Clock, seconds: float, woken: asyncio.Event) -> None:
    """Return when `seconds` have passed or `woken` is set."""
    tasks = (asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(woken.wait()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
