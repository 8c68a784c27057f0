"""What the options of `twinlock client` say, given to every command of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.table import Table

from twinlock.cli.answers import show
from twinlock.client.config import ClientConfig, load
from twinlock.client.control.remote import Remote, daemon, embedded
from twinlock.client.control.serve import find
from twinlock.client.errors import StoreLockedError
from twinlock.client.trader import Trader
from twinlock.seams import Entropy, SystemClock

T = TypeVar("T")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("twinlock.toml"),
    envvar="TWINLOCK_CONFIG",
    help="The client's configuration file.",
)
password_option = click.option(
    "--password-file",
    type=click.Path(exists=True, path_type=Path),
    envvar="TWINLOCK_PASSWORD_FILE",
    help="File with the store's password; asked for without it, where no daemon runs.",
)

PATIENCE_S = 30.0
"""How long the daemon and a command that both want the store wait for each other."""


class Setting:
    """What the group's options say, given to every command."""

    def __init__(self, config: Path, password_file: Path | None, as_json: bool) -> None:
        self.path = config
        self._password_file = password_file
        self.as_json = as_json

    def config(self) -> ClientConfig:
        return load(self.path)

    def password(self, *, confirm: bool = False) -> str:
        """From the file, or asked; TWINLOCK_PASSWORD_FILE names a file too."""
        if self._password_file is not None:
            return self._password_file.read_text().rstrip("\r\n")
        text: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
        return text

    def show(self, value: Any, table: Callable[[], Table]) -> None:
        """The value as JSON, or as a table for people."""
        if self.as_json:
            click.echo(msgspec.json.encode(value))
        else:
            show(table())


pass_setting = click.make_pass_decorator(Setting)


# Asking --------------------------------------------------------------------------------------------------


def tell(setting: Setting, question: Callable[[Remote], Awaitable[T]]) -> T:
    """Of the daemon."""

    async def question_once() -> T:
        async with daemon(setting.config()) as remote:
            return await question(remote)

    return asyncio.run(question_once())


def ask(setting: Setting, question: Callable[[Remote], Awaitable[T]], *, withdraw: bool = False) -> T:
    """Of the daemon, or of a trader started for the moment; that one may pay: a person gave the password."""

    async def question_once() -> T:
        async with _either(setting, withdraw) as remote:
            return await question(remote)

    return asyncio.run(question_once())


@asynccontextmanager
async def _either(setting: Setting, withdraw: bool) -> AsyncIterator[Remote]:
    config = setting.config()
    trader: Trader | None = None
    if find(config.folder) is None:
        own = config
        if withdraw:
            own = msgspec.structs.replace(config, control=msgspec.structs.replace(config.control, allow_withdraw=True))
        try:
            trader = Trader(own, setting.password())
        except StoreLockedError:
            # A daemon that is starting has the store already, and will tell in a moment where it is.
            if not await appeared(config.folder):
                raise
    if trader is None:
        async with daemon(config) as remote:
            yield remote
        return
    async with trader, embedded(trader) as remote:
        yield remote


async def appeared(folder: Path) -> bool:
    """Whether a client that holds the store tells its address within `PATIENCE_S` seconds."""
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE_S
    while find(folder) is None:
        if clock.monotonic() > end:
            return False
        await clock.sleep(0.1)
    return True


async def opened(setting: Setting, entropy: Entropy) -> Trader:
    """The daemon's trader. A command that was asked just before has the store for a moment: it is waited for.

    Raises StoreLockedError at once where another daemon runs.
    """
    clock, config, password = SystemClock(), setting.config(), setting.password()
    end = clock.monotonic() + PATIENCE_S
    while True:
        try:
            return Trader(config, password, entropy=entropy)
        except StoreLockedError as error:
            if find(config.folder) is not None or clock.monotonic() > end:
                raise
            click.echo(f"Waiting: {error}", err=True)
            await clock.sleep(0.5)
