"""The indexer's benchmark on a tiny chain: it runs to its end, and what it checks on the way is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.indexer.__main__ import measure
from benchmarks.indexer.report import page

pytestmark = [pytest.mark.anyio, pytest.mark.node]


async def test_the_benchmark_measures_a_tiny_chain(program: Callable[[str], Path]) -> None:
    program("bitcoind")
    result = await measure([(110, 600)], peer=False, requests=60, rounds=1)
    (chain,) = result["chains"]
    assert chain["txs"] == 600
    assert chain["checked"]["wrong"] == 0 < chain["checked"]["entries"]
    assert set(chain["sync"]) == {"twinlock", "twinlock, --memory 300M", "twinlock, by REST"}
    assert chain["news"]["big_block"]["last_status_ms"] > 0
    json.dumps(result)
    assert "| huge get_history |" in page(result)
