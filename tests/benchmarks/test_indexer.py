"""The indexer's benchmark on a tiny chain: it runs to its end, and what it checks on the way is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.indexer.__main__ import measure, merged
from benchmarks.indexer.parts import PARTS, Amount
from benchmarks.indexer.report import page
from benchmarks.indexer.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.node]


async def test_the_benchmark_measures_a_tiny_chain(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    amount = Amount(requests=60, rounds=1, peer=False, ceilings=("300M",), subscriptions=2000, sieged_blocks=1)
    rows = await measure(World(tmp_path, 110, 600), list(PARTS), amount)
    assert rows["sync"]["txs"] == 600
    assert set(rows["sync"]["servers"]) == {"twinlock", "twinlock, --memory 300M", "twinlock, by REST"}
    assert rows["questions"]["checked"]["wrong"] == 0 < rows["questions"]["checked"]["entries"]
    big = rows["news"]["big_block"]
    assert 0 < big["touched"] < big["subscribed"]
    assert big["last_status_ms"] > 0
    result = merged({}, 600, rows)
    json.dumps(result)
    assert "| huge get_history |" in page(result)


async def test_a_part_alone_finds_the_chain_that_another_left(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    await World(tmp_path, 105, 60).make()
    again = World(tmp_path, 105, 60)
    await again.make()
    assert again.maker.facts.txs == 60
    async with again.copy() as (node, maker):
        await node.give([maker.next_block(3)])
        assert await node.rpc("getblockcount") == 106
    async with again.node() as node:
        assert await node.rpc("getblockcount") == 105
