"""`twinlock proof`: one file that proves a swap to anybody."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.table import Table

from twinlock.chain.coins import Coin, coin
from twinlock.cli.setting import Setting, ask, config_option, password_option
from twinlock.client.control.views import ProofView
from twinlock.protocol.proof import ProofError, Statement, verify
from twinlock.protocol.proof.document import read
from twinlock.protocol.proof.verify import LegStatement
from twinlock.protocol.rates import amount_text, rate_text

WRONG_SERVER = 4
"""Exit status when the proof holds, but is about another server than --key says, or has too few confirmations."""

EXAMPLES = """
\b
Examples:
  twinlock proof export --config trader.toml 3f1c swap.proof
  twinlock proof verify swap.proof
  twinlock proof verify --json --depth 6 --key 02ab... swap.proof

Exit status: 0 proven, 1 not a proof, 4 another server's, or too few blocks on top.
"""


@click.group(epilog=EXAMPLES)
def proof() -> None:
    """Prove a swap to anybody, with one file that is verified off line."""


@proof.command(epilog=EXAMPLES)
@config_option
@password_option
@click.option("--role", type=click.Choice(["maker", "taker"]), help="Which side, if both are ours.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("match")
@click.argument("file", type=click.Path(path_type=Path))
def export(
    config: Path, password_file: Path | None, role: str | None, match: str, file: Path, *, as_json: bool
) -> None:
    """Write the proof of MATCH (its ID or the beginning of it) into FILE."""
    setting = Setting(config, password_file, as_json)
    found = ask(setting, lambda remote: remote.get(f"/swaps/{match}/proof", list[ProofView]))
    found = [each for each in found if role in (None, each.role)]
    if len(found) != 1:
        raise click.UsageError("both sides of the match are ours, or none: say --role")
    file.write_text(found[0].document)
    statement = verify(read(file.read_bytes()))
    setting.show(statement, lambda: _table(statement))


@proof.command("verify", epilog=EXAMPLES)
@click.option("--key", default="", help="The public key (hex) that the server must have.")
@click.option("--depth", type=click.IntRange(min=1), default=1, show_default=True, help="Confirmations to be shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
def verify_file(key: str, depth: int, file: Path, *, as_json: bool) -> None:
    """Check the proof in FILE without any network, and say what it proves.

    Compare the blocks' hashes with a source that you trust: no file can show which chain is the best.
    """
    try:
        statement = verify(read(file.read_bytes()))
    except ProofError as error:
        raise click.ClickException(f"{error} [{error.code}]") from error
    if as_json:
        click.echo(msgspec.json.encode(statement))
    else:
        Setting(Path(), None, False).show(statement, lambda: _table(statement))
    legs = [leg for leg in (statement.own, statement.theirs) if leg is not None]
    if key.lower() not in ("", statement.server_key):
        click.echo("The proof is about another server.", err=True)
        sys.exit(WRONG_SERVER)
    if min(leg.confirmations for leg in legs) < depth:
        click.echo(f"Not every transaction has {depth} confirmations.", err=True)
        sys.exit(WRONG_SERVER)


def _table(statement: Statement) -> Table:
    table = Table("what", "proven", box=None, header_style="bold")
    time = datetime.fromtimestamp(statement.time / 1000, UTC).isoformat(timespec="seconds")
    table.add_row("match", statement.match_id)
    table.add_row("outcome", f"{statement.outcome}, as {statement.role}, {statement.side}")
    table.add_row("terms", f"{_terms(statement)}, {time}, {statement.network}")
    table.add_row("account", statement.account_id)
    table.add_row("server", statement.server_key)
    for name, leg in (("paid", statement.own), ("received", statement.theirs)):
        if leg is not None:
            _add_leg(table, name, leg, coin(leg.asset, statement.network))
    return table


def _terms(statement: Statement) -> str:
    """In whole coins, as far as both are known: a match that nobody joined names only the one that was paid."""
    paid = coin(statement.own.asset, statement.network)
    if statement.theirs is None:
        return f"{statement.quantity} at {statement.rate}"
    received = coin(statement.theirs.asset, statement.network)
    base, quote = (paid, received) if statement.side == "sell" else (received, paid)
    rate = rate_text(statement.rate, base.conversion_factor, quote.conversion_factor)
    return f"{amount_text(statement.quantity, base.conversion_factor)} {base.unit} at {rate} {quote.unit}/{base.unit}"


def _add_leg(table: Table, name: str, leg: LegStatement, asset: Coin) -> None:
    amount = f"{amount_text(leg.amount, asset.conversion_factor)} {asset.unit}"
    work = "in merged mining" if leg.work is None else f"{leg.work} hashes"
    table.add_row(name, f"{amount}, {leg.ending}, {leg.confirmations} confirmations, work: {work}")
    table.add_row("  contract", f"{leg.contract_txid} in {leg.contract_block}")
    if leg.spending_txid:
        table.add_row("  spending", f"{leg.spending_txid} in {leg.spending_block}")
