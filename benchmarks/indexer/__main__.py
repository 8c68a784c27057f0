"""Runs the indexer's benchmarks; see the package."""

from __future__ import annotations

import asyncio
import datetime
import json
import platform
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from benchmarks.indexer.machine import load, machine
from benchmarks.indexer.parts import PARTS, Amount
from benchmarks.indexer.report import page
from benchmarks.indexer.world import World

from twinlock import __version__

RESULTS = Path(__file__).parents[1] / "results"
CHAINS = ((400, 100_000), (2_000, 1_000_000))


async def measure(world: World, names: Sequence[str], amount: Amount) -> dict[str, Any]:
    """The named parts on one chain: for each, what it gave, when, and under what load."""
    await world.make()
    rows = {}
    for name in names:
        before = load()
        row = await PARTS[name](world, amount)
        when = datetime.datetime.now(datetime.UTC)
        rows[name] = {"when": f"{when:%Y-%m-%d %H:%M} UTC", "load": f"{before} to {load()}", **row}
        click.echo(f"{name}: {json.dumps(rows[name])}", err=True)
    return rows


def merged(known: dict[str, Any], txs: int, rows: dict[str, Any]) -> dict[str, Any]:
    """Results with new rows of a chain in the place of its old ones."""
    chains = known.get("chains", {})
    versions = {"Twinlock": __version__, "Python": platform.python_version(), "ElectrumX": "1.20.0 with uvloop"}
    chains = {**chains, str(txs): {**chains.get(str(txs), {}), **rows}}
    return {"machine": machine(), "versions": versions, "chains": dict(sorted(chains.items(), key=lambda c: int(c[0])))}


@click.command()
@click.option("--part", "names", type=click.Choice(list(PARTS)), multiple=True, help="Only these; all by default.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the chains here, for the next part.")
@click.option("--blocks", type=int, help="Blocks of a single chain.")
@click.option("--txs", type=int, help="Transactions of a single chain; by default 100,000 and then 1,000,000.")
@click.option("--requests", default=20_000, show_default=True, help="Of each kind; a fifth of it for the peer.")
@click.option("--rounds", default=9, show_default=True, help="Of payments and blocks.")
@click.option("--peer/--no-peer", default=True, help="Measure ElectrumX as well.")
@click.option("--save/--no-save", default=True, help="Write the results, beside what other parts wrote.")
def main(
    names: tuple[str, ...],
    folder: Path | None,
    blocks: int | None,
    txs: int | None,
    requests: int,
    rounds: int,
    peer: bool,
    save: bool,
) -> None:
    """Measure the indexer."""
    chains = [(blocks or 400, txs)] if txs else CHAINS
    file = RESULTS / "indexer.json"
    result = json.loads(file.read_text()) if save and file.exists() else {}
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory(prefix="twinlock-bench-") as place:
        for chain in chains:
            amount = Amount(requests, rounds, peer and chain == chains[-1])
            rows = asyncio.run(measure(World(Path(place), *chain), names or list(PARTS), amount))
            result = merged(result, chain[1], rows)
    if save:
        file.write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "indexer.md").write_text(page(result))
    click.echo(page(result))


if __name__ == "__main__":
    main()
