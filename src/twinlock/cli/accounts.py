"""`twinlock client account` and `bond`: who we are at a server, and what the account stands on."""

from __future__ import annotations

import re
import sys
from urllib.parse import quote

import click
from rich.table import Table

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, ask, pass_setting, tell
from twinlock.cli.showing import clock_time, coins_of, table
from twinlock.client.control import requests, views

ACCOUNT_EXAMPLES = """
\b
Examples:
  twinlock client account show
  twinlock client --json account show
  twinlock client account explain
"""

BOND_EXAMPLES = """
\b
Examples:
  twinlock client bond post btc --tier 2
  twinlock client bond list
  twinlock client bond code < code.txt
"""


@click.group(cls=ExampledGroup, epilog=ACCOUNT_EXAMPLES)
def account() -> None:
    """Accounts follow from the seed; the first bond makes one."""


@account.command("explain")
@click.option("--host", default="", help="The server; the first configured one without it.")
@pass_setting
def account_explain(setting: Setting, host: str) -> None:
    """Every point of your score, with the match or order that it came from, signed by the server."""
    path = "/account/explain" + (f"?host={quote(host)}" if host else "")
    found = ask(setting, lambda remote: remote.get(path, views.ExplanationView))
    if not setting.as_json:
        tier = found.bonded_tier - found.penalties
        click.echo(f"score {found.score}, tier {tier}: bonds for {found.bonded_tier}, penalties {found.penalties}")
        if found.cancel_score:
            click.echo(f"of that {found.cancel_score} for cancelling too much")
    rows = [
        [outcome.name, str(outcome.score), "yes" if outcome.counts else "no more", f"{outcome.kind} {outcome.link}"]
        for outcome in found.outcomes
    ]
    setting.show(found, lambda: table(["outcome", "points", "counts", "came from"], rows))


@account.command("show")
@pass_setting
def account_show(setting: Setting) -> None:
    """The account and its tier at every server."""
    found = ask(setting, lambda remote: remote.get("/status", views.StatusView)).venues
    rows = [[row.host, row.account_id, str(row.tier), str(row.connected)] for row in found]
    setting.show(found, lambda: table(["server", "account", "tier", "connected"], rows))


@click.group(cls=ExampledGroup, epilog=BOND_EXAMPLES)
def bond() -> None:
    """Bonds: locked for a time, then returned. They are renewed to keep the tier."""


@bond.command("post")
@click.argument("asset")
@click.option("--tier", type=click.IntRange(1), default=1, show_default=True, help="How many tiers to keep.")
@click.option("--host", default="", help="The server; the first configured one without it.")
@pass_setting
def bond_post(setting: Setting, asset: str, tier: int, host: str) -> None:
    """Post a bond in ASSET and keep that tier. Needs the daemon."""
    wanted = requests.PostBondRequest(asset, tier, host)
    found = tell(setting, lambda remote: remote.post("/bonds", views.BondView, wanted))
    setting.show(found, lambda: _bonds(setting, [found]))


@bond.command("list")
@pass_setting
def bond_list(setting: Setting) -> None:
    """Every bond and its state."""
    found = ask(setting, lambda remote: remote.get("/bonds", list[views.BondView]))
    setting.show(found, lambda: _bonds(setting, found))


@bond.command("code")
@click.option("--host", default="", help="The server; the first configured one without it.")
@pass_setting
def bond_code(setting: Setting, host: str) -> None:
    """Use an operator's prepaid code in place of a bond; it is asked for, or read from standard input."""
    text = click.prompt("Code", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not re.fullmatch("[0-9a-fA-F]{32}", text.strip()):
        raise click.UsageError("a code has 32 hex digits")
    wanted = requests.RedeemCode(text.strip(), host)
    found = tell(setting, lambda remote: remote.post("/bonds/code", views.TierView, wanted))
    setting.show(found, lambda: table(["tier", "given"], [[str(found.tier), str(found.given)]]))


def _bonds(setting: Setting, found: list[views.BondView]) -> Table:
    return table(["server", "coin", "amount", "tiers", "state", "until"], [_bond_row(setting, row) for row in found])


def _bond_row(setting: Setting, row: views.BondView) -> list[str]:
    amount = f"{coins_of(setting, row.asset, row.amount)} {row.asset}" if row.asset else ""
    return [row.host, row.coin, amount, str(row.strength), row.state, clock_time(row.lock_time * 1000)]
