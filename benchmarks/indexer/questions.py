"""What wallets ask: who is asked about, how often, what it costs, and whether two servers say the same."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import click
from benchmarks.indexer.chain import Facts
from benchmarks.indexer.machine import cpu_seconds
from benchmarks.indexer.servers import Server
from benchmarks.indexer.wire import Call, Load, ask, connect

SCRIPT, TX = "blockchain.scripthash.", "blockchain.transaction."
METHODS = ("get_history", "get_balance", "listunspent", "subscribe")
CONNECTIONS = 16
HUGE = 12


class Sample:
    """Scripts by the length of their histories, as the generator counted them, and transactions.

    rare: below 10 entries, small: below 100, medium: below 1,000, large: the others; huge: the twelve longest.
    """

    def __init__(self, facts: Facts, blocks: int) -> None:
        counts = {sha256(script).digest()[::-1].hex(): count for script, count in facts.touches.items()}
        rank = sorted(counts, key=lambda name: -counts[name])
        self.counts, self.blocks = counts, blocks
        self.huge = rank[:HUGE]
        bounds = ((1, 10), (10, 100), (100, 1000), (1000, 20_000))
        pools = [[name for name in rank[HUGE:] if low <= counts[name] < high] for low, high in bounds]
        self.rare, self.small, self.medium, self.large = (pool or rank for pool in pools)
        self.txs = list(facts.sample)

    def plans(self, count: int, seed: int = 7) -> Iterator[tuple[str, list[Call]]]:
        """(name, calls) for each row of the report."""
        rnd = random.Random(seed)
        pools = [self.rare] * 6 + [self.small] * 3 + [self.medium]
        who = [rnd.choice(rnd.choice(pools)) for _ in range(count)]
        txs = [rnd.choice(self.txs) for _ in range(count)]
        once = rnd.sample(self.rare, min(count, len(self.rare)))
        for method in ("get_history", "get_balance", "listunspent"):
            yield method, [(SCRIPT + method, [name]) for name in who]
        yield "subscribe", [(SCRIPT + "subscribe", [name]) for name in once]
        yield "transaction.get", [(TX + "get", [txid]) for txid, _ in txs]
        yield "transaction.get_merkle", [(TX + "get_merkle", [txid, height]) for txid, height in txs]
        yield "block.header", [("blockchain.block.header", [rnd.randint(0, self.blocks)]) for _ in range(count)]
        ends = max(0, self.blocks - 100)
        yield (
            "block.headers(100)",
            [("blockchain.block.headers", [rnd.randint(0, ends), 100]) for _ in range(count // 4)],
        )
        yield "wallet mix", self.mix(count, seed)
        for method in METHODS:
            yield f"huge {method}", [(SCRIPT + method, [name]) for name in self.huge * 2]

    def mix(self, count: int, seed: int = 7) -> list[Call]:
        """What a wallet does, at random."""
        rnd = random.Random(seed)
        pools = [self.rare] * 6 + [self.small] * 3 + [self.medium]
        calls: list[Call] = []
        for _ in range(count):
            name, (txid, height) = rnd.choice(rnd.choice(pools)), rnd.choice(self.txs)
            kinds: list[Call] = [(SCRIPT + method, [name]) for method in METHODS]
            calls.append(rnd.choice([*kinds, (TX + "get", [txid]), (TX + "get_merkle", [txid, height])]))
        return calls


def milliseconds(times: list[float], share: float) -> float:
    """A quantile of seconds."""
    rank = sorted(times)
    return round(1000 * rank[min(len(rank) - 1, int(len(rank) * share))], 2)


async def measure(server: Server, calls: list[Call], connections: int, depth: int) -> dict[str, Any]:
    """CPU microseconds of the server a request, rate, and how long they took."""
    conns = await connect(server.port, connections)
    load = Load(calls)
    before = cpu_seconds(server.pid)
    wall = await load.over(conns, depth)
    spent = cpu_seconds(server.pid) - before
    for conn in conns:
        conn.close()
    if load.refused:
        raise RuntimeError(load.refused[0].decode())
    return {
        "n": len(calls),
        "cpu_us": round(1e6 * spent / len(calls), 1),
        "per_second": round(len(calls) / wall),
        "p50_ms": milliseconds(load.took, 0.5),
        "p99_ms": milliseconds(load.took, 0.99),
    }


async def all_questions(server: Server, sample: Sample, count: int, depth: int) -> dict[str, dict[str, Any]]:
    """Every row. `depth`: requests under way on each connection; ElectrumX holds small answers back while few are."""
    rows = {}
    for name, calls in sample.plans(count):
        times = 5 if name.startswith("huge") and server.name == "twinlock" else 1  # so that the clock's tick is small
        rows[name] = await measure(server, calls * times, CONNECTIONS, depth)
        click.echo(f"{server.name:10} {name:24} {rows[name]}", err=True)
    single = min(count, 2000) if server.name == "twinlock" else 15  # a second each, for the padding
    rows["one at a time"] = await measure(server, sample.mix(single, 9), 1, 1)
    return rows


async def beside_huge(server: Server, sample: Sample, count: int) -> dict[str, Any]:
    """How long light sessions wait, one request at a time, while others ask for nothing but huge histories."""
    heavy, light = await connect(server.port, 4), await connect(server.port, 4)
    calls = [(SCRIPT + "get_history", [name]) for name in sample.huge] * 1000
    siege = Load(calls)
    hard = asyncio.create_task(siege.over(heavy, 2))
    load = Load(sample.mix(count, 11))
    wall = await load.over(light, 1)
    served = sum(1 for took in siege.took if took)
    hard.cancel()
    for conn in (*heavy, *light):
        conn.close()
    await asyncio.gather(hard, return_exceptions=True)
    return {
        "light_p50_ms": milliseconds(load.took, 0.5),
        "light_p99_ms": milliseconds(load.took, 0.99),
        "light_max_ms": milliseconds(load.took, 1),
        "huge_per_second": round(served / wall, 1),
    }


async def check(server: Server, sample: Sample) -> dict[str, Any]:
    """Histories have as many entries as the generator counted."""
    rnd = random.Random(3)
    names = rnd.sample(sample.rare, min(4000, len(sample.rare))) + sample.small[:2000] + sample.medium[:500]
    names = list(dict.fromkeys(names + sample.large[:50] + sample.huge))
    got = await ask(server.port, [(SCRIPT + "get_history", [name]) for name in names])
    wrong = [name for name, rows in zip(names, got, strict=True) if len(rows) != sample.counts[name]]
    return {"histories": len(names), "entries": sum(sample.counts[name] for name in names), "wrong": len(wrong)}


def canonical(value: Any) -> Any:
    """Unspent outputs may come in any order within a transaction."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sorted(json.dumps(item, sort_keys=True) for item in value)
    return value


