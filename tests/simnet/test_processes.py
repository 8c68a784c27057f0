"""Processes are watched, stopped in order, and never left behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Process, ProcessError, Processes

pytestmark = pytest.mark.anyio

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


def alive(pid: int) -> bool:
    """Whether a process with this ID runs; a zombie that nobody has waited for counts as ended."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def has_become(pid: int, command: list[str]) -> None:
    """Wait until a process that was started through another program runs its own."""
    wanted, told = "\0".join([*command, ""]), Path(f"/proc/{pid}/cmdline")
    async with asyncio.timeout(60):
        while told.read_text() != wanted:  # noqa: ASYNC110, ASYNC240 - as below; and no disk is read
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while alive(pid):  # noqa: ASYNC110 - processes of others tell nobody that they end
            await asyncio.sleep(0.01)


async def test_the_newest_process_stops_first(tmp_path: Path) -> None:
    stopped: list[tuple[str, int]] = []

    def said(process: Process, status: int) -> None:
        stopped.append((process.name, status))

    async with Processes(tmp_path) as processes:
        for name in ("node", "indexer", "server"):
            await processes.start(name, SLEEPER)
        assert [process.name for process in processes.running()] == ["node", "indexer", "server"]
        await processes.stop(said)
        assert processes.running() == []
    assert stopped == [("server", -signal.SIGTERM), ("indexer", -signal.SIGTERM), ("node", -signal.SIGTERM)]


async def test_leaving_the_block_by_an_error_stops_everything(tmp_path: Path) -> None:
    started: list[Process] = []
    with pytest.raises(RuntimeError, match="story over"):
        async with Processes(tmp_path) as processes:
            started.append(await processes.start("one", SLEEPER))
            raise RuntimeError("story over")
    assert not started[0].running
    await gone(started[0].pid)


async def test_kill_reaches_the_children_too(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        parent = await processes.start("parent", ["sh", "-c", "sleep 1000 & echo $!; wait"])

        async def said_its_child() -> bool:
            return parent.tail().strip().isdigit()

        await parent.until(said_its_child, 10, "child")
        child = int(parent.tail())
        assert alive(child)
        assert await parent.kill() == -signal.SIGKILL
        await gone(child)


async def test_kill_9_of_the_starter_leaves_no_orphan(tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib
from twinlock.simnet.processes import Processes
async def main():
    async with Processes(pathlib.Path({str(tmp_path)!r})) as processes:
        child = await processes.start("orphan", {SLEEPER!r})
        print(child.pid, flush=True)
        await child.wait()
asyncio.run(main())
"""
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert starter.stdout is not None
    orphan = int(await starter.stdout.readline())
    await has_become(orphan, SLEEPER)  # until then nobody has told the system what to do when the starter dies
    starter.kill()
    await starter.wait()
    await gone(orphan)


async def test_a_process_that_ends_too_soon_tells_its_last_words(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        process = await processes.start("brief", ["sh", "-c", "echo no such chain; exit 3"])
        with pytest.raises(ProcessError, match=r"brief ended with status 3 before listener.*: no such chain"):
            await process.listening(free_ports(1)[0])


async def test_waiting_for_a_listener_ends_when_it_accepts(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    async with Processes(tmp_path) as processes:
        server = await processes.start("web", [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)])
        await server.listening(port)
        assert server.running


async def test_waiting_does_not_last_for_ever(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        process = await processes.start("mute", SLEEPER)
        with pytest.raises(ProcessError, match="mute: no listener"):
            await process.listening(free_ports(1)[0], seconds=0.1)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(50))) == 50
