"""The README claims no figure that the benchmarks' results do not have."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_figure_of_the_readme_was_measured() -> None:
    _, _, after = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Measured\n")
    table, _, _ = after.partition("\n## ")
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 4
    results = " ".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "benchmarks/results").glob("*.md")))
    measured = set(re.findall(r"[\d.,]*\d", results))
    claimed = {figure for row in rows for cell in row[1:] for figure in re.findall(r"[\d.,]*\d", cell)} - {"99"}
    assert claimed <= measured
