"""Opening an index: which of its runs are sound, and which files a broken-off change left behind."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import msgspec

from twinlock.indexer.storage.disk import Disk
from twinlock.indexer.storage.manifest import MANIFESTS, DamagedError, Manifest, write_manifest
from twinlock.indexer.storage.piece import SECTIONS, Piece
from twinlock.indexer.storage.runs import open_run

_SPILLED = ("fundings/", "spendings/", "touches/", "coins/", "lookups/", "points/")
_OURS = ("manifest", "log-", "run-", "merged-", "bulk", *_SPILLED)
"""How the names of an index's files and folders begin."""


def open_runs(disk: Disk, manifest: Manifest, verified_at_once: int) -> tuple[list[Piece], Manifest, str]:
    """(the runs, mapped; the manifest that names them; what is damaged and left out, in words, or nothing).

    Those before a damaged one stay, what follows it is left out. Raises DamagedError where that leaves none.
    """
    pieces: list[Piece] = []
    for number, run in enumerate(manifest.runs):
        try:
            pieces.append(open_run(disk, run, run.size <= verified_at_once))
        except DamagedError as error:
            if not number:
                raise
            serial = manifest.serial + 1
            left: dict[str, Any] = {"serial": serial, "runs": manifest.runs[:number], "log": f"log-{serial}"}
            manifest = msgspec.structs.replace(manifest, **left)
            write_manifest(disk, manifest)
            return pieces, manifest, f"{error}; the index goes on from height {run.first_height - 1}"
    return pieces, manifest, ""


def sweep(disk: Disk, manifest: Manifest, unfinished: set[str]) -> None:
    """Remove what a broken-off change left. unfinished: files that stay, of a build that can go on."""
    runs = {f"{run.name}/{section}" for run in manifest.runs for section in SECTIONS}
    _remove(disk, runs | {manifest.log} | MANIFESTS | unfinished)


def remove_everything(disk: Disk) -> None:
    """Remove the index, whatever is left of it."""
    _remove(disk, frozenset())


def _remove(disk: Disk, but: Set[str]) -> None:
    """Remove the index's files but some; files that are not ours stay."""
    for name in disk.names():
        if name.startswith(_OURS) and name not in but:
            disk.remove(name)
