"""Twinlock's own services as processes: each can be started, stopped, killed and started again on the same data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from twinlock.seams import SystemEntropy
from twinlock.server.keyfile import KEY_FILE, Cost, ensure_signing_key
from twinlock.simnet.node import Node
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Process, ProcessError, Processes

PLAY = Cost(passes=1, memory_kib=8)
"""The key of a private exchange guards play money: no start need wait for a password's cost."""

TWINLOCK = (sys.executable, "-m", "twinlock.cli.main")


class Service:
    """A process that listens on `port`; the port and the data stay the same over restarts."""

    def __init__(self, name: str, arguments: Callable[[int], Sequence[str]], processes: Processes) -> None:
        self.name = name
        self.port = free_ports(1)[0]
        self.process: Process | None = None
        self._arguments = arguments
        self._processes = processes

    async def start(self) -> None:
        """Start it and wait until it accepts connections. Raises ProcessError."""
        self.process = await self._processes.start(self.name, [*TWINLOCK, *self._arguments(self.port)])
        await self.process.listening(self.port)

    async def stop(self) -> None:
        """End it in good order."""
        await self._now().stop()

    async def kill(self) -> None:
        """kill -9."""
        await self._now().kill()

    def _now(self) -> Process:
        if self.process is None:
            raise ProcessError(f"{self.name} was never started", fault="twinlock")
        return self.process


def indexer(node: Node, folder: Path, processes: Processes, protocol: str = "tcp") -> Service:
    """The Electrum server of one node. protocol: tcp or ssl."""

    def arguments(port: int) -> Sequence[str]:
        return (
            *("indexer", "run", "--coin", node.symbol, "--network", "regtest", "--daemon-url", node.url),
            *("--data-dir", str(folder), "--listen", f"{protocol}://127.0.0.1:{port}"),
        )

    return Service(f"indexer-{node.symbol}", arguments, processes)


def server(folder: Path, settings: Callable[[], dict[str, Any]], processes: Processes) -> Service:
    """The exchange server. `settings` gives its configuration file's content but for the address to listen on."""

    def arguments(port: int) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        content = settings()
        content["server"]["listen"] = f"127.0.0.1:{port}"
        ensure_signing_key(Path(content["server"]["data_dir"], KEY_FILE), "", SystemEntropy(), PLAY)
        file = folder / "server.toml"
        file.write_text(tomlkit.dumps(content))
        return ("server", "run", "--config", str(file))

    return Service("server", arguments, processes)


def tower(folder: Path, settings: Callable[[], dict[str, Any]], processes: Processes) -> Service:
    """A watchtower. `settings` gives its configuration file's content but for the folder and the address."""

    def arguments(port: int) -> Sequence[str]:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "tower.toml"
        file.write_text(tomlkit.dumps({"data_dir": str(folder), "listen": f"127.0.0.1:{port}"} | settings()))
        return ("tower", "--config", str(file), "--json", "run")

    return Service("tower", arguments, processes)
