"""Where tests find published facts: the reference vectors beside them, and data of real chains next to the project."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent
FIXTURES = _HERE.parents[1] / "shared" / "fixtures"


@cache
def _dex() -> dict[str, Any]:
    vectors = json.loads((_HERE / "vectors" / "dex-vectors.json").read_text())["vectors"]
    return {vector["id"]: vector for vector in vectors}


@cache
def _electrum() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_HERE / "vectors" / "electrum-vectors.json").read_text())
    return found


def dex_vector(name: str) -> Any:
    """The vector with that id: its `inputs` and `expected`."""
    return _dex()[name]


def electrum_vectors(key: str) -> Any:
    """One part of the Electrum protocol's vectors."""
    return _electrum()[key]


def recorded(name: str) -> list[dict[str, Any]]:
    """The lines of a recording of other programs (vectors/recorded/README.md says what they mean)."""
    return [json.loads(line) for line in (_HERE / "vectors" / "recorded" / f"{name}.jsonl").read_text().splitlines()]


def fixture(path: str) -> Any:
    """JSON of the folder of real data; skips the test, aloud, where the folder is missing."""
    file = FIXTURES / path
    if not file.exists():
        pytest.skip(f"no {path} in {FIXTURES}", allow_module_level=True)
    return json.loads(file.read_text())
