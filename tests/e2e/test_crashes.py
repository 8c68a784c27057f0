"""Processes that crash in the middle of a swap: it settles all the same, to the atom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.e2e.story import Story, told

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


async def crash_server(story: Story) -> None:
    await story.exchange.server.kill()
    await story.exchange.server.start()


async def crash_maker(story: Story) -> None:
    await story.maker.restart()


async def crash_taker(story: Story) -> None:
    await story.taker.restart()


def crash_indexer(symbol: str) -> Callable[[Story], Awaitable[None]]:
    async def crash(story: Story) -> None:
        await story.exchange.indexers[symbol].kill()
        await story.exchange.indexers[symbol].start()

    return crash


def crash_node(symbol: str) -> Callable[[Story], Awaitable[None]]:
    async def crash(story: Story) -> None:
        await story.exchange.nodes[symbol].kill()
        await story.exchange.nodes[symbol].start()

    return crash


CRASHES: dict[str, Callable[[Story], Awaitable[None]]] = {
    "server": crash_server,
    "maker": crash_maker,
    "taker": crash_taker,
    "btc_indexer": crash_indexer("btc"),
    "ltc_indexer": crash_indexer("ltc"),
    "btc_node": crash_node("btc"),
    "ltc_node": crash_node("ltc"),
}


@pytest.mark.parametrize("process", sorted(CRASHES))
async def test_kill_9_in_mid_swap_then_restart_then_completion(tmp_path: Path, process: str) -> None:
    async with told(tmp_path) as story:
        await story.match()
        await story.maker.saw("swap_step", step="swap_sent")
        await CRASHES[process](story)
        await story.ended("swapped")
        await story.assert_swapped()


async def test_the_server_dies_after_both_contracts_and_the_swap_completes_without_it(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.match()
        await story.maker.saw("swap_step", step="audited")
        await story.exchange.server.kill()
        for client in story.clients:
            await client.saw("swap_step", step="redeemed")
            await client.until_settled()
        await story.assert_swapped()

        await story.exchange.server.start()
        await story.ended("swapped")
        await story.assert_swapped()


@pytest.mark.parametrize("payer", ["maker", "taker"])
async def test_a_block_with_a_contract_is_reorganised_away_and_the_swap_completes(tmp_path: Path, payer: str) -> None:
    async with told(tmp_path) as story:
        await story.match()
        client, asset = (story.maker, story.maker_asset) if payer == "maker" else (story.taker, story.taker_asset)
        await client.saw("swap_step", step="swap_confirmed")
        node = story.exchange.nodes[asset]
        await node.invalidate(await node.rpc("getbestblockhash"))
        await story.ended("swapped")
        await story.assert_swapped()
