"""`twinlock server`: run an exchange."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog
import uvloop
from rich.markup import escape
from rich.table import Table

from twinlock.chain.coins import Network, coin
from twinlock.cli.answers import answer, json_option, show
from twinlock.cli.libraries import adopt_logs
from twinlock.cli.server_admin import admin
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.server.app import Server
from twinlock.server.config import DEFAULT_PORT, Config, load_config
from twinlock.server.db import backup as backups
from twinlock.server.process import ClaimError, State, become, claimed, inherited, running, settled
from twinlock.server.setup import wizard
from twinlock.server.setup.doctor import Finding, examine
from twinlock.server.setup.wizard import Answers, CoinAnswers
from twinlock.web.operator import pages

log = structlog.get_logger(__name__)

config_option = click.option(
    "--config", "path", type=click.Path(path_type=Path, dir_okay=False), default="server.toml", envvar="TWINLOCK_SERVER"
)


@click.group()
def server() -> None:
    """Run an exchange."""


@server.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="server.toml")
@click.option("--network", type=click.Choice([str(network) for network in Network]), help="Where every asset lives.")
@click.option("--electrum", "indexers", multiple=True, metavar="COIN=URL", help="An indexer of COIN; several stand by.")
@click.option("--market", "markets", multiple=True, metavar="BASE_QUOTE", help="A market, such as ltc_btc.")
@click.option("--price", "prices", multiple=True, metavar="MARKET=PRICE", help="Roughly; sizes the lots.")
@click.option("--listen", help="host:port for clients.")
@click.option("--onion-listen", default="", help="host:port for an onion service on this machine.")
@click.option("--name", "names", multiple=True, help="A name or address that clients type.")
@click.option("--db-url", default="", help="SQLAlchemy URL of PostgreSQL; SQLite without it.")
@click.option("--bond-xpub", "xpubs", multiple=True, metavar="COIN=XPUB", help="Where you are paid in COIN.")
@click.option("--key-password-file", type=click.Path(exists=True, path_type=Path), help="Password of the signing key.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the options, and the defaults for the rest.")
@json_option
def init(path: Path, yes: bool, key_password_file: Path | None, as_json: bool, **given: Any) -> None:
    """Write a whole exchange beside PATH: configuration, signing key, certificate, passwords, systemd unit."""
    answers = _answers(given, ask=not yes)
    password = key_password_file.read_text().rstrip("\r\n") if key_password_file else ""
    if not yes and not password:
        password = click.prompt(
            "Password of the signing key (empty: a random one)",
            default="",
            show_default=False,
            hide_input=True,
            confirmation_prompt=True,
        )
    written = wizard.write_all(path, answers, password, SystemClock(), SystemEntropy())
    lines = (
        *map(str, written.files),
        f"Public key: {written.public_key}",
        "Keep a copy of the signing key and its password elsewhere: accounts belong to this key.",
        f"Next: twinlock server doctor --config {path}, then: twinlock server run --config {path}",
    )
    answer({"files": written.files, "public_key": written.public_key}, "\n".join(lines), as_json=as_json)


def _answers(given: dict[str, Any], *, ask: bool) -> Answers:
    """What the options say, the rest asked for or by default."""

    def settle(value: Any, question: str, default: str) -> Any:
        return value or (click.prompt(question, default=default) if ask else default)

    network = Network(settle(given["network"], "Network (mainnet, testnet, regtest)", "regtest"))
    markets = given["markets"] or tuple(settle(None, "Markets, base_quote, separated by spaces", "ltc_btc").split())
    symbols = dict.fromkeys(symbol for market in markets for symbol in market.split("_", 1))
    indexers, xpubs = _by_coin(given["indexers"]), dict(_pair(text) for text in given["xpubs"])
    coins = []
    for number, symbol in enumerate(symbols):
        name = coin(symbol, network).name
        default = f"tcp://127.0.0.1:{_FIRST_INDEXER_PORT + number * 1_000}"
        servers = indexers.get(symbol) or tuple(settle(None, f"Indexers of {name}, best first", default).split())
        xpub = xpubs.get(symbol, "")
        if ask and not xpub:
            xpub = click.prompt(f"Extended public key you are paid to in {name}", default="", show_default=False)
        coins.append(CoinAnswers(symbol=symbol, electrum=servers, bond_xpub=xpub))
    prices = dict(_pair(text) for text in given["prices"])
    for market in markets if ask else ():
        if market not in prices:
            prices[market] = click.prompt(f"Price in {market}, roughly (it sizes the lots)", default="0.01")
    listen = settle(given["listen"], "Address for clients", f"127.0.0.1:{DEFAULT_PORT}")
    names = given["names"]
    if ask and not names:
        names = tuple(click.prompt("Names that clients type", default="", show_default=False).split())
    return Answers(
        network=network,
        coins=tuple(coins),
        markets=tuple(markets),
        listen=listen,
        names=names,
        onion_listen=given["onion_listen"],
        db_url=given["db_url"],
        prices=prices,
    )


_FIRST_INDEXER_PORT = 50_001


def _by_coin(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for symbol, url in map(_pair, texts):
        found[symbol] = (*found.get(symbol, ()), url)
    return found


def _pair(text: str) -> tuple[str, str]:
    symbol, mark, value = text.partition("=")
    if not mark:
        raise click.BadParameter(f"{text!r} is not COIN=VALUE")
    return symbol, value


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


async def _run(config: Config, path: Path) -> dict[str, int]:
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
            return exchange.keep_sockets() if await _until(exchange, stop, again, path) else {}


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


server.add_command(admin)
