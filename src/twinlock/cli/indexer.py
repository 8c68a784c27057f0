"""`twinlock indexer`: run and look after an Electrum server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog
import uvloop
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from twinlock.cli import descriptors
from twinlock.cli.indexer_settings import RPC, environment, load_settings, settings
from twinlock.cli.indexer_upkeep import COMMANDS
from twinlock.cli.libraries import adopt_logs
from twinlock.electrum.framing import LineDecoder, decode_replies, encode_request
from twinlock.indexer.controller import serve
from twinlock.indexer.env import SETTINGS, Env, Service, make_env, unused
from twinlock.indexer.memory import give_back_early
from twinlock.indexer.progress import DONE, Progress, Show
from twinlock.seams import SystemClock, SystemEntropy

log = structlog.get_logger("indexer")


@click.group()
def indexer() -> None:
    """The Electrum server: lets light wallets see one chain."""


for _command in COMMANDS:
    indexer.add_command(_command)


@indexer.command()
@settings
def run(config: Path | None, **flags: Any) -> None:
    """Index one chain and serve it. Settings: file, then environment, then flags."""
    _log_to_stderr("info")
    env, _ = environment(config, flags)
    _log_to_stderr(env.log_level)
    for name, why in unused(os.environ).items():
        log.info("a setting of the environment is not used", name=name, reason=why)
    try:
        uvloop.run(_run(env))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


@indexer.group("config")
def config_group() -> None:
    """What is set, and where."""


@config_group.command()
@settings
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def show(config: Path | None, origin: bool, **flags: Any) -> None:
    """Print every setting."""
    values, origins = load_settings(config, flags)
    env = make_env({"data_dir": Path(), **values})
    for setting in SETTINGS:
        where = f"    # {origins.get(setting.field, 'default')}" if origin else ""
        click.echo(_toml_line(setting.field, getattr(env, setting.field)) + where)


def _toml_line(name: str, value: Any) -> str:
    """As a settings file may say it; what has no value is commented out."""
    if value is None:
        return f"# {name} ="
    if isinstance(value, tuple):
        return f"{name} = {json.dumps([str(item) for item in value])}"
    return f"{name} = {json.dumps(value if isinstance(value, int) else _hide(str(value)))}"


def _hide(text: str) -> str:
    """URLs, with commas between them, without their passwords."""
    return ",".join(re.sub(r"://.*@", "://***@", url) for url in text.split(","))


async def _run(env: Env) -> None:
    descriptors.take_all()
    give_back_early()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(height: int) -> None:
        addresses = [str(service) for service in env.services]
        if sys.stdout.isatty():
            text = f"Serving {env.coin} {env.network} at height {height} on {', '.join(addresses)}"
        else:
            event = {"event": "ready", "coin": env.coin, "network": env.network, "height": height, "listen": addresses}
            text = json.dumps(event)
        click.echo(text)
        sys.stdout.flush()
        _tell_systemd(b"READY=1")

    with _Bar() if sys.stderr.isatty() else nullcontext() as show:
        await serve(env, SystemClock(), SystemEntropy(), ready, stop, show)


class _Bar:
    """Shows the progress of a first sync to a person."""

    def __init__(self) -> None:
        self._bar = Bars(TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True))

    def __enter__(self) -> Show:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, progress: Progress) -> None:
        if not progress.phase:
            return
        if not self._bar.tasks:
            self._bar.add_task("", total=1)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=progress.text(), completed=progress.part)
        if progress.phase == DONE:
            self._bar.stop()


def _tell_systemd(text: bytes) -> None:
    """Readiness, where a service manager waits for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text, "\0" + address[1:] if address.startswith("@") else address)


@indexer.command(context_settings={"ignore_unknown_options": True})
@click.option("--rpc", default=RPC, show_default=True, help="The operator's door of the running server.")
@click.argument("command")
@click.argument("arguments", nargs=-1)
def rpc(rpc: str, command: str, arguments: tuple[str, ...]) -> None:
    """Give a running server a command: getinfo, sessions, groups, disconnect, log, peers, add_peer, ban, unban,
    listbanned, daemon_url, query, reorg, stop.
    """
    service = Service.parse(rpc)
    values = [int(text) if text.isdigit() and command != "query" else text for text in arguments]
    try:
        with socket.create_connection((service.host, service.port), timeout=60) as connection:
            connection.sendall(encode_request(1, command, values))
            decoder = LineDecoder(1 << 28)
            lines: list[bytes] = []
            while not lines:
                data = connection.recv(1 << 20)
                if not data:
                    raise click.ClickException("the server closed the connection")
                lines = decoder.feed(data)
    except OSError as error:
        raise click.ClickException(f"no indexer answers at {service}: {error}") from error
    (reply,) = decode_replies(lines[0])
    if getattr(reply, "error", None):
        raise click.ClickException(reply.error.message)  # type: ignore[union-attr]
    click.echo(json.dumps(msgspec.json.decode(reply.result), indent=2))  # type: ignore[union-attr]


def _log_to_stderr(level: str) -> None:
    shape = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            shape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    adopt_logs()
