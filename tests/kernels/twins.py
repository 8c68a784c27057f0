"""The compiled halves of the kernels: tests that compare them with their plain twins need them."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from tests.conftest import MISSING

from twinlock import kernels


def _missing() -> list[str]:
    sources = {path.stem for folder in kernels.__path__ for path in Path(folder).glob("_*.c")}
    assert sources, "the kernels' sources stand beside their twins"
    for name in sorted(sources):
        with suppress(ImportError):
            import_module(f"{kernels.__name__}.{name}")
            sources.discard(name)
    return sorted(sources)


_MISSING = _missing()

needs_compiled = pytest.mark.skipif(bool(_MISSING), reason=f"{MISSING}compiled kernels {', '.join(_MISSING)}")
"""For tests that say nothing where a plain twin stands in for its kernel."""
