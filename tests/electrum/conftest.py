"""Worlds are expensive, so a module shares one; each test pays to scripts of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.electrum.worlds import Purse, SimulatedWorld, World, real_world

from twinlock.simnet.node import KINDS


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Shared worlds live on one loop."""
    return "asyncio"


@pytest.fixture(
    scope="module",
    params=["simulated-btc", "simulated-ltc", pytest.param("real-btc", marks=pytest.mark.node)],
)
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


_secrets = itertools.count(1)


@pytest.fixture
def purse(world: World) -> Purse:
    """A script that no other test uses."""
    return Purse(world, next(_secrets))


@pytest.fixture
def other(world: World) -> Purse:
    return Purse(world, next(_secrets))
