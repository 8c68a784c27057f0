"""A real PostgreSQL server for tests, in a folder of its own.

PostgreSQL refuses to run as root. Where we are root, it runs in a user namespace in which it is somebody else while
its files stay ours; where the kernel grants no namespace, as the user `nobody`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import asyncpg

from twinlock.simnet import programs
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Process, Processes

_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_READY_S = 60.0
_SETTINGS = ("unix_socket_directories=",)
_CARELESS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


class Postgres:
    """One server. `folder` must not exist yet.

    durable: whether what is in it survives a power cut; tests need not wait for the disk, measurements must.
    """

    def __init__(self, folder: Path, processes: Processes, *, durable: bool = False) -> None:
        self.folder = folder
        self._settings = _SETTINGS if durable else _SETTINGS + _CARELESS
        self.port = free_ports(1)[0]
        self.process: Process | None = None
        self._processes = processes

    @property
    def url(self) -> str:
        """SQLAlchemy's address of its database `postgres`."""
        return f"postgresql+asyncpg://twinlock@127.0.0.1:{self.port}/postgres"

    async def start(self, say: programs.Say = lambda _line: None) -> None:
        """Make the cluster and serve it. Raises ProgramError, ProcessError."""
        initdb = await asyncio.to_thread(programs.need, "initdb", say)
        postgres = await asyncio.to_thread(programs.need, "postgres", say)
        self.folder.mkdir(parents=True)
        somebody = await self._somebody()
        options = ("--username=twinlock", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        cluster: list[str | Path] = [*somebody, initdb, f"--pgdata={self.folder}", *options]
        made = await self._processes.start("initdb", cluster)
        if status := await made.wait():
            raise programs.ProgramError(f"initdb ended with status {status}: {made.tail()}", fix=f"Read {made.log}.")
        settings = [part for setting in self._settings for part in ("-c", setting)]
        address = ("-h", "127.0.0.1", "-p", str(self.port))
        command: list[str | Path] = [*somebody, postgres, "-D", self.folder, *address, *settings]
        self.process = await self._processes.start("postgres", command)
        await self.process.until(self._answers, _READY_S, "answer to a login")

    async def _answers(self) -> bool:
        """It listens a moment before it lets anybody in."""
        try:
            connection = await asyncpg.connect(host="127.0.0.1", port=self.port, user="twinlock", database="postgres")
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True

    async def _somebody(self) -> tuple[str, ...]:
        """The words before a command that make it run as anybody but root."""
        if os.geteuid() != 0:
            return ()
        probe = await self._processes.start("namespace", [*_NAMESPACE, "true"])
        if await probe.wait() == 0:
            return _NAMESPACE
        shutil.chown(self.folder, "nobody", "nogroup")
        return _NOBODY
