"""`twinlock client swap`, `history` and `evidence`: what happened, and what proves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.paging import page, page_options
from twinlock.cli.setting import Setting, ask, pass_setting, tell
from twinlock.cli.showing import clock_time, priced, table, table_by_server, traded, until_text
from twinlock.client.control import views
from twinlock.client.control.paging import walk
from twinlock.client.control.remote import Remote
from twinlock.client.export import write_csv, write_parquet

SWAP_EXAMPLES = """
\b
Examples:
  twinlock client swap list
  twinlock client --json swap list
"""

HISTORY_EXAMPLES = """
\b
Examples:
  twinlock client history list
  twinlock client history export trades.csv
  twinlock client history export epochs.parquet --what epochs --market ltc_btc --format parquet
  twinlock client history export candles.csv --what candles --market ltc_btc --bin 1h
"""

EVIDENCE_EXAMPLES = """
\b
Examples:
  twinlock client evidence list
  twinlock client evidence show 'exchange.example:7232/ltc_btc/1234' > evidence.json
"""

WRITERS: dict[str, Callable[[Path, Any, type[msgspec.Struct]], None]] = {"csv": write_csv, "parquet": write_parquet}
KINDS: dict[str, type[msgspec.Struct]] = {
    "trades": views.SwapView,
    "epochs": views.EpochView,
    "candles": views.CandleView,
}


@click.group(cls=ExampledGroup, epilog=SWAP_EXAMPLES)
def swap() -> None:
    """Follow the settlement of matches."""


@swap.command("list")
@page_options
@pass_setting
def swap_list(setting: Setting, /, **query: Any) -> None:
    """Matches and how far they are, oldest first: every one that is open, and the newest that are over."""
    _show_swaps(setting, page(setting, "/swaps", views.SwapView, query))


@click.group(cls=ExampledGroup, epilog=HISTORY_EXAMPLES)
def history() -> None:
    """What was traded."""


@history.command("list")
@page_options
@pass_setting
def history_list(setting: Setting, /, **query: Any) -> None:
    """The newest swaps that are over; `history export` has them all."""
    _show_swaps(setting, [row for row in page(setting, "/swaps", views.SwapView, query) if row.outcome])


@history.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--what", type=click.Choice(list(KINDS)), default="trades", show_default=True, help="Rows.")
@click.option("--format", "form", type=click.Choice(list(WRITERS)), default="csv", show_default=True, help="Of FILE.")
@click.option("--market", default="", help="For trades: of this one only.")
@click.option("--host", default="", help="The server; without it every one, of epochs and candles the first.")
@click.option("--bin", "bin_size", default="1h", show_default=True, help="The length of a candle.")
@pass_setting
def history_export(
    setting: Setting, file: Path, *, what: str, form: str, market: str, host: str, bin_size: str
) -> None:
    """Write own trades, the epochs that this client has seen, or candles into FILE. Candles need the daemon."""
    if what != "trades" and not market:
        raise click.UsageError(f"name the market of the {what} with --market")
    paths = {
        "epochs": f"/markets/{market}/epochs?count=10000&host={quote(host)}",
        "candles": f"/markets/{market}/candles?bin={quote(bin_size)}&host={quote(host)}",
    }
    kind = KINDS[what]
    rows: Any
    if what == "trades":
        rows = ask(setting, lambda remote: _every_swap(remote, market, host))
    else:
        question = tell if what == "candles" else ask
        rows = question(setting, lambda remote: remote.get(paths[what], list[kind]))  # type: ignore[valid-type]
    WRITERS[form](file, rows, kind)
    if setting.as_json:
        click.echo(msgspec.json.encode({"file": str(file), "rows": len(rows)}))
    else:
        click.echo(f"{len(rows)} rows are in {file}", err=True)


@click.group(cls=ExampledGroup, epilog=EVIDENCE_EXAMPLES)
def evidence() -> None:
    """What proves that a server cheated, or dropped an order of ours."""


@evidence.command("list")
@pass_setting
def evidence_list(setting: Setting) -> None:
    """Every accusation."""
    found = ask(setting, lambda remote: remote.get("/evidence", list[views.EvidenceView]))
    rows = [[row.name, row.host, clock_time(row.at), row.accusation] for row in found]
    setting.show(found, lambda: table(["evidence", "server", "time", "accusation"], rows))


@evidence.command("show")
@click.argument("name")
@pass_setting
def evidence_show(setting: Setting, name: str) -> None:
    """All of it, as JSON, to be shown to others."""
    found = ask(setting, lambda remote: remote.get(f"/evidence/{name}", views.EvidenceView))
    click.echo(msgspec.json.format(msgspec.json.encode(found)))


async def _every_swap(remote: Remote, market: str, host: str) -> list[views.SwapView]:
    found = [row async for row in walk(remote, "/swaps", views.SwapView, market=market, host=host)]
    return sorted(found, key=lambda row: row.time)


def _show_swaps(setting: Setting, found: list[views.SwapView]) -> None:
    columns = ["match", "market", "role", "quantity", "rate", "status", "matched", "safe to close"]
    rows = ((row.host, _swap_row(setting, row)) for row in found)
    setting.show(found, lambda: table_by_server(setting, columns, rows))


def _swap_row(setting: Setting, row: views.SwapView) -> list[str]:
    quantity, rate = traded(setting, row.market, row.quantity), priced(setting, row.market, row.rate)
    safe = "" if row.outcome else until_text(row.safe_until)
    status = row.outcome or row.status
    return [row.match_id[:16], row.market, row.role, quantity, rate, status, clock_time(row.time), safe]
