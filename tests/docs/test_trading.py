"""The market maker, the bot's examples and the commands of both pages, run against a demo as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from twinlock.client import connect
from twinlock.simnet.clients import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "market-maker.md"
TRADE = ROOT / "docs" / "how-to" / "trade.md"
BOT = ROOT / "docs" / "how-to" / "write-a-bot.md"
KEEP = ROOT / "docs" / "how-to" / "keep-your-coins.md"
TWINLOCK = (sys.executable, "-m", "twinlock.cli.main")


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """A demo, once it tells how to connect."""
    command = (*TWINLOCK, "demo", "--json", "--data-dir", str(folder))
    log = (folder.parent / "demo.err").open("wb")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    reading: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            async for line in process.stdout:
                row = json.loads(line)
                if row["event"] == "connect":
                    break
            else:
                raise AssertionError("the demo ended without a word on how to connect")
        reading = asyncio.create_task(process.stdout.read())
        yield row
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        if reading is not None:
            await reading
        await process.wait()
        log.close()


async def run(line: str, folder: Path, environment: dict[str, str]) -> str:
    command = [*TWINLOCK, *line.split()[1:]]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, cwd=folder, env=environment)
    out, err = await process.communicate()
    assert process.returncode == 0, f"{line}: {err.decode()}"
    return out.decode()


async def program(text: str, folder: Path, environment: dict[str, str]) -> str:
    (folder / "bot.py").write_text(text)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "bot.py", cwd=folder, env=environment, stdout=pipe, stderr=pipe
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def market_maker(folder: Path, environment: dict[str, str], control: str) -> None:
    (text,) = blocks(TUTORIAL, "python")
    assert len([line for line in text.splitlines() if line.strip()]) == 10
    assert text in (ROOT / "README.md").read_text(), "the README shows the same"
    (folder / "maker.py").write_text(text)
    pipe = asyncio.subprocess.PIPE
    maker = await asyncio.create_subprocess_exec(
        sys.executable, "maker.py", cwd=folder, env=environment, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(PATIENCE), connect(control) as desk:
            sides: set[str] = set()
            while sides != {"buy", "sell"}:
                assert maker.returncode is None, (await maker.communicate())[1].decode()
                orders = [order for order in await desk.orders() if order.type == "limit"]
                sides = {order.side for order in orders if order.status in ("booked", "executed", "canceled")}
                await asyncio.sleep(0.5)
    finally:
        if maker.returncode is None:
            maker.kill()
        await maker.communicate()


async def test_the_documents_trade(tmp_path: Path) -> None:
    async with demo(tmp_path / "demo") as told:
        environment = {**os.environ, "TWINLOCK_CONFIG": told["config"], "TWINLOCK_CONTROL": told["control"]}
        for block in (*blocks(TRADE, "sh"), *blocks(BOT, "sh")):
            for line in block.splitlines():
                await run(line, tmp_path, environment)
        alone = [line for block in blocks(KEEP, "sh") for line in block.splitlines()]
        await asyncio.gather(*(run(line, tmp_path, environment) for line in alone))
        page = json.loads(await run("twinlock client --json page", tmp_path, environment))["url"]
        async with httpx.AsyncClient(trust_env=False) as http:
            assert "<title>Twinlock" in (await http.get(page.partition("#")[0])).text
        looked, ordered, followed = [await program(text, tmp_path, environment) for text in blocks(BOT, "python")]
        assert looked.splitlines()[-1] == "None" or looked.splitlines()[-1].isdigit()
        assert ordered.split()[0] == "True", ordered
        assert len(followed.split()) == 3
        assert (tmp_path / "trades.csv").read_text().startswith("host,match_id,")
        assert (tmp_path / "candles.parquet").stat().st_size
        await market_maker(tmp_path, environment, told["control"])
