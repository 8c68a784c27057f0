"""One program at a time works on a data directory."""

from __future__ import annotations

import fcntl
from pathlib import Path

from twinlock.errors import TwinlockError


class InUseError(TwinlockError):
    """Another program works on the data directory."""

    code = "indexer.in_use"
    fault = "user"


class DirectoryError(TwinlockError):
    """The data directory cannot be written to."""

    code = "indexer.directory"
    fault = "user"


class DirectoryLock:
    """Held from its making until `release`, or until the program ends, however it does."""

    def __init__(self, folder: Path) -> None:
        """Raises InUseError, DirectoryError."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "lock").open("w")
        except OSError as error:
            fix = "name a directory that its user may write to"
            raise DirectoryError(f"{folder} cannot be used: {error.strerror}", fix=fix) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InUseError(f"an indexer is at work in {folder}", fix="stop it first") from error

    def release(self) -> None:
        """Let others in."""
        self._file.close()
