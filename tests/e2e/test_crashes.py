"""Processes that crash in the middle of a swap: it settles all the same, to the atom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.scenes.players import Daemon
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage, opened

from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


class Market(NamedTuple):
    """An exchange and the two who trade there, swap after swap."""

    stage: Stage
    maker: Daemon
    taker: Daemon


async def crash_server(market: Market) -> None:
    await market.stage.exchange.server.kill()
    await market.stage.exchange.server.start()


async def crash_maker(market: Market) -> None:
    await market.maker.restart()


async def crash_taker(market: Market) -> None:
    await market.taker.restart()


def crash_indexer(symbol: str) -> Callable[[Market], Awaitable[None]]:
    async def crash(market: Market) -> None:
        await market.stage.exchange.indexers[symbol].kill()
        await market.stage.exchange.indexers[symbol].start()

    return crash


def crash_node(symbol: str) -> Callable[[Market], Awaitable[None]]:
    async def crash(market: Market) -> None:
        await market.stage.exchange.nodes[symbol].kill()
        await market.stage.exchange.nodes[symbol].start()

    return crash


CRASHES: dict[str, Callable[[Market], Awaitable[None]]] = {
    "server": crash_server,
    "maker": crash_maker,
    "taker": crash_taker,
    "btc_indexer": crash_indexer("btc"),
    "ltc_indexer": crash_indexer("ltc"),
    "btc_node": crash_node("btc"),
    "ltc_node": crash_node("ltc"),
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def market(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]) -> AsyncIterator[Market]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    async with opened(tmp_path_factory.mktemp("crashes")) as stage:
        yield Market(stage, await stage.daemon("maker"), await stage.daemon("taker"))


@pytest.mark.parametrize("process", CRASHES)
async def test_kill_9_in_mid_swap_then_restart_then_completion(market: Market, process: str) -> None:
    scene = Scene(market.stage, market.maker, market.taker)
    await scene.match()
    await scene.step(Party.MAKER, "swap_sent")
    await CRASHES[process](market)
    for party in Party:
        await scene.ended(party, "swapped")
    await scene.assert_books(dict.fromkeys(Party, Fate.REDEEMED))
