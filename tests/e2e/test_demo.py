"""The demo as its users run it: one command, one settled swap, and no process left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from twinlock.simnet.clients import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

DEMO = (sys.executable, "-m", "twinlock.cli.main", "demo", "--json")


async def start(*options: str, **environment: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *DEMO, *options, stdout=pipe, stderr=pipe, env={**os.environ, **environment}
    )


async def read_until(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    assert process.stdout is not None
    async for line in process.stdout:
        row: dict[str, Any] = json.loads(line)
        if row["event"] == event:
            return row
    raise AssertionError(f"the demo ended without the event {event}")


def left_behind(folder: Path) -> list[str]:
    """Command lines of running processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


async def nothing_left(folder: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while left_behind(folder):  # noqa: ASYNC110 - processes of others tell nobody that they end
            await asyncio.sleep(0.05)


async def test_one_command_settles_a_swap_to_the_atom_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = await start("--once", "--data-dir", str(folder))
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    rows = [json.loads(line) for line in out.splitlines()]
    summary = rows[-1]
    assert summary["event"] == "summary"
    assert summary["swaps"] == 1
    assert summary["seconds"] > 0

    wallets = summary["wallets"]
    assert sorted(wallets) == ["alice", "bob"]
    assert [sorted(wallets[name]) for name in wallets] == [["btc", "ltc"], ["btc", "ltc"]]
    for coin in ("btc", "ltc"):
        columns = [wallets[name][coin] for name in ("alice", "bob")]
        assert all(each["after"] == each["before"] + each["traded"] - each["fees"] for each in columns)
        assert all(0 < each["fees"] < 10_000 for each in columns)
        assert sum(each["traded"] for each in columns) == 0
        assert all(each["traded"] for each in columns)

    transactions = {row["what"]: row["coin"] for row in rows if row["event"] == "transaction"}
    assert sorted(transactions) == ["maker_contract", "maker_redemption", "taker_contract", "taker_redemption"]
    assert len(set(transactions.values())) == 4
    stopped = [row["who"] for row in rows if row["event"] == "stopped"]
    assert stopped[0] == "server"
    assert sorted(stopped) == ["indexer-btc", "indexer-ltc", "node-btc", "node-ltc", "server"]
    assert all(row["status"] == 0 for row in rows if row["event"] == "stopped")
    assert not folder.exists(), "without --keep nothing stays on disk"
    assert left_behind(folder) == []


async def test_it_stays_up_with_market_makers_until_ctrl_c(tmp_path: Path) -> None:
    """Here the coins stand the other way round."""
    folder = tmp_path / "demo"
    process = await start("--data-dir", str(folder), "--keep", "--coins", "btc_ltc")
    await read_until(process, "market")
    async with asyncio.timeout(PATIENCE):
        while (await read_until(process, "swap_ended"))["who"] not in ("carol", "dave"):
            continue
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    *_, summary = (json.loads(line) for line in out.splitlines())
    assert summary["event"] == "summary"
    assert summary["swaps"] >= 1
    assert left_behind(folder) == []
    logs = {path.name for path in (folder / "logs").iterdir()}
    assert {"demo.log", "server.log", "node-btc.log", "indexer-ltc.log"} <= logs, "--keep leaves the data"


async def test_ctrl_c_before_the_first_swap_is_no_success(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = await start("--data-dir", str(folder))
    await read_until(process, "node")
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    assert left_behind(folder) == []


async def test_kill_9_of_the_demo_takes_every_process_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = await start("--data-dir", str(folder))
    await read_until(process, "funded")
    assert len(left_behind(folder)) > 4
    process.kill()
    await process.wait()
    await nothing_left(folder)


async def test_without_nodes_it_says_why_and_what_to_do(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    process = await start("--once", PATH=str(nothing), TWINLOCK_PROGRAMS=str(nothing), TMPDIR=str(tmp_path))
    _, err = await process.communicate()
    assert process.returncode == 1
    assert "simnet.program" in err.decode()
    assert "PATH" in err.decode()


async def test_a_folder_with_data_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wallet.dat").write_text("precious")
    process = await start("--once", "--data-dir", str(tmp_path))
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "is not empty" in err.decode()
    assert (tmp_path / "wallet.dat").read_text() == "precious"


async def test_unknown_coins_are_refused() -> None:
    process = await start("--once", "--coins", "btc_btc")
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "ltc_btc" in err.decode()
