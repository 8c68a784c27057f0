"""`twinlock client account`: how you stand with a server, and why."""

from __future__ import annotations

from urllib.parse import quote

import click

from twinlock.cli.setting import Setting, ask, pass_setting
from twinlock.cli.showing import table
from twinlock.client.control import views


@click.group()
def account() -> None:
    """How you stand with a server, and why."""


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
