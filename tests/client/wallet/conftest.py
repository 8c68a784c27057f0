"""Wallets over the same worlds as the chain view: simulated, and real nodes with our indexer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.client.wallet.kit import Kit
from tests.electrum.worlds import SimulatedWorld, World, real_world

from twinlock.electrum.view import ChainView
from twinlock.simnet.node import KINDS


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Shared worlds live on one loop."""
    return "asyncio"


WORLDS = {
    "simulated-btc": ("light", "cold"),
    "simulated-ltc": ("light",),
    "real-btc": ("light", "node"),
    "real-ltc": ("light", "node"),
}
"""Which kinds of wallets are tried in which world; nodes are real. A module may have fewer, in its own `WORLDS`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that ask for a `kit` run once for each kind in each world, the kinds of a world one after another."""
    real = {world: [pytest.mark.node] if world.startswith("real") else [] for world in WORLDS}
    if "kind" in metafunc.fixturenames:
        worlds: dict[str, tuple[str, ...]] = getattr(metafunc.module, "WORLDS", WORLDS)
        pairs = [pytest.param(world, kind, marks=real[world]) for world, kinds in worlds.items() for kind in kinds]
        metafunc.parametrize(("world", "kind"), pairs, indirect=["world"], scope="module")
    elif "world" in metafunc.fixturenames:
        alone = [pytest.param(world, marks=real[world]) for world in WORLDS]
        metafunc.parametrize("world", alone, indirect=True, scope="module")


@pytest.fixture(scope="module")
async def world(
    request: pytest.FixtureRequest, program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    kind, symbol = request.param.split("-")
    if kind == "simulated":
        yield SimulatedWorld(symbol)
        return
    program(KINDS[symbol].program)
    async with real_world(symbol, tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture
async def view(world: World) -> AsyncIterator[ChainView]:
    async with world.view() as view:
        yield view


@pytest.fixture
def kit(world: World, view: ChainView, kind: str, tmp_path: Path) -> Kit:
    return Kit(world, view, kind, tmp_path)
