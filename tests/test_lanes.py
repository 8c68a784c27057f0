"""Every test file belongs to one of the runs that `tools/test` starts side by side, and to no second one."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def under(path: str, places: list[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def test_each_file_is_in_one_lane() -> None:
    tool = runpy.run_path(str(ROOT / "tools/test"))
    lanes = [tool["arguments"](lane) for lane in tool["LANES"]]
    files = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py")]
    assert files
    for file in files:
        taken = 0
        for words in lanes:
            ignored = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
            places = [word for word in words if not word.startswith("--")] or ["tests"]
            taken += under(file, places) and not under(file, ignored)
        assert taken == 1, file
