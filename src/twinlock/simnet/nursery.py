"""Our own programs started in a hundredth of the time: forked from a process that has loaded them already.

A story starts a hundred clients; each would spend most of a second of processor time on imports before its first own
step. What comes of the fork runs the same module with the same arguments, as a process and a session of its own.

    python -m twinlock.simnet.nursery SOCKET MODULE...
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from twinlock.simnet.processes import Process, ProcessError, Processes

_PR_SET_PDEATHSIG = 1
_MODULE = 2
_LONGEST = 1 << 16
_BEGAN = b"began"


class Order(msgspec.Struct):
    """A module to be run as a program. log: its output is appended there; environment: adds to the nursery's."""

    module: str
    arguments: list[str]
    log: str
    environment: dict[str, str]


class Nursery:
    """One such process, as a context. It dies with whoever started it, and takes with it what it has forked."""

    def __init__(self, modules: Sequence[str], path: Sequence[Path] = ()) -> None:
        """modules: loaded before the first fork. path: where Python finds them besides."""
        self._modules = modules
        self._path = path
        self._folder = tempfile.TemporaryDirectory(prefix="twinlock-nursery-")
        self._socket = Path(self._folder.name, "socket")
        self._process: asyncio.subprocess.Process
        self._ready: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        """It loads the modules while others go on; the first fork waits for that."""
        path = os.pathsep.join([*map(str, self._path), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", __name__, str(self._socket), *self._modules),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._ready = asyncio.create_task(self._load())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._ready, return_exceptions=True)
        self._folder.cleanup()

    async def _load(self) -> None:
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise ProcessError(f"the nursery ended with status {await self._process.wait()}")

    async def fork(self, order: Order) -> Forked:
        """Start a program. Raises ProcessError, OSError."""
        await asyncio.shield(self._ready)
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        writer.write(msgspec.json.encode(order))
        writer.write_eof()
        word, _, pid = (await reader.readline()).partition(b" ")
        if word != _BEGAN:
            writer.close()
            raise ProcessError(
                "the nursery has gone, or could not start it", fix=f"See whether {order.log} can be written."
            )
        return Forked(int(pid), reader, writer)


class Forked:
    """A running program, as asyncio shows its children."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reader, self._writer = reader, writer
        self._ended = asyncio.create_task(self._end())

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def _end(self) -> int:
        # Without a word it went down with the nursery.
        status = int(await self._reader.readline() or -signal.SIGKILL)
        self._writer.close()
        self.returncode = status
        return status


class Reared(Processes):
    """Processes of which those that run a Python module come out of a nursery."""

    def __init__(self, logs: Path, nursery: Nursery) -> None:
        super().__init__(logs)
        self._nursery = nursery

    async def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Process:
        python = [str(word) for word in command]
        if python[:_MODULE] != [sys.executable, "-m"]:
            return await super().start(name, command, environment)
        log = self.log(name)
        order = Order(python[_MODULE], python[_MODULE + 1 :], str(log), dict(environment or {}))
        return self.began(Process(name, await self._nursery.fork(order), log))


# The program ---------------------------------------------------------------------------------------------------------


def serve(listener: socket.socket) -> Order:
    """Fork for each order, and tell whoever gave it how that ended. It returns in what was forked: what to run."""
    children: dict[int, socket.socket] = {}
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not listener:
                    os.read(woken, _LONGEST)
                    _tell(children)
                    continue
                connection, _ = listener.accept()
                order = msgspec.json.decode(_read(connection), type=Order)
                if pid := os.fork():
                    children[pid] = connection
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (woken, wakes, listener.detach(), *(child.detach() for child in children.values())):
                    os.close(each)
                _become(order, connection)
                return order


def _read(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(_LONGEST):
        parts.append(part)
    return b"".join(parts)


def _tell(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as connection:
            try:
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            except OSError:
                continue  # nobody waits for it any more


def _become(order: Order, connection: socket.socket) -> None:
    """A session of its own with its own output, that dies with its parent."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    output = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)
    os.environ.update(order.environment)
    connection.sendall(_BEGAN + f" {os.getpid()}\n".encode())
    connection.close()


def main() -> None:
    """Load the modules, take orders; in a forked process, run what was ordered."""
    place, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # What is shared stays shared.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(128)
    os.write(sys.stdout.fileno(), b"ready\n")
    order = serve(listener)
    sys.argv[1:] = order.arguments
    sys.modules.pop(order.module, None)  # It runs as __main__, apart from what others import of it.
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
