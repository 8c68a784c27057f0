"""Private chains begin alike: what the first node of its kind mined is kept, and others begin on a copy of it.

A Litecoin node works for seconds at its history. A kept one is a node's folder as it was left by a clean stop; it
stands beside the programs in the user's cache folder, and is named by everything that it depends on.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from twinlock.simnet import programs

_FORMAT = 1
_UNWANTED = shutil.ignore_patterns("debug.log", ".lock", "*.pid")


def shelf() -> Path:
    """Where histories are kept."""
    return programs.prefix() / "histories"


def name_of(program: Path, settings: Sequence[str]) -> str:
    """What the history of this very program, started and mined so, is kept as."""
    about = program.resolve().stat()
    words = (str(_FORMAT), str(program.resolve()), str(about.st_size), str(about.st_mtime_ns), *settings)
    return sha256("\0".join(words).encode()).hexdigest()[:24]


def take(kept: Path, folder: Path) -> None:
    """Let a node's folder, which does not exist yet, begin on a history if there is one."""
    if kept.exists():
        shutil.copytree(kept, folder)


def keep(folder: Path, kept: Path) -> None:
    """Keep the history of a node that is stopped; where that cannot be, the next one mines its own again."""
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as draft:
            copy = shutil.copytree(folder, Path(draft, "copy"), ignore=_UNWANTED)
            copy.rename(kept)  # fails where another node was first
