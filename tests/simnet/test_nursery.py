"""Programs out of a nursery: arguments, output, exit status, signals and the death of others are as for any process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from twinlock.simnet.nursery import Nursery, Reared
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import ProcessError, Processes

pytestmark = pytest.mark.anyio

PYTHON = (sys.executable, "-m")


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with Nursery(["json.tool", "http.server"]) as nursery:
        yield nursery


@pytest.fixture
async def processes(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Processes]:
    async with Reared(tmp_path / "logs", nursery) as processes:
        yield processes


async def test_a_module_runs_with_its_arguments_and_ends_with_its_status(processes: Processes, tmp_path: Path) -> None:
    good, bad, written = tmp_path / "good", tmp_path / "bad", tmp_path / "written"
    good.write_text('{"a":1}')
    bad.write_text("{")
    formatted = await processes.start("format", [*PYTHON, "json.tool", "--compact", good, written])
    assert await formatted.wait() == 0
    assert written.read_text().strip() == '{"a":1}'
    refused = await processes.start("refuse", [*PYTHON, "json.tool", bad])
    assert await refused.wait() == 1
    assert "Expecting property name" in refused.tail()
    assert not refused.running
    assert refused.pid != formatted.pid != os.getpid()


async def test_each_has_its_own_environment_and_one_log_for_all_its_lives(tmp_path: Path) -> None:
    (tmp_path / "teller.py").write_text("import os\nprint(os.environ.get('WORD', 'none'))\n")
    command = [*PYTHON, "teller"]
    path = {"PYTHONPATH": str(tmp_path)}
    async with Nursery([], [tmp_path]) as other, Reared(tmp_path / "others", other) as reared:
        for word in ({"WORD": "first"}, {}):
            process = await reared.start("teller", command, path | word)
            assert await process.wait() == 0
    assert process.log.read_text().split() == ["first", "none"]


async def test_signals_end_it_like_any_other_process(processes: Processes) -> None:
    ends = {}
    for name in ("stopped", "killed"):
        (port,) = free_ports(1)
        process = await processes.start(name, [*PYTHON, "http.server", "--bind", "127.0.0.1", str(port)])
        await process.listening(port)
        assert processes.running() == [process]
        assert os.getsid(process.pid) == process.pid
        ends[name] = await (process.stop() if name == "stopped" else process.kill())
    assert ends == {"stopped": -signal.SIGTERM, "killed": -signal.SIGKILL}
    assert processes.running() == []


async def test_what_is_no_python_module_is_started_as_ever(processes: Processes) -> None:
    echo = await processes.start("echo", ["echo", "hello"])
    assert await echo.wait() == 0
    assert echo.tail() == "hello"


async def test_the_end_of_a_nursery_is_the_end_of_all_that_came_from_it(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with Nursery(["http.server"]) as nursery:
        processes = Reared(tmp_path / "logs", nursery)
        process = await processes.start("server", [*PYTHON, "http.server", "--bind", "127.0.0.1", str(port)])
        await process.listening(port)
    assert await process.wait() == -signal.SIGKILL


async def test_what_cannot_begin_is_told(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "logs" / "blocked.log").mkdir(parents=True)
    with pytest.raises(ProcessError, match="could not start it"):
        await processes.start("blocked", [*PYTHON, "json.tool"])
    assert processes.running() == []


async def test_a_module_that_does_not_load_is_told(tmp_path: Path) -> None:
    async with Nursery(["no.such.module"]) as nursery:
        with pytest.raises(ProcessError, match="the nursery ended with status 1"):
            await Reared(tmp_path / "logs", nursery).start("any", [*PYTHON, "json.tool"])
