"""`twinlock client wallet labels`: names of transactions, addresses and coins."""

from __future__ import annotations

from typing import Any

import click

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, ask, pass_setting
from twinlock.cli.showing import table
from twinlock.client.control import requests

EXAMPLES = """
\b
Examples:
  twinlock client wallet labels set btc TXID rent
  twinlock client wallet labels export btc > labels.jsonl
  twinlock client wallet labels import btc labels.jsonl
"""


@click.group("labels", cls=ExampledGroup, epilog=EXAMPLES)
def labels() -> None:
    """Names of transactions, addresses and coins (BIP 329)."""


@labels.command("set")
@click.argument("symbol")
@click.argument("ref")
@click.argument("text", default="")
@click.option(
    "--type",
    "subject",
    type=click.Choice(["tx", "addr", "output", "input", "pubkey", "xpub"]),
    default="tx",
    help="What REF is.",
)
@pass_setting
def labels_set(setting: Setting, symbol: str, ref: str, text: str, subject: Any) -> None:
    """Name what REF refers to; without TEXT, take the name away."""
    body = requests.LabelRequest(ref, text, subject)
    found = ask(setting, lambda remote: remote.post(f"/wallets/{symbol}/labels", dict[str, str], body))
    setting.show(found, lambda: table(["labels"], [[str(found["labels"].count("\n"))]]))


@labels.command("export")
@click.argument("symbol")
@pass_setting
def labels_export(setting: Setting, symbol: str) -> None:
    """Print every label, one JSON object a line."""
    found = ask(setting, lambda remote: remote.get(f"/wallets/{symbol}/labels", dict[str, str]))
    click.echo(found["labels"], nl=False)


@labels.command("import")
@click.argument("symbol")
@click.argument("file", type=click.File("r"))
@pass_setting
def labels_import(setting: Setting, symbol: str, file: Any) -> None:
    """Take over the labels of a file."""
    body = requests.LabelRequest(labels=file.read())
    found = ask(setting, lambda remote: remote.post(f"/wallets/{symbol}/labels", dict[str, str], body))
    setting.show(found, lambda: table(["labels"], [[str(found["labels"].count("\n"))]]))
