"""An indexer as a process of its own that kills itself (SIGKILL) at the n-th operation of its disk.

Arguments: the node's URL, the data directory, n (0: never), a port for wallets, a file for how many there were.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from twinlock.indexer.controller import Controller
from twinlock.indexer.env import Env, Service
from twinlock.indexer.storage.disk import Appender, RealDisk
from twinlock.seams import SeededEntropy, SystemClock


class DyingDisk(RealDisk):
    """Counts what changes it, where the count outlives the process."""

    def __init__(self, root: Path, dies_at: int, count: Path) -> None:
        super().__init__(root)
        self._dies_at = dies_at
        self._done = 0
        self._count = os.open(count, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)

    def step(self) -> None:
        self._done += 1
        os.pwrite(self._count, b"%d" % self._done, 0)
        if self._done == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def append(self, name: str, keep: int) -> Appender:
        self.step()
        return DyingAppender(self, super().append(name, keep))

    def replace(self, old: str, new: str) -> None:
        self.step()
        super().replace(old, new)

    def remove(self, name: str) -> None:
        self.step()
        super().remove(name)


class DyingAppender:
    """May die in the middle of a write."""

    def __init__(self, disk: DyingDisk, file: Appender) -> None:
        self._disk, self._file = disk, file

    @property
    def size(self) -> int:
        return self._file.size

    def write(self, data: bytes | memoryview) -> None:
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            self._disk.step()
            self._file.write(piece)

    def sync(self) -> None:
        self._disk.step()
        self._file.sync()

    def close(self) -> None:
        self._file.close()


async def main(url: str, folder: Path, dies_at: int, port: int, count: Path) -> None:
    env = Env(
        coin="btc",
        network="regtest",
        daemon_url=url,
        data_dir=folder,
        services=(Service("tcp", "127.0.0.1", port),),
        reorg_limit=10,
        poll_ms=10,
    )
    disk = DyingDisk(folder, dies_at, count)

    def ready(_: int) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    await Controller(env, SystemClock(), SeededEntropy(1), disk=disk).run(ready)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])))
