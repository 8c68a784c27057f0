"""One exchange, one process: the claim on its data folder, and a restart that keeps every listening socket open.

A restart replaces the program inside the same process (`exec`). The listening sockets stay open all the while, so that
nobody who connects meanwhile is refused: the kernel keeps them waiting until the new program accepts. Connections that
are open are closed with "going away", because their TLS state dies with the old program; clients come back by
themselves, and the new program takes up every epoch, match and timeout from the database.

Sockets are passed as systemd passes them (``LISTEN_PID``, ``LISTEN_FDS``, ``LISTEN_FDNAMES``, descriptors from 3 on),
so a socket unit may open the ports too. Names are those of the settings: listen, onion_listen, admin_listen.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from twinlock.errors import Fault
from twinlock.server.errors import ServerError

PID_FILE = "server.pid"
_FIRST = 3
_ASIDE = 100
_COLLECT_AFTER = 50_000
"""New values, less those that went, after which the youngest are looked through for circles; a few megabytes."""
_TURN_S = 0.0005


class ClaimError(ServerError):
    """Another exchange works on this data folder."""

    code = "server.claim"
    fault: Fault = "user"


class State(msgspec.Struct, frozen=True):
    """What the claim tells. start: ms; open: it accepts connections; ports: by setting."""

    pid: int
    start: int
    open: bool = False
    ports: dict[str, int] = {}


class Claim:
    """Held while a server runs; `tell` lets others see how far it is."""

    def __init__(self, file: int) -> None:
        self._file = file

    def tell(self, state: State) -> None:
        """Replace what others read."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, msgspec.json.encode(state), 0)


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Hold the data folder for this process. Raises ClaimError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(folder / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            state = _read(folder)
            holder = f"process {state.pid}" if state else "another process"
            raise ClaimError(
                f"{holder} runs an exchange on {folder}", fix="stop it first, or restart it with `server restart`"
            ) from None
        yield Claim(file)
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def settled() -> None:
    """Set the interpreter up for serving, once everything is loaded.

    What is in memory now stays there, so the garbage collector walks only what comes later: else each full collection
    stops every client for as long as it takes to look at all modules and all loaded orders. It looks less often than
    usual: an order leaves a hundred values behind that live on, and hardly any circle of dead ones.

    The threads that store and sign wait a tenth of the usual time for a busy loop: they need the interpreter for
    moments, but often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 100)
    sys.setswitchinterval(_TURN_S)


def descriptors() -> int:
    """How many files this process may open at once."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def running(folder: Path) -> State | None:
    """The server that holds a data folder, or None."""
    try:
        file = os.open(folder / PID_FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(folder)
    finally:
        os.close(file)
    return None


def _read(folder: Path) -> State | None:
    try:
        return msgspec.json.decode((folder / PID_FILE).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


def inherited(environment: MutableMapping[str, str], pid: int) -> dict[str, list[socket.socket]]:
    """The listening sockets that this process was started with, by name; they are told of once."""
    meant_for = environment.pop("LISTEN_PID", "")
    count, names = environment.pop("LISTEN_FDS", "0"), environment.pop("LISTEN_FDNAMES", "")
    if meant_for != str(pid) or not count.isdigit():
        return {}
    found: defaultdict[str, list[socket.socket]] = defaultdict(list)
    for number, name in zip(range(_FIRST, _FIRST + int(count)), names.split(":"), strict=False):
        os.set_inheritable(number, False)
        found[name].append(socket.socket(fileno=number))
    return dict(found)


def become(sockets: Sequence[tuple[str, int]], command: Sequence[str]) -> None:
    """Replace this program by `command`, which gets the listening sockets (name, descriptor). Does not return."""
    aside = [(name, fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _ASIDE)) for name, number in sockets]
    for place, (_, number) in enumerate(aside, _FIRST):
        os.dup2(number, place, inheritable=True)
    os.environ |= {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(aside)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in aside),
    }
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], list(command))  # noqa: S606 - this very program
