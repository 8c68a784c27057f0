"""`twinlock indexer doctor`, `check`, `compact`, `snapshot`, `systemd`: looking after an index and its server."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from twinlock.cli.answers import answer, json_option
from twinlock.cli.indexer_settings import environment, node_of, settings
from twinlock.indexer import doctor as doctors
from twinlock.indexer.block_source import NodeSource
from twinlock.indexer.check import Checker, hashes_of
from twinlock.indexer.env import reorg_limit_of
from twinlock.indexer.lock import DirectoryLock
from twinlock.indexer.memory import shares
from twinlock.indexer.progress import size_text
from twinlock.indexer.snapshot import export_snapshot, import_snapshot
from twinlock.indexer.storage.disk import RealDisk
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.seams import SystemClock, SystemEntropy

_FILES_BESIDES = 200


class _Steps:
    """Shows steps of work: a bar for a person, a line a step otherwise."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._watched = sys.stderr.isatty()
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not self._watched)
        self._task = self._progress.add_task("", total=1)
        self._step = ""

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, step: str, done: int, total: int) -> None:
        if not self._watched and step != self._step:
            click.echo(f"{step} ...", err=True)
        self._step = step
        self._progress.update(self._task, description=step, completed=done, total=total)


@click.command()
@settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(config: Path | None, as_json: bool, **flags: Any) -> None:
    """Look at everything that an indexer needs, and say how to mend what is not well."""
    env, coin = environment(config, flags)

    async def examine() -> list[doctors.Finding]:
        node = node_of(env, coin)
        try:
            return await doctors.examine(env, coin, node, SystemClock())
        finally:
            node.close()

    findings = asyncio.run(examine())
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = click.style("ok ", fg="green") if finding.well else click.style("NOT", fg="red", bold=True)
            click.echo(f"{mark} {finding.name}: {finding.seen}")
            if not finding.well and finding.fix:
                click.echo(f"    {finding.fix}")
    sys.exit(0 if all(finding.well for finding in findings) else 1)


@click.command()
@settings
@json_option
def check(config: Path | None, as_json: bool, **flags: Any) -> None:
    """Compare the whole index of a stopped server with the node's chain. Takes as long as a first sync."""
    env, coin = environment(config, flags)

    async def compare() -> tuple[int, list[str]]:
        node = node_of(env, coin)
        with _Steps() as say:
            checker = Checker(coin, env.data_dir, SystemEntropy(), say)
            try:
                hashes = await hashes_of(node, checker.index.height)
                source = NodeSource(node.node.url)
                return len(hashes), await asyncio.to_thread(checker.run, hashes, source, shares(env.memory).rows)
            finally:
                checker.close()
                node.close()

    blocks, problems = asyncio.run(compare())
    good = f"{blocks:,} blocks: the index is what the node's chain says"
    answer({"blocks": blocks, "problems": problems}, "\n".join(problems) or good, as_json=as_json)
    if problems:
        raise click.ClickException("the index is not what the node's chain says; remove it, and it is built anew")


@click.command()
@settings
@json_option
def compact(config: Path | None, as_json: bool, **flags: Any) -> None:
    """Make one run of all that cannot change any more, in a stopped server's index."""
    env, coin = environment(config, flags)
    lock = DirectoryLock(env.data_dir)
    try:
        memory = shares(env.memory).rows  # nothing else is at work
        storage = SegmentStorage(RealDisk(env.data_dir), coin.genesis_hash, reorg_limit_of(env, coin), memory)
        try:
            if storage.height < 0:
                raise click.ClickException(f"{env.data_dir} holds no index")
            before = len(storage.segments)
            storage.compact()
            after = len(storage.segments)
            text = f"{before} pieces became {after}" if after < before else f"{after} pieces: nothing to compact"
            answer({"before": before, "after": after}, text, as_json=as_json)
        finally:
            storage.close()
    finally:
        lock.release()


@click.group()
def snapshot() -> None:
    """Carry a whole index from one machine to another."""


@snapshot.command("export")
@settings
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def export(config: Path | None, file: Path, as_json: bool, **flags: Any) -> None:
    """Write a stopped server's index into one file, with checksums."""
    env, coin = environment(config, flags)
    with _Steps() as say:
        table = export_snapshot(coin, env.data_dir, file, say)
    size = file.stat().st_size
    text = f"{coin.name} {coin.network} to height {table.height:,}: {file} ({size_text(size)})"
    answer({"height": table.height, "file": file, "bytes": size}, text, as_json=as_json)


@snapshot.command("import")
@settings
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def import_(config: Path | None, file: Path, as_json: bool, **flags: Any) -> None:
    """Check such a file, and make it the index of an empty data directory."""
    env, coin = environment(config, flags)
    with _Steps() as say:
        table = import_snapshot(coin, env.data_dir, file, say)
    text = f"{coin.name} {coin.network} to height {table.height:,} is in {env.data_dir}; the server goes on from there"
    answer({"height": table.height, "data_dir": env.data_dir}, text, as_json=as_json)


UNIT = """[Unit]
Description=Twinlock indexer ({coin} {network})
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={program} indexer run --config {config}
User={user}
Restart=on-failure
RestartSec=10
TimeoutStartSec=infinity
TimeoutStopSec=300
LimitNOFILE={files}
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=strict
ReadWritePaths={data_dir}

[Install]
WantedBy=multi-user.target
"""


@click.command()
@click.option("--config", type=click.Path(path_type=Path, exists=True), required=True, help="The server's settings.")
@click.option("--user", default="twinlock", show_default=True, help="Who runs it; must be able to read the cookie.")
def systemd(config: Path, user: str) -> None:
    """Print a unit for systemd that runs the server of a settings file."""
    env, coin = environment(config, {"listen": (), "rpc_listen": None, "metrics_listen": None})
    beside = Path(sys.executable).with_name("twinlock")
    program = beside if beside.exists() else shutil.which("twinlock") or Path(sys.argv[0]).resolve()
    unit = UNIT.format(
        coin=coin.symbol,
        network=coin.network,
        program=program,
        config=config.resolve(),
        user=user,
        files=env.max_sessions + _FILES_BESIDES,
        data_dir=env.data_dir.resolve(),
    )
    click.echo(unit, nl=False)


COMMANDS = (doctor, check, compact, snapshot, systemd)
