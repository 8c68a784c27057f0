"""`twinlock indexer`: the how-to's commands, as they stand there, on a real node; and the doctor's eyes."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.indexer import auxpow

from twinlock.chain.coins import Coin, coin
from twinlock.cli.indexer import _Bar, indexer
from twinlock.indexer.certificate import make_certificate
from twinlock.indexer.daemon import Daemon
from twinlock.indexer.doctor import Finding, examine
from twinlock.indexer.env import Env, Service
from twinlock.indexer.lock import DirectoryLock
from twinlock.indexer.progress import DONE, READING, SORTING, Progress
from twinlock.seams import VirtualClock
from twinlock.simnet.node import Node
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Processes
from twinlock.simnet.simulated_node import SimulatedNode

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "serve-electrum-wallets.md"
TWINLOCK = f"{sys.executable} -m twinlock.cli.main"
EXPECTED = {
    "config show": 'coin = "btc"    # ',
    "doctor": "ok  node version",
    "systemd": "",
    "rpc getinfo": '"daemon_calls_us"',
    "rpc sessions": "[]",
    "rpc groups": "[]",
    "rpc peers": "[]",
    "rpc add_peer": "will be looked at",
    "rpc ban": "*.evil.example",
    "rpc listbanned": "198.51.100.0/24",
    "rpc unban": "198.51.100.0/24",
    "rpc log": "[]",
    "rpc daemon_url": "127.0.0.1:",
    "rpc query": '"history_size": 0',
    "rpc reorg": "undid 2 blocks",
    "rpc stop": "stopping",
    "check": "the index is what the node's chain says",
    "compact": "pieces",
    "snapshot export": "Bitcoin regtest to height",
    "snapshot import": "goes on from there",
}
"""What each command of the page says, among other things."""


class Reader:
    """Does what the page says, in its order."""

    def __init__(self, folder: Path, rpc_port: int) -> None:
        self._folder, self._rpc = folder, f"--rpc rpc://127.0.0.1:{rpc_port} "
        self._server: asyncio.subprocess.Process | None = None
        self.done: set[str] = set()

    async def do(self, line: str) -> None:
        command = line.removeprefix("twinlock indexer ")
        if command.startswith("run "):
            await self._run(command)
            return
        text = command.replace("rpc ", f"rpc {self._rpc}", 1) if command.startswith("rpc ") else command
        process = await self._start(text)
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, f"{line}: {output.decode()}"
        name = max((name for name in EXPECTED if command.startswith(name)), key=len)
        assert EXPECTED[name] in output.decode(), f"{line}: {output.decode()}"
        self.done.add(name)
        if name == "rpc stop" and self._server:
            assert await asyncio.wait_for(self._server.wait(), 30) == 0

    async def _start(self, command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_shell(
            f"exec {TWINLOCK} indexer {command}",
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "HOME": str(self._folder)},
        )

    async def _run(self, command: str) -> None:
        self._server = await self._start(command)
        assert self._server.stdout
        async with asyncio.timeout(60):
            while b'"ready"' not in (line := await self._server.stdout.readline()):
                assert line, "the server ended"

    def kill(self) -> None:
        if self._server and self._server.returncode is None:
            self._server.kill()


@pytest.mark.anyio
@pytest.mark.node
async def test_every_command_of_the_page_does_what_the_page_says(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    program("bitcoind")
    page = HOW_TO.read_text()
    settings = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    lines = [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    tcp, ssl, rpc, http = free_ports(4)
    for old, new in (
        ("mainnet", "regtest"),
        ("/var/lib/twinlock/btc", str(tmp_path / "index")),
        ("0.0.0.0:50001", f"127.0.0.1:{tcp}"),
        ("0.0.0.0:50002", f"127.0.0.1:{ssl}"),
        ("127.0.0.1:8000", f"127.0.0.1:{rpc}"),
        ("127.0.0.1:8001", f"127.0.0.1:{http}"),
    ):
        assert old in settings
        settings = settings.replace(old, new)
    async with Processes(tmp_path / "logs") as processes:
        node = Node("btc", tmp_path / "node", processes)
        await node.start()
        (tmp_path / "indexer.toml").write_text(f'{settings}daemon_url = "{node.url}"\n')
        reader = Reader(tmp_path, rpc)
        try:
            for line in lines:
                assert line.startswith("twinlock indexer ")
                await reader.do(line)
        finally:
            reader.kill()
    assert reader.done == EXPECTED.keys()
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(tmp_path / "twinlock-indexer.service")
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["ExecStart"].endswith(f"indexer run --config {tmp_path / 'indexer.toml'}")
    assert int(unit["Service"]["LimitNOFILE"]) > 1000


def test_what_is_shown_of_the_settings_can_be_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "indexer.toml"
    file.write_text('coin = "ltc"\nuse_block_files = false\nservices = ["tcp://127.0.0.1:1"]\nmemory = "400M"\n')
    shown = CliRunner().invoke(indexer, ["config", "show", "--origin", "--config", str(file)])
    assert shown.exit_code == 0, shown.output
    values = tomllib.loads(shown.output)
    assert (values["coin"], values["use_block_files"], values["memory"]) == ("ltc", False, 400 << 20)
    assert values["services"] == ["tcp://127.0.0.1:1"]
    assert f'coin = "ltc"    # {file}' in shown.output
    assert "# ssl_key =    # default" in shown.output


def test_what_is_not_there_cannot_be_compacted(tmp_path: Path) -> None:
    told = CliRunner().invoke(indexer, ["compact", "--network", "regtest", "--data-dir", str(tmp_path / "none")])
    assert (told.exit_code, "holds no index" in told.output) == (1, True)


# -- the doctor


async def look(env: Env, row: Coin, daemon: Daemon, clock: VirtualClock | None = None) -> dict[str, Finding]:
    try:
        found = await examine(env, row, daemon, clock or VirtualClock(1_800_000_000_000))
        assert all(finding.fix for finding in found if not finding.well)
        return {finding.name: finding for finding in found}
    finally:
        daemon.close()


def doge_env(folder: Path, *services: Service) -> Env:
    return Env(coin="doge", network="regtest", data_dir=folder / "index", services=services)


@pytest.mark.anyio
async def test_the_doctor_finds_everything_well(tmp_path: Path) -> None:
    tcp, ssl = free_ports(2)
    env = doge_env(tmp_path, Service("tcp", "127.0.0.1", tcp), Service("ssl", "127.0.0.1", ssl))
    async with SimulatedNode([b.raw for b in auxpow.chain(5, b"\x51")], auxpow=True) as node:
        found = await look(env, coin("doge", "regtest"), Daemon(node.url))
    assert [finding.name for finding in found.values() if not finding.well] == []
    assert {"node", "node version", "pruning", "block files", "disk space", "clock", "certificate"} <= found.keys()
    assert {"file descriptors", f"port {tcp}", "kernels", "index", "chain", "node synced"} <= found.keys()


@pytest.mark.anyio
async def test_the_doctor_knows_a_server_that_is_running(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    env = doge_env(tmp_path, Service("tcp", "127.0.0.1", port))
    lock = DirectoryLock(env.data_dir)
    async with SimulatedNode([b.raw for b in auxpow.chain(5, b"\x51")], auxpow=True) as node:
        found = await look(env, coin("doge", "regtest"), Daemon(node.url))
        assert found["server"].seen == "is running"
        assert f"port {port}" not in found, "its own doors are open, of course"
        lock.release()
        found = await look(env, coin("doge", "regtest"), Daemon(node.url))
        assert not found[f"port {port}"].well
    taken.close()


@pytest.mark.anyio
async def test_the_doctor_sees_what_is_wrong_with_the_node(tmp_path: Path) -> None:
    row = coin("doge", "regtest")
    env = doge_env(tmp_path)
    (port,) = free_ports(1)
    gone = await look(env, row, Daemon(f"http://u:p@127.0.0.1:{port}"))
    assert gone["node"].fix == "start the node"
    assert "give --listen" in gone["ports"].fix
    async with SimulatedNode([b.raw for b in auxpow.chain(5, b"\x51")], auxpow=True) as node:
        wrong = await look(env, row, Daemon(f"http://u:wrong@127.0.0.1:{node.port}"))
        assert "check the daemon URL" in wrong["node"].fix
        other = await look(env, replace(row, genesis_hash="00" * 32), Daemon(node.url))
        assert not other["chain"].well
        node._commands["getnetworkinfo"] = lambda: {"version": 1_100_000}
        node._commands["getblockchaininfo"] = lambda: {
            "blocks": 4,
            "headers": 90,
            "pruned": True,
            "pruneheight": 3,
            "size_on_disk": 10**20,
        }
        node._commands["getchaintxstats"] = lambda: {"txcount": 10**15}
        ill = await look(env, row, Daemon(node.url), VirtualClock(1_000_000_000_000))
        not_well = {finding.name for finding in ill.values() if not finding.well}
        assert not_well == {"node version", "node synced", "pruning", "disk space", "clock", "ports"}


@pytest.mark.anyio
async def test_the_doctor_sees_what_is_wrong_with_this_machine(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    env = doge_env(tmp_path, Service("ssl", "127.0.0.1", port))
    env.data_dir.mkdir()
    clock = VirtualClock()
    make_certificate(env.data_dir / "certificate.pem", env.data_dir / "certificate.key", clock)
    (env.data_dir / "manifest").write_text("00000000\nnonsense")
    await clock.advance(20 * 365 * 86_400)
    found = await look(env, coin("doge", "regtest"), Daemon("http://127.0.0.1:1"), clock)
    not_well = {finding.name for finding in found.values() if not finding.well}
    assert not_well == {"node", f"port {port}", "certificate", "index"}
    taken.close()


def test_findings_can_be_read_by_programs(tmp_path: Path) -> None:
    finding = Finding("node", False, "gone", "start it")
    assert json.loads(json.dumps(finding._asdict())) == {
        "name": "node",
        "well": False,
        "seen": "gone",
        "fix": "start it",
    }


def test_a_person_sees_a_bar_until_the_sync_is_done() -> None:
    with _Bar() as show:
        progress = Progress(100)
        show(progress)
        progress.begin(0, 4)
        for phase in (READING, SORTING, DONE):
            progress.read(25)
            progress.phase = phase
            show(progress)
        assert progress.text().startswith("done: block 3 of 4")
