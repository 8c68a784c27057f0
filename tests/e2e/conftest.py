"""Every story runs on real nodes; where they cannot be had, it is skipped aloud."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent

LONGEST = 900
"""Seconds for a test, unless it says otherwise: the first of a module waits for much of what is told beside it."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: a variant of a story, told by `make soak` only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Variants of a story wait for `make soak`, so that the usual run stays short."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))
    if os.environ.get("TWINLOCK_SOAK"):
        return
    variants = [item for item in items if item.get_closest_marker("soak")]
    items[:] = [item for item in items if item not in variants]
    if variants:
        config.hook.pytest_deselected(items=variants)


@pytest.fixture(autouse=True)
def nodes(program: Callable[[str], Path]) -> None:
    for name in ("bitcoind", "litecoind"):
        program(name)
