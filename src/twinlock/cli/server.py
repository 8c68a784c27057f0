"""`twinlock server`: run an exchange."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

import click
import msgspec
import structlog
import uvloop
from rich.markup import escape
from rich.table import Table

from twinlock.cli import descriptors
from twinlock.cli.answers import answer, json_option, show
from twinlock.cli.libraries import adopt_logs
from twinlock.cli.server_admin import admin
from twinlock.cli.server_init import init
from twinlock.seams import SystemClock
from twinlock.server.app import Server
from twinlock.server.config import Config, load_config
from twinlock.server.db import backup as backups
from twinlock.server.process import ClaimError, State, become, claimed, inherited, running, settled
from twinlock.server.setup.doctor import Finding, examine
from twinlock.web.operator import pages

log = structlog.get_logger(__name__)

config_option = click.option(
    "--config", "path", type=click.Path(path_type=Path, dir_okay=False), default="server.toml", envvar="TWINLOCK_SERVER"
)


@click.group()
def server() -> None:
    """Run an exchange."""


@server.command()
@config_option
@json_option
def doctor(path: Path, as_json: bool) -> None:
    """Check everything that the exchange needs; each red line says how to repair it. Exit code 1 if one is red."""
    findings = asyncio.run(examine(path, SystemClock()))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        show(_findings(findings))
    sys.exit(not all(finding.ok for finding in findings))


def _findings(findings: list[Finding]) -> Table:
    table = Table(box=None, show_header=False)
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        table.add_row(
            mark, finding.check, escape(finding.detail) + ("" if finding.ok else f"\n[bold]{escape(finding.fix)}[/]")
        )
    return table


@server.command()
@config_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Read the configuration and say what it offers."""
    markets = load_config(path).markets
    lines = [
        f"{each.name}: lot size {each.lot_size}, rate step {each.rate_step}, {each.epoch_ms} ms" for each in markets
    ]
    offers = [
        {"market": each.name, "lot_size": each.lot_size, "rate_step": each.rate_step, "epoch_ms": each.epoch_ms}
        for each in markets
    ]
    answer(offers, "\n".join(lines), as_json=as_json)


@server.command()
@config_option
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def run(path: Path, log_level: str) -> None:
    """Run the exchange until it is told to stop. SIGHUP restarts it without closing its ports."""
    config = load_config(path)
    level: int = getattr(logging, log_level.upper())
    structlog.configure(
        processors=_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,  # else each line that is not written costs as much as a look at an order
    )
    adopt_logs()
    descriptors.take_all()
    kept = uvloop.run(_run(config, path))
    if kept:
        become(kept, sys.orig_argv if Path(sys.orig_argv[0]).is_absolute() else [sys.executable, *sys.orig_argv[1:]])


@server.command()
@config_option
@click.option("--wait", "wait_s", type=int, default=60, show_default=True, help="Seconds until it must be open again.")
@json_option
def restart(path: Path, wait_s: int, as_json: bool) -> None:
    """Start the running exchange anew, with its new program and configuration; its ports stay open all the while."""
    folder = load_config(path).server.data_dir
    before = running(folder)
    if before is None:
        raise ClaimError(f"no exchange runs on {folder}", fix=f"start it: twinlock server run --config {path}")
    os.kill(before.pid, signal.SIGHUP)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        state = running(folder)
        if state is not None and state.open and state.start > before.start:
            answer({"pid": state.pid}, f"open again, process {state.pid}", as_json=as_json)
            return
        time.sleep(0.1)
    raise ClaimError("the exchange did not come back in time", fix="look at its log; it may have refused to restart")


@server.command()
@config_option
@click.argument("target", type=click.Path(path_type=Path))
@json_option
def backup(path: Path, target: Path, as_json: bool) -> None:
    """Save database, signing key and certificate into the new folder TARGET, while the exchange runs."""
    settings = load_config(path).server
    files = list(asyncio.run(backups.backup(settings.database_url, settings.data_dir, target)))
    answer({"files": files}, "\n".join(map(str, files)), as_json=as_json)


@server.command()
@config_option
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option
def restore(path: Path, source: Path, as_json: bool) -> None:
    """Put the backup in the folder SOURCE into an empty data directory, and into the empty database of `db_url`."""
    settings = load_config(path).server
    files = list(asyncio.run(backups.restore(source, settings.data_dir, settings.db_url)))
    answer({"files": files}, "\n".join(map(str, files)), as_json=as_json)


def _processors() -> list[structlog.typing.Processor]:
    """Colours for people, JSON lines for programs."""
    terminal = sys.stdout.isatty()
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
    ]


async def _run(config: Config, path: Path) -> list[tuple[str, int]]:
    """Run until told otherwise; what is to be kept open for the next program, or nothing."""
    stop, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    sockets, start = inherited(os.environ, os.getpid()), SystemClock().now_ms()
    with claimed(config.server.data_dir) as claim:
        claim.tell(State(os.getpid(), start))
        async with Server(config, sockets=sockets, pages=pages()) as exchange:
            settled()
            claim.tell(State(os.getpid(), start, open=True, ports=exchange.ports))
            click.echo(f"listening on {config.server.address[0]}:{exchange.port}, certificate {exchange.certificate}")
            return exchange.keep_sockets() if await _until(exchange, stop, again, path) else []


async def _until(exchange: Server, stop: asyncio.Event, again: asyncio.Event, path: Path) -> bool:
    """Wait for a signal or a failure. True if the exchange is to be started anew."""
    failed = asyncio.create_task(exchange.wait())
    stopped = asyncio.create_task(stop.wait())
    try:
        while True:
            asked = asyncio.create_task(again.wait())
            await asyncio.wait((failed, stopped, asked), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if failed.done():
                failed.result()
            if failed.done() or stopped.done():
                return False
            again.clear()
            if await _restartable(path):
                return True
    finally:
        failed.cancel()
        stopped.cancel()


async def _restartable(path: Path) -> bool:
    """Whether the program on disk takes the configuration on disk; if not, the old one goes on."""
    command = (sys.executable, "-m", "twinlock.cli.main", "server", "check", "--config", str(path))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        log.error("restart refused", reason=said.decode(errors="replace").strip())
    return process.returncode == 0


server.add_command(init)
server.add_command(admin)
