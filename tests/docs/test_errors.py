"""The page of errors names every stable code, and none that is gone."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "errors.md"


def test_every_code_is_documented() -> None:
    raised = set(runpy.run_path(str(ROOT / "tools" / "errors"))["collect"]())
    tables, _, _ = PAGE.read_text(encoding="utf-8").partition("\n## On the DEX protocol's wire")
    documented = set(re.findall(r"^\| `([\w.]+)` \|", tables, re.MULTILINE))
    assert len(raised) > 200
    assert documented == raised, "run tools/errors"
