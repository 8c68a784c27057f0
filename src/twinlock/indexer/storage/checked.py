"""Small files with a checksum before their content, replaced in one step: the manifest, and where a build stands."""

from __future__ import annotations

import zlib
from contextlib import closing

from twinlock.indexer.storage.disk import Disk


def write_checked(disk: Disk, name: str, body: bytes) -> None:
    """Put a file in the place of the one before, synced."""
    new = f"{name}.new"
    with closing(disk.append(new, 0)) as file:
        file.write(_checksum(body) + b"\n" + body)
        file.sync()
    disk.replace(new, name)


def read_checked(disk: Disk, name: str) -> bytes | None:
    """Its content; None where it is damaged. Raises FileNotFoundError."""
    check, _, body = bytes(disk.view(name)).partition(b"\n")
    return body if check == _checksum(body) else None


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)
