"""Starts other programs, watches them, and leaves none behind.

Each process is the leader of a session of its own, so that Ctrl-C in the terminal reaches us alone and we stop the
others in order. Should we die without a chance to (kill -9), the kernel kills them: `setpriv --pdeathsig`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from twinlock.errors import TwinlockError

STOP_SECONDS = 60.0
"""How long a process may take to stop by itself before it is killed."""


class ProcessError(TwinlockError):
    """A process ended, or did not do what it was started for in time."""

    code = "simnet.process"
    fault = "machine"


async def together(*work: Coroutine[None, None, None]) -> None:
    """Do several things at the same time; when one fails the others are cancelled, and its error is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Child(Protocol):
    """What is needed of a running program, as `asyncio.subprocess.Process` has it."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


class Process:
    """One running program. `log` is the file that its output goes to."""

    def __init__(self, name: str, child: Child, log: Path) -> None:
        self.name = name
        self.log = log
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.returncode is None

    async def wait(self) -> int:
        """The exit status, once it has ended; -N when signal N ended it."""
        return await self._child.wait()

    async def stop(self) -> int:
        """Ask it to end; kill it when it does not within STOP_SECONDS. Returns the exit status."""
        if self.running:
            self._signal(signal.SIGTERM)
            try:
                return await asyncio.wait_for(self._child.wait(), STOP_SECONDS)
            except TimeoutError:
                return await self.kill()
        return await self._child.wait()

    async def kill(self) -> int:
        """kill -9 of the process and of everything that it started."""
        self._signal(signal.SIGKILL)
        return await self._child.wait()

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        """Return when `condition` holds. Raises ProcessError when the process ends first or time runs out."""
        try:
            async with asyncio.timeout(seconds):
                while not await condition():
                    if not self.running:
                        raise ProcessError(
                            f"{self.name} ended with status {self._child.returncode} before {what}: {self.tail()}",
                            fix=f"Read {self.log}.",
                        )
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ProcessError(
                f"{self.name}: no {what} within {seconds:g} s: {self.tail()}", fix=f"Read {self.log}."
            ) from None

    async def listening(self, port: int, seconds: float = 240.0) -> None:
        """Return when the process accepts connections on this loopback port."""

        async def accepts() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await self.until(accepts, seconds, f"listener on port {port}")

    def tail(self, lines: int = 5) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


class Processes:
    """Everything that was started, stopped in reverse order at the end of the `async with` block."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started: list[Process] = []

    async def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a program; its output is appended to ``logs/NAME.log``. `environment` adds to our own."""
        log = self.log(name)
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL"),
                *map(str, command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        return self.began(Process(name, child, log))

    def log(self, name: str) -> Path:
        """Where the output of the program of that name goes."""
        self._logs.mkdir(parents=True, exist_ok=True)
        return self._logs / f"{name}.log"

    def began(self, process: Process) -> Process:
        """One more to stop at the end."""
        self._started.append(process)
        return process

    def running(self) -> list[Process]:
        """Those that have not ended, in the order of their start."""
        return [process for process in self._started if process.running]

    async def stop(self, said: Callable[[Process, int], None] = lambda _process, _status: None) -> None:
        """Stop what still runs, the newest first, telling `said` of each with its exit status."""
        for process in reversed(self.running()):
            said(process, await process.stop())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self.stop())
