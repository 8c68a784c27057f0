"""`twinlock client recover`: from the words to everything that they own, on an empty disk."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import uvloop
from rich.table import Table

from twinlock.cli.setting import Setting, pass_setting
from twinlock.client.config import ClientConfig
from twinlock.client.events import Event, Notice, SwapStep
from twinlock.client.recovery.rescue import Report, has_seed, prepare, rescue
from twinlock.client.store import SqliteStore
from twinlock.client.trader import Trader
from twinlock.seams import SystemEntropy

INCOMPLETE = 3
"""Exit status when a server or a chain did not answer, so that something may still be missing."""

EXAMPLES = """
\b
Examples:
  twinlock client --config trader.toml recover
  twinlock client --config trader.toml recover --words-file words.txt --file recovery.twinlock
  twinlock client --config trader.toml --json recover --no-wait

Exit status: 0 all is found and no swap is open, 1 refused, 3 a server or chain did not answer.
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--words-file",
    type=click.Path(exists=True, path_type=Path),
    envvar="TWINLOCK_WORDS_FILE",
    help="File with the seed's words; asked for without it where the store is empty.",
)
@click.option("--file", "file", type=click.Path(path_type=Path), help="The recovery file; needed if a server is gone.")
@click.option("--wait/--no-wait", default=True, help="Stay until every swap is finished or refunded.")
@pass_setting
def recover(setting: Setting, words_file: Path | None, file: Path | None, *, wait: bool) -> None:
    """Find accounts, bonds and swaps from the seed, and finish or refund what is in flight.

    Stopping it loses nothing: `twinlock client run` goes on with the same.
    """
    report = uvloop.run(_recover(setting, words_file, file, wait=wait))
    setting.show(report, lambda: _table(report))
    if report.silent:
        sys.exit(INCOMPLETE)


async def _recover(setting: Setting, words_file: Path | None, file: Path | None, *, wait: bool) -> Report:
    config = setting.config()
    password = _prepare(setting, config, words_file, file)
    async with Trader(config, password, entropy=SystemEntropy()) as trader:
        telling = asyncio.create_task(_tell(trader))
        try:
            return await rescue(trader, finish=wait, say=_say)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


def _prepare(setting: Setting, config: ClientConfig, words_file: Path | None, file: Path | None) -> str:
    """Fill the store; returns its password."""
    new = not (config.folder / "client.db").exists()
    words = words_file.read_text() if words_file else ""
    if new and not words:
        words = click.prompt("Words", hide_input=True, err=True)
    password = setting.password(confirm=new)
    store = SqliteStore(config.folder, password, SystemEntropy())
    try:
        if not words and not has_seed(store):
            words = click.prompt("Words", hide_input=True, err=True)
        count = prepare(store, config, words, file)
    finally:
        store.close()
    if file is not None:
        _say(f"{count} records came out of {file}")
    return password


async def _tell(trader: Trader) -> None:
    async for event in trader.events():
        if line := _line(event):
            _say(line)


def _line(event: Event) -> str:
    match event:
        case Notice():
            return event.text
        case SwapStep():
            return f"match {event.match_id[:16]} ({event.role}): {event.step} {event.coin}"
    return ""


def _say(line: str) -> None:
    click.echo(line, err=True)


def _table(report: Report) -> Table:
    table = Table("what", "where", "which", "how it stands", box=None, header_style="bold")
    for account in report.accounts:
        table.add_row("account", account.host, account.account_id[:16], f"key {account.index}")
    for bond in report.bonds:
        table.add_row("bond", bond.host, bond.coin[:16], f"{bond.amount} atoms, {bond.state} until {bond.lock_time}")
    for swap in report.swaps:
        table.add_row("swap", swap.host, swap.match_id[:16], f"{swap.role}, {swap.outcome or swap.status}")
    for loose in report.loose:
        table.add_row("loose", loose.asset, loose.coin[:16], f"{loose.amount} atoms in a script: a swap of the file?")
    for wallet in report.wallets:
        table.add_row("wallet", wallet.asset, "", f"{wallet.total} atoms, {wallet.available} available")
    return table
