"""Runs the server's benchmarks: all of them, or the steps that are named; see the package."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.server.feed import ORDERS_EACH, SENDERS
from benchmarks.server.host import Parameters
from benchmarks.server.report import FEED_LIMIT_MS, written
from benchmarks.server.sockets import cpu_seconds, dial, resident_bytes

from twinlock.simnet.postgres import Postgres
from twinlock.simnet.processes import Processes

RESULTS = Path(__file__).parents[1] / "results"
ACCOUNTS, ORDERS, WINDOW = 200, 50, 4
SUBSCRIBERS, SECONDS = 1_000, 8
RATES = (100, 200, 300, 400, 600, 800)
IDLE = 1_000
LONG_EPOCH_MS = 600_000
_INTAKES = 3


def python(module: str, *words: object) -> list[str]:
    """The command of a module of this package."""
    return [sys.executable, "-m", f"benchmarks.server.{module}", *(str(word) for word in words)]


def answer(module: str, *words: object) -> Any:
    """What a module prints last."""
    ran = subprocess.run(python(module, *words), stdout=subprocess.PIPE, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


@contextmanager
def serving(command: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A server under test, which ends with its standard input: its process ID and its port."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin
    assert process.stdout
    line = b""
    while not line.startswith(b'{"port"'):
        line = process.stdout.readline()
    yield process.pid, json.loads(line)["port"]
    process.stdin.close()
    process.wait(120)


@contextmanager
def host(**settings: Any) -> Iterator[tuple[int, int]]:
    """An exchange under test."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = msgspec.json.encode(Parameters(folder=folder, **settings)).decode()
        with serving(python("host", parameters)) as found:
            yield found


def baseline() -> dict[str, Any]:
    """What the machine gives without the exchange, in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = answer("baseline", "machine", folder)
    with serving(python("baseline", "echo")) as (_, port):
        bare = answer("intake", port, 0, ACCOUNTS, ORDERS, WINDOW)
    return found | {"bare_frames_per_second": bare["per_second"], "bare_load_cpu_seconds": bare["load_cpu_seconds"]}


def intakes() -> dict[str, Any]:
    """The middle one of several runs, and the rates of all."""
    runs = sorted((intake() for _ in range(_INTAKES)), key=lambda run: run["per_second"])
    return runs[_INTAKES // 2] | {"all_per_second": [run["per_second"] for run in runs]}


def intake(*, tls: bool = False, profile: str = "") -> dict[str, Any]:
    """Orders from as many connections as there are accounts."""
    settings = {"accounts": ACCOUNTS, "coins": ORDERS, "epoch_ms": LONG_EPOCH_MS, "tls": tls, "profile": profile}
    with host(**settings) as (pid, port):
        cpu, loop = cpu_seconds(pid), cpu_seconds(pid, loop_only=True)
        found: dict[str, Any] = answer("intake", port, int(tls), ACCOUNTS, ORDERS, WINDOW)
        cpu, loop = cpu_seconds(pid) - cpu, cpu_seconds(pid, loop_only=True) - loop
    each = 1e6 / found["orders"]
    return found | {"server_cpu_us_per_order": round(cpu * each), "loop_cpu_us_per_order": round(loop * each)}


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


def feeds() -> list[dict[str, Any]]:
    """Ever faster, until the last socket waits too long."""
    found: list[dict[str, Any]] = []
    for rate in RATES:
        found.append(feed(rate))
        if found[-1]["p99_ms"] > FEED_LIMIT_MS or not found[-1]["complete"]:
            break
    return found


def profiles() -> dict[str, str]:
    """Where the time of intake and feed goes, into files; profiled runs are slower and count for nothing else."""
    files = {name: str(RESULTS / f"server-{name}.profile.txt") for name in ("intake", "feed")}
    intake(profile=files["intake"])
    feed(RATES[0], profile=files["feed"])
    return {name: Path(file).name for name, file in files.items()}


STEPS: dict[str, Callable[[], Any]] = {
    "baseline": baseline,
    "cycle": lambda: answer("engine", "cycle", "", RESULTS / "server-cycle.profile.txt"),
    "matching": lambda: answer("engine", "matching"),
    "commit_sqlite": lambda: answer("engine", "commit"),
    "commit_postgresql": lambda: asyncio.run(on_postgresql()),
    "intake": intakes,
    "intake_tls": lambda: intake(tls=True),
    "feed": feeds,
    "feed_tls": lambda: feed(RATES[0], tls=True),
    "idle_kb": lambda: {"plain": idle(tls=False), "tls": idle(tls=True)},
    "settling": lambda: answer("engine", "settling"),
    "unredeemed": lambda: answer("engine", "unredeemed"),
    "profiles": profiles,
}


def measure(wanted: Sequence[str], result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps that are wanted, one after the other; the results so far after each."""
    result |= {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
        | {name: version(name) for name in ("twinlock", "sqlalchemy", "asyncpg", "uvloop", "msgspec", "coincurve")},
    }
    for name in wanted or STEPS:
        load, began = os.getloadavg()[0], time.monotonic()
        result[name] = STEPS[name]()
        result.setdefault("load_before", {})[name] = round(load, 1)
        took = result.setdefault("took_seconds", {})[name] = round(time.monotonic() - began, 1)
        print(name, json.dumps(result[name]), f"(load {load:.1f}, {took} s)", flush=True)
        yield result


if __name__ == "__main__":
    file, page = RESULTS / "server.json", RESULTS / "server.md"
    for found in measure(sys.argv[1:], json.loads(file.read_text()) if file.exists() else {}):
        file.write_text(json.dumps(found, indent=2) + "\n")
        page.write_text(written(page.read_text(), found))
