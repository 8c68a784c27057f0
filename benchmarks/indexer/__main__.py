"""Runs the indexer's benchmarks; see the package."""

from __future__ import annotations

import asyncio
import datetime
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from benchmarks.indexer.chain import ChainMaker
from benchmarks.indexer.machine import load, machine
from benchmarks.indexer.news import WATCHED, big_block, payments
from benchmarks.indexer.questions import Sample, all_questions, beside_huge, check, compare, median
from benchmarks.indexer.report import page
from benchmarks.indexer.servers import Node, electrumx, twinlock

from twinlock import __version__
from twinlock.chain.coins import Network, coin

RESULTS = Path(__file__).parents[1] / "results"
BLOCK_TXS = 3_000


class Bench:
    """One chain on a node, and the servers on it."""

    def __init__(self, folder: Path, blocks: int, txs: int, peer: bool, requests: int, rounds: int) -> None:
        self._folder, self._blocks, self._peer, self._requests, self._rounds = folder, blocks, peer, requests, rounds
        self._maker = ChainMaker(coin("btc", Network.REGTEST).genesis_hash, blocks, txs)
        self.node = Node(folder / "node")

    async def run(self) -> dict[str, Any]:
        """Everything that is measured on the chain."""
        await self.node.start()
        try:
            await self.node.give(self._maker.blocks())
            facts = self._maker.facts
            result: dict[str, Any] = {
                "node": await self.node.version(),
                "txs": facts.txs,
                "blocks": self._blocks,
                "mb": round(facts.size / 1e6, 1),
                "delivery_s": await self.node.delivery(self._blocks),
                "sync": await self._small_syncs(),
            }
            return result | await self._serve(result["sync"])
        finally:
            await self.node.stop()

    async def _small_syncs(self) -> dict[str, Any]:
        """With less memory, and without the node's files."""
        rows = {}
        ways = {"twinlock, --memory 300M": {"MEMORY": "300M"}, "twinlock, by REST": {"USE_BLOCK_FILES": "no"}}
        for name, settings in ways.items():
            server = twinlock(self.node, self._folder / "other", **settings)
            rows[name] = await server.sync(self._blocks)
            server.stop()
            shutil.rmtree(self._folder / "other")
        return rows

    async def _serve(self, sync: dict[str, Any]) -> dict[str, Any]:
        sample = Sample(self._maker.facts, self._blocks)
        ours = twinlock(self.node, self._folder / "ours")
        sync["twinlock"] = await ours.sync(self._blocks)
        result: dict[str, Any] = {"questions": {}}
        try:
            if self._peer:
                theirs = electrumx(self.node, self._folder / "theirs")
                sync["electrumx"] = await theirs.sync(self._blocks)
                try:
                    result["compared"] = await compare(ours, theirs, sample)
                    result["questions"]["electrumx"] = await all_questions(theirs, sample, self._requests // 5, 64)
                finally:
                    theirs.stop()
            result["checked"] = await check(ours, sample)
            result["questions"]["twinlock"] = await all_questions(ours, sample, self._requests, 8)
            result["beside_huge"] = await beside_huge(ours, sample, self._requests // 4)
            result["news"] = {
                "payments": await payments(ours, self.node, self._maker, self._rounds),
                "big_block": await self._big_blocks(ours),
            }
            return result
        finally:
            ours.stop()

    async def _big_blocks(self, ours: Any) -> dict[str, Any]:
        rows = []
        for _ in range(self._rounds):
            block = self._maker.next_block(min(BLOCK_TXS, self._maker.facts.txs))
            rows.append(await big_block(ours, self.node, block, sorted(self._maker.touched)[:WATCHED]))
        medians = {kind: median([row[kind] for row in rows]) for kind in rows[0]}
        watched = min(WATCHED, len(self._maker.touched))
        return {"txs": BLOCK_TXS, "watched": watched, "rounds": self._rounds, **medians}


async def measure(chains: list[tuple[int, int]], peer: bool, requests: int, rounds: int) -> dict[str, Any]:
    """Everything, on each chain (blocks, transactions); the peer only on the last."""
    before = load()
    rows = []
    for blocks, txs in chains:
        folder = Path(tempfile.mkdtemp(prefix="twinlock-bench-"))
        try:
            bench = Bench(folder, blocks, txs, peer and (blocks, txs) == chains[-1], requests, rounds)
            rows.append(await bench.run())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        click.echo(json.dumps(rows[-1]), err=True)
    versions = {"Twinlock": __version__, "Python": platform.python_version()}
    versions |= {"node": rows[-1]["node"]} | ({"ElectrumX": "1.20.0 with uvloop"} if peer else {})
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {
        "when": when,
        "machine": machine(),
        "load": f"{before} to {load()}",
        "versions": versions,
        "chains": rows,
    }


@click.command()
@click.option("--blocks", type=int, help="Blocks of a single chain.")
@click.option("--txs", type=int, help="Transactions of a single chain; by default 100,000 and then 1,000,000.")
@click.option("--requests", default=20_000, show_default=True, help="Of each kind; a fifth of it for the peer.")
@click.option("--rounds", default=9, show_default=True, help="Of payments and blocks.")
@click.option("--peer/--no-peer", default=True, help="Measure ElectrumX as well.")
@click.option("--save/--no-save", default=True, help="Write the results.")
def main(blocks: int | None, txs: int | None, requests: int, rounds: int, peer: bool, save: bool) -> None:
    """Measure the indexer."""
    chains = [(blocks or 400, txs)] if txs else [(400, 100_000), (2_000, 1_000_000)]
    result = asyncio.run(measure(chains, peer, requests, rounds))
    if save:
        (RESULTS / "indexer.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "indexer.md").write_text(page(result))
    click.echo(page(result))


if __name__ == "__main__":
    main()
