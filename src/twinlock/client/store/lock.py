"""One process per store: an advisory lock on a file beside it, released by the kernel when the process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twinlock.client.errors import StoreLockedError


class ProcessLock:
    """Held from construction to `release`. Raises StoreLockedError, naming the holder's process ID."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise StoreLockedError(
                f"the store in {path.parent} is in use by process {holder}",
                numbers={"pid": holder},
                fix="stop that client first, or talk to it through its control interface",
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let the next process in. The file stays, so that nobody can lock a deleted one."""
        self._file.close()
