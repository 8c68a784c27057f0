"""The disk is gone in mid-swap, on real nodes: the words, and where the server is dead the recovery file, suffice."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.story import Story, told
from tests.e2e.test_refunds import SHORT_LOCKS, pass_locks

from twinlock.simnet.clients import Client
from twinlock.simnet.processes import Process

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


def report_of(process: Process) -> dict[str, object]:
    report: dict[str, object] = json.loads(
        [line for line in process.log.read_text().splitlines() if line.startswith("{")][-1]
    )
    return report


@pytest.mark.parametrize("role", ["taker", pytest.param("maker", marks=pytest.mark.soak)])
async def test_the_words_finish_a_swap_while_the_server_lives(tmp_path: Path, role: str) -> None:
    async with told(tmp_path) as story:
        client = story.maker if role == "maker" else story.taker
        await story.match()
        await client.saw("swap_step", step="swap_accepted")
        await client.kill()
        words = client.lose_disk()
        process = await client.recover(words)
        assert await asyncio.wait_for(process.wait(), 120) == 0, process.tail(30)
        report = report_of(process)
        assert [swap["outcome"] for swap in report["swaps"]] == ["swapped"]  # type: ignore[attr-defined]
        assert [bond["state"] for bond in report["bonds"]] == ["posted"]  # type: ignore[attr-defined]
        await client.start()
        await ended(story)
        await story.assert_swapped()


async def test_the_file_finishes_a_swap_when_the_server_is_dead(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.match()
        await story.maker.saw("swap_step", step="audited")
        await story.exchange.server.kill()
        await story.taker.kill()
        file = shutil.copy(story.taker.recovery_file, tmp_path / "copy.recovery")
        words = story.taker.lose_disk()
        process = await story.taker.recover(words, "--file", file)
        assert await asyncio.wait_for(process.wait(), 180) == 3, process.tail(30)
        assert [swap["outcome"] for swap in report_of(process)["swaps"]] == ["swapped"]  # type: ignore[attr-defined]
        await story.exchange.server.start()
        await story.taker.start()
        await ended(story)
        await story.assert_swapped()


@pytest.mark.soak
async def test_the_file_refunds_a_swap_when_everybody_is_dead(tmp_path: Path) -> None:
    async with told(tmp_path, SHORT_LOCKS) as story:
        await story.match()
        await story.maker.saw("swap_step", step="swap_accepted")
        await story.taker.kill()
        await story.exchange.server.kill()
        await story.maker.kill()
        file = shutil.copy(story.maker.recovery_file, tmp_path / "copy.recovery")
        words = story.maker.lose_disk()
        await pass_locks(story, SHORT_LOCKS.lock_maker_s)
        process = await story.maker.recover(words, "--file", file)
        assert await asyncio.wait_for(process.wait(), 180) == 3, process.tail(30)
        assert [swap["outcome"] for swap in report_of(process)["swaps"]] == ["refunded"]  # type: ignore[attr-defined]
        assert (await settled(story.maker))[story.maker_asset] < story.before["maker"][story.maker_asset]


async def settled(client: Client) -> dict[str, int]:
    await client.start()
    await client.until_settled()
    return await client.totals()


async def ended(story: Story) -> None:
    for client in story.clients:
        await client.until_settled()
