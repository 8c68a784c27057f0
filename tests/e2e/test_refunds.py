"""Swaps that somebody leaves: everybody gets back what was locked, by the chain's own time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.story import PLAN, Story, told

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

SHORT_LOCKS = replace(PLAN, lock_maker_s=240, lock_taker_s=120)


async def pass_locks(story: Story, seconds: int) -> None:
    """The median time of both chains moves on by so much, as hours of blocks would move it."""
    for node in story.exchange.nodes.values():
        await node.pass_time(story.exchange.clock.now_ms() // 1000 + seconds)


async def test_the_maker_disappears_after_its_contract(tmp_path: Path) -> None:
    async with told(tmp_path, SHORT_LOCKS) as story:
        await story.match()
        await story.maker.saw("swap_step", step="swap_accepted")
        await story.maker.kill()
        await story.taker.saw("swap_step", step="swap_confirmed")

        await pass_locks(story, SHORT_LOCKS.lock_taker_s)
        assert (await story.taker.saw("swap_ended"))["outcome"] == "refunded"

        await pass_locks(story, SHORT_LOCKS.lock_maker_s)
        await story.maker.start()
        await story.ended("refunded")
        await story.assert_refunded(story.maker, story.taker)


async def test_the_taker_disappears_before_its_contract(tmp_path: Path) -> None:
    async with told(tmp_path, SHORT_LOCKS) as story:
        await story.match()
        await story.maker.saw("swap_step", step="contract_signed")
        await story.taker.kill()
        await story.maker.saw("swap_step", step="swap_confirmed")

        await pass_locks(story, SHORT_LOCKS.lock_maker_s)
        assert (await story.maker.saw("swap_ended"))["outcome"] == "refunded"
        await story.taker.start()
        for client in story.clients:
            await client.until_settled()
        await story.assert_refunded(story.maker)
