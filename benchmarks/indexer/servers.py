"""The programs that are measured: a node with the chain, our indexer on it, and ElectrumX beside it."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import httpx
from benchmarks.indexer.machine import cpu_seconds, peak_mib, size_mb
from benchmarks.indexer.wire import ask

from twinlock.simnet import programs
from twinlock.simnet.ports import free_ports

PINS = Path(__file__).parent / "electrumx.txt"


def begin(command: Sequence[str | Path], environ: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program that says nothing."""
    none = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **(environ or {})}, stdin=none, stdout=none, stderr=none)


class Node:
    """A node on a private chain."""

    def __init__(self, folder: Path, program: str = "bitcoind") -> None:
        self.folder = folder
        self._program = program
        self.port, self._publisher = free_ports(2)
        self.url = f"http://u:p@127.0.0.1:{self.port}"

    async def start(self) -> None:
        program = await asyncio.to_thread(programs.need, self._program, click.echo)
        self.folder.mkdir(exist_ok=True)
        settings = ("-regtest", "-listen=0", "-rest=1", "-txindex=1", "-disablewallet", "-acceptnonstdtxn=1")
        quick = (
            "-datacarriersize=1000000",
            "-maxtipage=9999999999",
            "-checkblockindex=0",
            "-rpcuser=u",
            "-rpcpassword=p",
            f"-rpcport={self.port}",
        )
        places = (f"-datadir={self.folder}", f"-zmqpubsequence=tcp://127.0.0.1:{self._publisher}")
        self.process = begin([program, *settings, *quick, *places])
        self._http = httpx.AsyncClient(timeout=300, trust_env=False)
        while True:
            try:
                await self.rpc("getblockcount")
                return
            except (httpx.HTTPError, RuntimeError):
                await asyncio.sleep(0.1)

    async def rpc(self, method: str, *params: Any) -> Any:
        reply = await self._http.post(
            f"http://127.0.0.1:{self.port}/", json={"id": 0, "method": method, "params": params}, auth=("u", "p")
        )
        answer = reply.json()
        if answer["error"]:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def give(self, blocks: Iterable[bytes]) -> None:
        """Submit blocks."""
        for block in blocks:
            if (refused := await self.rpc("submitblock", block.hex())) is not None:
                raise RuntimeError(refused)

    def warm(self) -> None:
        """Read the block files, so that what is measured finds them in memory: a system may have let go of them."""
        for file in sorted(self.folder.glob("regtest/blocks/blk*.dat")):
            with file.open("rb") as blocks:
                while blocks.read(1 << 20):
                    pass

    async def version(self) -> str:
        return str((await self.rpc("getnetworkinfo"))["subversion"])

    async def delivery(self, blocks: int) -> float:
        """Seconds in which one connection gets all blocks by REST: no indexer that asks the node can be quicker."""
        hashes = [await self.rpc("getblockhash", height) for height in range(blocks + 1)]

        def fetch() -> float:
            connection, began = http.client.HTTPConnection("127.0.0.1", self.port), time.perf_counter()
            for block_hash in hashes:
                connection.request("GET", f"/rest/block/{block_hash}.bin")
                connection.getresponse().read()
            return time.perf_counter() - began

        return round(await asyncio.to_thread(fetch), 2)

    async def stop(self) -> None:
        await self._http.aclose()
        end(self.process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a program finish."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """A server that was started; `pid` is its process."""

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path, port: int, environ: dict[str, str]
    ) -> None:
        self.name, self.port, self._folder = name, port, folder
        self._command, self._environ = command, environ

    async def sync(self, height: int) -> dict[str, Any]:
        """Start it and wait until it serves that height: what this took."""
        self._folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        self._process = begin(self._command, self._environ)
        self.pid = self._process.pid
        while (await self._height()) != height:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self._process.returncode}")
            await asyncio.sleep(0.05)
        wall = time.perf_counter() - began
        row = {
            "seconds": round(wall, 2),
            "cpu_seconds": round(cpu_seconds(self.pid), 2),
            "peak_mib": peak_mib(self.pid),
            "disk_mb": size_mb(self._folder),
        }
        click.echo(f"{self.name:28} {row}", err=True)
        return row

    async def _height(self) -> int:
        try:
            (tip,) = await ask(self.port, [("blockchain.headers.subscribe", [])])
        except OSError:
            return -1
        return int(tip["height"])

    def stop(self) -> None:
        end(self._process)


def twinlock(node: Node, folder: Path, coin: str = "btc", **settings: str) -> Server:
    """Our indexer; `settings` go into its environment."""
    (port,) = free_ports(1)
    run = (
        "-m",
        "twinlock.cli.main",
        "indexer",
        "run",
        "--coin",
        coin,
        "--network",
        "regtest",
        "--daemon-url",
        node.url,
    )
    doors = ("--data-dir", folder, "--listen", f"tcp://127.0.0.1:{port}")
    # Long histories are asked for and nothing is held back: both servers do all of the work.
    environ = {"MAX_SEND": "100000000", "COST_SOFT_LIMIT": "0", "COST_HARD_LIMIT": "0", **settings}
    return Server("twinlock", (sys.executable, *run, *doors), folder, port, environ)


def electrumx(node: Node, folder: Path) -> Server:
    """ElectrumX, in an environment of its own that is made when it is missing."""
    (port,) = free_ports(1)
    environ = {
        "COIN": "Bitcoin",
        "NET": "regtest",
        "DAEMON_URL": f"{node.url}/",
        "DB_DIRECTORY": str(folder),
        "DB_ENGINE": "leveldb",
        "SERVICES": f"tcp://127.0.0.1:{port}",
        "PEER_DISCOVERY": "off",
        "PEER_ANNOUNCE": "",
        "ALLOW_ROOT": "1",
        "COST_SOFT_LIMIT": "0",
        "COST_HARD_LIMIT": "0",
        "MAX_SEND": "100000000",
        "INITIAL_CONCURRENT": "1000",
        "REQUEST_TIMEOUT": "120",
        "REORG_LIMIT": "200",
        "EVENT_LOOP_POLICY": "uvloop",
    }
    return Server("electrumx", (_environment() / "bin" / "electrumx_server",), folder, port, environ)


def _environment() -> Path:
    """The peer's own environment, by the content of its pins."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "twinlock" / "benchmarks"
    made = cache / f"electrumx-{sha256(PINS.read_bytes()).hexdigest()[:12]}"
    if not (made / "bin" / "electrumx_server").exists():
        click.echo(f"installing ElectrumX into {made}", err=True)
        subprocess.run([sys.executable, "-m", "venv", made], check=True)
        pip = (
            made / "bin" / "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            PINS,
        )
        subprocess.run(pip, check=True)
    return made
