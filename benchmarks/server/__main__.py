"""Runs the server's benchmarks; see the package."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.server.feed import ORDERS_EACH, SENDERS
from benchmarks.server.host import Parameters
from benchmarks.server.sockets import cpu_seconds, dial, resident_bytes

from twinlock.simnet.postgres import Postgres
from twinlock.simnet.processes import Processes

RESULTS = Path(__file__).parents[1] / "results"
ACCOUNTS, ORDERS, WINDOW = 200, 50, 4
SUBSCRIBERS, RATES, SECONDS = 1_000, (100, 200, 300), 10
IDLE = 1_000
LONG_EPOCH_MS = 600_000


def python(module: str, *words: object) -> list[str]:
    """The command of a module of this package."""
    return [sys.executable, "-m", f"benchmarks.server.{module}", *(str(word) for word in words)]


def answer(module: str, *words: object) -> Any:
    """What a module prints last."""
    ran = subprocess.run(python(module, *words), stdout=subprocess.PIPE, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


@contextmanager
def host(**settings: Any) -> Iterator[tuple[int, int]]:
    """A server under test: its process ID and its port."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = msgspec.json.encode(Parameters(folder=folder, **settings)).decode()
        process = subprocess.Popen(
            python("host", parameters), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdin
        assert process.stdout
        line = b""
        while not line.startswith(b'{"port"'):
            line = process.stdout.readline()
        yield process.pid, json.loads(line)["port"]
        process.stdin.close()
        process.wait(120)


def intake(*, tls: bool = False, profile: str = "") -> dict[str, Any]:
    """Orders from as many connections as there are accounts."""
    settings = {"accounts": ACCOUNTS, "coins": ORDERS, "epoch_ms": LONG_EPOCH_MS, "tls": tls, "profile": profile}
    with host(**settings) as (pid, port):
        cpu = cpu_seconds(pid)
        found: dict[str, Any] = answer("intake", port, int(tls), ACCOUNTS, ORDERS, WINDOW)
        used = cpu_seconds(pid) - cpu
    return found | {"server_cpu_us_per_order": round(used / found["orders"] * 1e6)}


def feed(rate: int, *, tls: bool = False, profile: str = "") -> dict[str, Any]:
    """Updates at an even rate to all subscribers."""
    settings = {"accounts": SENDERS, "coins": ORDERS_EACH, "epoch_ms": LONG_EPOCH_MS, "tls": tls, "profile": profile}
    with host(**settings) as (pid, port):
        words = python("feed", "read", port, int(tls), SUBSCRIBERS, rate * SECONDS)
        reader = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert reader.stdout
        reader.stdout.readline()
        cpu = cpu_seconds(pid)
        sent: dict[str, Any] = answer("feed", "send", port, int(tls), rate, SECONDS)
        found: dict[str, Any] = json.loads(reader.communicate()[0])
        used = cpu_seconds(pid) - cpu
    return {"rate": rate} | found | sent | {"server_cpu_share": round(used / SECONDS, 2)}


def idle(*, tls: bool) -> float:
    """kB of the server for each connection that does nothing."""
    with host(tls=tls) as (pid, port):
        warm = [dial(port, number, tls=tls) for number in range(50)]
        before = resident_bytes(pid)
        links = [dial(port, 1_000 + number, tls=tls) for number in range(IDLE)]
        found = (resident_bytes(pid) - before) / len(links) / 1000
        for link in (*warm, *links):
            link.close()
    return round(found, 1)


async def on_postgresql() -> Any:
    """The epoch's commit on a real PostgreSQL that syncs to disk."""
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(Path(folder) / "logs")
        cluster = Postgres(Path(folder) / "cluster", processes, durable=True)
        await cluster.start()
        found = await asyncio.to_thread(answer, "engine", "commit", cluster.url)
        await processes.stop()
    return found


def measure(wanted: Sequence[str], result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is wanted (by default everything), one after the other; the results so far after each."""
    result |= {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
        | {name: version(name) for name in ("twinlock", "sqlalchemy", "uvloop", "msgspec", "coincurve")},
    }
    steps: dict[str, Any] = {
        "cycle": lambda: answer("engine", "cycle", "", RESULTS / "server-cycle.profile.txt"),
        "commit_sqlite": lambda: answer("engine", "commit"),
        "commit_postgresql": lambda: asyncio.run(on_postgresql()),
        "intake": intake,
        "intake_tls": lambda: intake(tls=True),
        "feed": lambda: [feed(rate) for rate in RATES],
        "feed_tls": lambda: feed(RATES[0], tls=True),
        "idle_kb": lambda: {"plain": idle(tls=False), "tls": idle(tls=True)},
        "settling": lambda: answer("engine", "settling"),
    }
    for name in wanted or steps:
        load = os.getloadavg()[0]
        result[name] = steps[name]()
        result.setdefault("load_before", {})[name] = round(load, 1)
        print(name, json.dumps(result[name]), f"(load {load:.1f})", flush=True)
        yield result
    if wanted:
        return
    intake(profile=str(RESULTS / "server-intake.profile.txt"))
    feed(RATES[0], profile=str(RESULTS / "server-feed.profile.txt"))


if __name__ == "__main__":
    file = RESULTS / "server.json"
    for found in measure(sys.argv[1:], json.loads(file.read_text()) if file.exists() else {}):
        file.write_text(json.dumps(found, indent=2) + "\n")