async def compare(ours: Server, theirs: Server, sample: Sample) -> dict[str, Any]:
    """Ask both the same, and count what differs."""
    rnd = random.Random(4)
    names = rnd.sample(sample.rare, min(1500, len(sample.rare))) + sample.small[:1000] + sample.medium[:300]
    names += sample.large[:20] + sample.huge[:2] + [sha256(b"never used").hexdigest()]
    calls: list[Call] = [(SCRIPT + method, [name]) for name in names for method in METHODS]
    for txid, height in rnd.sample(sample.txs, min(1000, len(sample.txs))):
        calls += [(TX + "get", [txid]), (TX + "get_merkle", [txid, height]), (TX + "id_from_pos", [height, 0, True])]
    calls += [("blockchain.block.header", [height]) for height in range(0, sample.blocks + 1, 7)]
    calls += [("blockchain.block.header", [5, sample.blocks]), ("blockchain.block.headers", [10, 200])]
    answers = await asyncio.gather(ask(ours.port, calls), ask(theirs.port, calls))
    differ = [call for call, a, b in zip(calls, *answers, strict=True) if canonical(a) != canonical(b)]
    return {"asked": len(calls), "different": len(differ), "first": [str(call) for call in differ[:3]]}


def median(values: list[float]) -> float:
    """The middle one."""
    return round(statistics.median(values), 1)
