"""ARCHITECTURE.md tells the truth about the house."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w.]+)` \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("seed", "component", "module"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_each_component_of_the_seeds_has_its_module(seed: str, component: str, module: str) -> None:
    assert importlib.import_module(module).__doc__, f"{module} ({component} of {seed}) explains itself"


def test_the_table_is_complete() -> None:
    assert len({module for _, _, module in ROWS}) >= 25


def test_each_package_of_the_house_is_on_the_map() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "twinlock").glob("*/__init__.py")}
    mapped = set(re.findall(r"^  (\w+)/ ", TEXT, re.MULTILINE))
    assert packages == mapped
