"""`twinlock client`: wallets, bonds, orders and swaps from the command line.

Commands that trade talk to the running daemon (`twinlock client run`), because an order needs somebody who is there
when its epoch closes. Commands that only look use the daemon too, or start a trader for the moment.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog
import uvloop

from twinlock.cli.accounts import account, bond
from twinlock.cli.configs import check_filled_in, config_group, write_template
from twinlock.cli.examples import ExampledGroup
from twinlock.cli.keys import api, completion, key, page
from twinlock.cli.pasts import evidence, history, swap
from twinlock.cli.pinned import pin
from twinlock.cli.recovery import recover
from twinlock.cli.seeds import HELP, SeedSource, seed_options
from twinlock.cli.setting import Setting, ask, config_option, opened, pass_setting, password_option
from twinlock.cli.showing import table, until_text
from twinlock.cli.stores import store
from twinlock.cli.towers import tower
from twinlock.cli.trading import condition, market, order
from twinlock.cli.wallet import wallet
from twinlock.client.control import views
from twinlock.client.control.serve import serving
from twinlock.client.events import Event
from twinlock.client.seed import LENGTHS, fresh
from twinlock.client.trader import initialize
from twinlock.seams import SystemEntropy
from twinlock.web.trader import pages

EXAMPLES = """
\b
Examples:
  twinlock client --config trader.toml init
  twinlock client --config trader.toml run
  twinlock client --config trader.toml status
  twinlock client --config trader.toml page
  twinlock client --config trader.toml store backup /media/usb/
  twinlock client api > client-api.json
  eval "$(twinlock client completion bash)"
  twinlock client --config trader.toml wallet address btc
  twinlock client --config trader.toml bond post btc
  twinlock client --config trader.toml order limit ltc_btc sell 0.5 0.0025

\b
Exit status:
  0  done
  1  refused; the message says why, and what to do
  2  the command line is wrong
  3  no answer from a server, a chain or the daemon
  4  a wrong password, or a key that does not allow it
  5  the store is in use, damaged or of a newer version
  6  not enough funds
 70  a defect of Twinlock
"""


INIT_EXAMPLES = """
\b
Examples:
  twinlock client --config trader.toml init
  twinlock client --config trader.toml init --length 24 --with-passphrase
  twinlock client --config trader.toml init --restore
  twinlock client --config trader.toml init --words-file words.txt --passphrase-file passphrase.txt
"""


@click.group(cls=ExampledGroup, epilog=EXAMPLES)
@config_option
@password_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: atoms, message-rates, hex IDs.")
@click.pass_context
def client(context: click.Context, config: Path, password_file: Path | None, as_json: bool) -> None:
    """Trade: wallets, bonds, orders and swaps."""
    context.obj = Setting(config, password_file, as_json)
    if context.invoked_subcommand != "run":  # Whose log is for those who keep it; here a person waits for an answer.
        before = structlog.get_config()["wrapper_class"]
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        context.call_on_close(lambda: structlog.configure(wrapper_class=before))


@client.command(epilog=INIT_EXAMPLES + HELP)
@click.option(
    "--length", type=click.Choice([str(each) for each in LENGTHS]), default="12", show_default=True, help="New words."
)
@click.option("--restore", is_flag=True, help="Ask for the words of a seed to restore.")
@seed_options
@pass_setting
def init(setting: Setting, /, length: str, *, restore: bool, **given: Any) -> None:
    """Make the encrypted store with a new seed, or with one to restore; without a configuration, write one first.

    The file that is written explains itself; look through it before you go on. A seed that has traded is better
    brought back by `recover`, which also finds its accounts, bonds and swaps.
    """
    if not setting.path.exists():
        write_template(setting.path)
        click.echo(f"{setting.path} is written. Fill in your servers, then run this again.", err=True)
        return
    config, source = setting.config(), SeedSource(**given)
    check_filled_in(config)
    phrase = source.phrase(ask=restore)
    restored = phrase is not None
    phrase = phrase or fresh(SystemEntropy(), int(length), source.passphrase(confirm=True))
    initialize(config, setting.password(confirm=True), entropy=SystemEntropy(), phrase=phrase)
    told = {"restored": restored, "words": "" if restored else phrase.words, "passphrase": bool(phrase.passphrase)}
    if setting.as_json:
        click.echo(msgspec.json.encode(told))
        return
    if restored:
        click.echo("The seed is restored.", err=True)
    else:
        click.echo("Write these words down. Whoever has them has the coins:", err=True)
        click.echo(phrase.words)
    if phrase.passphrase:
        click.echo("The passphrase belongs to the seed: without it, the words open another, empty wallet.", err=True)


@client.command()
@pass_setting
def run(setting: Setting) -> None:
    """Stay up: answer the servers, settle every swap, serve the control interface."""
    uvloop.run(_run(setting))


async def _run(setting: Setting) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    entropy = SystemEntropy()
    async with await opened(setting, entropy) as trader:
        events = trader.events()
        async with serving(trader, entropy, pages()) as address:
            _say(setting, {"event": "ready", "control": address.url, "pid": address.pid})
            printing = asyncio.create_task(_print_events(setting, events))
            await stop.wait()
            printing.cancel()
            await asyncio.gather(printing, return_exceptions=True)


async def _print_events(setting: Setting, events: AsyncIterator[Event]) -> None:
    async for event in events:
        _say(setting, event)


def _say(setting: Setting, event: Any) -> None:
    line = msgspec.json.encode(event)
    if not setting.as_json:
        members = msgspec.json.decode(line)
        name = members.pop("event")
        line = f"{name}: {' '.join(f'{key}={value}' for key, value in members.items() if value)}".encode()
    click.echo(line)
    sys.stdout.flush()


@client.command()
@pass_setting
def status(setting: Setting) -> None:
    """Servers, account, tier, and until when it is safe to close."""
    found = ask(setting, lambda remote: remote.get("/status", views.StatusView))
    rows = [[venue.host, str(venue.connected), venue.account_id[:16], str(venue.tier)] for venue in found.venues]
    if not setting.as_json:
        click.echo(f"Swaps under way: {found.running_swaps}. Safe to close: {until_text(found.safe_until)}.")
    setting.show(found, lambda: table(["server", "connected", "account", "tier"], rows))


client.add_command(account)
client.add_command(api)
client.add_command(bond)
client.add_command(completion)
client.add_command(condition)
client.add_command(config_group)
client.add_command(evidence)
client.add_command(history)
client.add_command(key)
client.add_command(market)
client.add_command(order)
client.add_command(page)
client.add_command(pin)
client.add_command(recover)
client.add_command(store)
client.add_command(swap)
client.add_command(tower)
client.add_command(wallet)
