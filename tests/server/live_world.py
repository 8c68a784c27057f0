"""A server process of its own, started by the command, on indexers that serve simulated chains over TCP."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import tomlkit
from click.testing import CliRunner

from twinlock.chain import address
from twinlock.chain.coins import Coin
from twinlock.chain.families import family_of
from twinlock.chain.keys import PrivateKey
from twinlock.chain.spend import Input, key_input
from twinlock.chain.terms import CoinPoint
from twinlock.cli.main import main
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.transport import StreamTransport
from twinlock.server.process import State, running

SOURCES = Path(__file__).parents[2] / "src"
PATIENCE_S = 60.0


class PaidChain(SimulatedChain):
    """A simulated chain that traders take money from."""

    def address(self, key: PrivateKey) -> str:
        """The key's P2WPKH address."""
        return family_of(self.coin).address_of(key.public)

    def script(self, key: PrivateKey) -> bytes:
        """The key's P2WPKH output script."""
        return address.address_to_script(self.coin, self.address(key))

    def fund(self, key: PrivateKey, value: int) -> Input:
        """A confirmed coin for that key."""
        txid = self.pay(self.script(key), value)
        self.mine()
        outputs = self.tx(txid).outputs
        index = next(number for number, out in enumerate(outputs) if out.value == value)
        return key_input(CoinPoint(self.tx(txid).hash, index), value, self.script(key), key)


class Indexer:
    """One Electrum server on a loopback port."""

    def __init__(self, chain: SimulatedChain) -> None:
        self.chain = chain
        self.server = SimulatedServer(chain)
        self.port = 0
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and end those that are open."""
        if self._listener is not None:
            self._listener.close()
        await self.server.hang_up()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            await self.server.attach(StreamTransport(reader, writer))


@asynccontextmanager
async def indexers(*rows: Coin) -> AsyncIterator[list[Indexer]]:
    """An indexer for each coin, on chains of a hundred blocks and some."""
    started = []
    for row in rows:
        chain = PaidChain(row)
        chain.mine(120)
        indexer = Indexer(chain)
        await indexer.start()
        started.append(indexer)
    try:
        yield started
    finally:
        for indexer in started:
            await indexer.stop()


def environment() -> dict[str, str]:
    """Ours, with this checkout's sources first."""
    return {**os.environ, "PYTHONPATH": str(SOURCES), "COLUMNS": "200"}


async def command(*arguments: str | Path, given: str = "") -> tuple[int, str, str]:
    """Run `twinlock server ...` to its end, beside everything else: (exit code, output, errors)."""
    words = ["server", *map(str, arguments)]
    result = await asyncio.to_thread(CliRunner(env={"COLUMNS": "200"}).invoke, main, words, given)
    return result.exit_code, result.stdout, result.stderr


class LiveServer:
    """`twinlock server run` as a process; its log is kept in `log`. files: how many it may open, 0: as many as we."""

    def __init__(self, config: Path, files: int = 0) -> None:
        self.config = config
        self._files = files
        self.data = config.parent / "data"
        self.log = config.parent / "server.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> State:
        """Start it, and wait until it is open."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "twinlock.cli.main", "server", "run"),
                *("--config", str(self.config), "--log-level", "debug"),
                stdout=log,
                stderr=log,
                env=environment(),
                preexec_fn=self._limit if self._files else None,
            )
        return await self.open_after(0)

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._files, self._files))

    async def open_after(self, start_ms: int) -> State:
        """Wait until it is open, having started after that moment."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process is not None
                assert self.process.returncode is None, self.log.read_text()
                state = running(self.data)
                if state is not None and state.open and state.start > start_ms:
                    return state
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """Ask it to stop; its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


async def set_up(folder: Path, chains: list[Indexer], *more: str) -> Path:
    """An exchange as `init` makes it, on ports of the system's choice."""
    path = folder / "server.toml"
    electrum = [f"--electrum={indexer.chain.coin.symbol}={indexer.url}" for indexer in chains]
    code, out, err = await command("init", path, "--yes", "--listen=127.0.0.1:0", *electrum, *more)
    assert code == 0, err
    assert "signing.key.json" in out
    document: Any = tomlkit.parse(path.read_text())
    document["server"]["admin_listen"] = "127.0.0.1:0"
    document["server"]["broadcast_timeout_ms"] = 600_000  # on a slow machine a restart is no long absence either
    document["markets"][0]["epoch_ms"] = 500
    path.write_text(tomlkit.dumps(document))
    return path


async def admin(server: LiveServer, *arguments: str) -> Any:
    """The answer of `server admin --json ...`."""
    code, out, err = await command("admin", "--config", server.config, "--json", *arguments)
    assert code == 0, err
    return json.loads(out)
