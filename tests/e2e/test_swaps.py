"""Swaps that go well, with both roles on both sides of the market."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.story import told

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


@pytest.mark.parametrize("maker_sells", [True, False], ids=["maker_sells_base", "maker_buys_base"])
async def test_a_swap_settles_to_the_atom(tmp_path: Path, maker_sells: bool) -> None:
    async with told(tmp_path, maker_sells=maker_sells) as story:
        await story.match()
        await story.ended("swapped")
        await story.assert_swapped()
