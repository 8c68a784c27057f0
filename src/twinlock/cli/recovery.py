"""`twinlock client recover`: from the words to everything that they own, on an empty disk."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.table import Table

from twinlock.cli.seeds import HELP, SeedSource, seed_options
from twinlock.cli.setting import Setting, pass_setting
from twinlock.cli.showing import clock_time, coins_of, table
from twinlock.client.config import ClientConfig
from twinlock.client.control.views import BondView, WalletView
from twinlock.client.events import Event, Notice, SwapStep
from twinlock.client.recovery.rescue import Report, prepare, rescue
from twinlock.client.seed import stored
from twinlock.client.store import SqliteStore
from twinlock.client.store.sqlite import forget_store, has_store
from twinlock.client.trader import Trader
from twinlock.seams import SystemEntropy

NOTHING = 4
"""Exit status when everybody answered and nothing belongs to the seed: most likely it is not the one that was meant."""

INCOMPLETE = 3
"""Exit status when a server or a chain did not answer, so that something may still be missing."""

EXAMPLES = """
\b
Examples:
  twinlock client --config trader.toml recover
  twinlock client --config trader.toml recover --words-file words.txt --file recovery.twinlock
  twinlock client --config trader.toml --json recover --no-wait

Exit status: 0 all is found and no swap is open, 1 refused, 3 a server or chain did not answer,
4 everybody answered, and nothing belongs to these words with this passphrase.
"""


@click.command(epilog=EXAMPLES + HELP)
@seed_options
@click.option(
    "--file", "file", type=click.Path(path_type=Path), help="The recovery file; the configured one where it is there."
)
@click.option("--wait/--no-wait", default=True, help="Stay until every swap is finished or refunded.")
@pass_setting
def recover(setting: Setting, /, file: Path | None, *, wait: bool, **given: Any) -> None:
    """Find accounts, bonds and swaps from the seed, and finish or refund what is in flight.

    Stopping it loses nothing: `twinlock client run` goes on with the same. The words are asked for where the store
    is empty; where nothing belongs to them, nothing is kept.
    """
    config = setting.config()
    new = not has_store(config.folder)
    report = uvloop.run(_recover(setting, config, SeedSource(**given), file, new=new, wait=wait))
    setting.show(report, lambda: _table(setting, report))
    if report.silent:
        sys.exit(INCOMPLETE)
    if report.empty:
        _say("No account, bond, swap or coin belongs to these words with this passphrase.")
        _say("Compare both: every other passphrase opens another, empty wallet. To begin with it all the same: init.")
        if new:
            forget_store(config.folder)
            config.recovery_path.unlink(missing_ok=True)
        sys.exit(NOTHING)


async def _recover(
    setting: Setting, config: ClientConfig, source: SeedSource, file: Path | None, *, new: bool, wait: bool
) -> Report:
    password = _prepare(setting, config, source, file, new=new)
    async with Trader(config, password, entropy=SystemEntropy()) as trader:
        telling = asyncio.create_task(_tell(trader))
        try:
            return await rescue(trader, finish=wait, say=_say)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


def _prepare(setting: Setting, config: ClientConfig, source: SeedSource, file: Path | None, *, new: bool) -> str:
    """Fill the store; returns its password."""
    phrase = source.phrase(ask=new)
    if file is None and new and config.recovery_path.exists():
        file = config.recovery_path  # Read before anything could write another in its place.
    password = setting.password(confirm=new)
    store = SqliteStore(config.folder, password, SystemEntropy())
    try:
        phrase = phrase or stored(store) or source.phrase(ask=True)
        assert phrase is not None
        count = prepare(store, config, phrase, file)
    except BaseException:
        store.close()
        if new:
            forget_store(config.folder)
        raise
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


def _table(setting: Setting, report: Report) -> Table:
    rows = [["account", each.host, each.account_id[:16], f"key {each.index}"] for each in report.accounts]
    rows += [_bond(setting, each) for each in report.bonds]
    rows += [
        ["swap", each.host, each.match_id[:16], f"{each.role}, {each.outcome or each.status}"] for each in report.swaps
    ]
    rows += [
        ["loose", each.asset, each.coin[:16], f"{each.amount} atoms in a script: a swap of the file?"]
        for each in report.loose
    ]
    rows += [_wallet(setting, each) for each in report.wallets]
    return table(["what", "where", "which", "how it stands"], rows)


def _bond(setting: Setting, bond: BondView) -> list[str]:
    amount, back = coins_of(setting, bond.asset, bond.amount), clock_time(bond.lock_time * 1000)
    return ["bond", bond.host, bond.coin[:16], f"{amount} {bond.asset}, {bond.state}, locked until {back}"]


def _wallet(setting: Setting, wallet: WalletView) -> list[str]:
    total, available = (coins_of(setting, wallet.asset, atoms) for atoms in (wallet.total, wallet.available))
    return ["wallet", wallet.asset, "", f"{total}, {available} available"]
