"""Every document points at things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
PLACEHOLDERS = {"docs/decisions/NNNN-title.md", "src/twinlock/kernels/_name.c"}
CODE_PATH = re.compile(r"`((?:src|tests|docs|tools|benchmarks)/[\w./-]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [path for path in CODE_PATH.findall(text) if path not in PLACEHOLDERS and not (ROOT / path).exists()]
    assert not missing


def test_the_index_names_every_document() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    pages = {path for path in ROOT.glob("docs/**/*") if path.suffix in (".md", ".json") and path != index}
    assert len(pages) > 20
    assert pages - linked == set()
