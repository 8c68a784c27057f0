"""A soak: whatever is done to a server, it holds no more than `--memory`, in its first sync and afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.indexer.parts import Amount, besieged
from benchmarks.indexer.world import World

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.node,
    pytest.mark.skipif(not os.environ.get("TWINLOCK_SOAK"), reason="set TWINLOCK_SOAK=1"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("world"), 2_000, 1_000_000)
    asyncio.run(made.make())
    return made


@pytest.mark.parametrize("ceiling", [300, 600])
async def test_the_ceiling_holds(ceiling: int, world: World, program: Callable[[str], Path]) -> None:
    program("bitcoind")
    row = await besieged(world, f"{ceiling}M", Amount(requests=40_000))
    assert row["sync_peak_mib"] <= ceiling, row
    assert row["peak_mib"] <= ceiling, row
    assert row["subscriptions"] >= 60_000, row
