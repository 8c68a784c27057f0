"""A list of texts that is kept in a file, as JSON: bans, peers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from twinlock.indexer.storage.disk import sync_folder


def read_list(file: Path) -> list[str]:
    """What was kept. Raises OSError, ValueError."""
    return msgspec.json.decode(file.read_bytes(), type=list[str])


def keep_list(file: Path, texts: Iterable[str]) -> None:
    """Keep these instead: the file is replaced in one step, and stays so over a power cut. Raises OSError."""
    new = file.with_suffix(".new")
    with new.open("wb") as draft:
        draft.write(msgspec.json.format(msgspec.json.encode(list(texts))))
        draft.flush()
        os.fsync(draft.fileno())
    new.replace(file)
    sync_folder(file.parent)
