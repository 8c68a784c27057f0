"""What commands show and read: tables, coins and markets by their names."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from twinlock.chain.coins import Coin, coin
from twinlock.cli.setting import Setting
from twinlock.client.errors import ClientError
from twinlock.protocol.rates import AmountError, amount_text, parse_amount, rate_text


def coin_of(setting: Setting, symbol: str) -> Coin:
    """The coin of that symbol on the configured network."""
    return coin(symbol, setting.config().network)


def sides(setting: Setting, name: str) -> tuple[Coin, Coin]:
    """Base and quote coin of a market, from its name."""
    base, separator, quote = name.partition("_")
    if not separator:
        raise ClientError(f"{name} is not the name of a market", fix="write it like ltc_btc")
    return coin_of(setting, base), coin_of(setting, quote)


def rate_of(rate: int, base: Coin, quote: Coin) -> str:
    """A message-rate in whole coins."""
    return rate_text(rate, base.conversion_factor, quote.conversion_factor)


def table(columns: list[str], rows: list[list[str]]) -> Table:
    """Plain columns. What stands in brackets is text, not a style: most of it comes from servers."""
    found = Table(box=None, header_style="bold")
    for name in columns:
        found.add_column(name, overflow="fold")
    for row in rows:
        found.add_row(*(Text(cell) for cell in row))
    return found


def table_by_server(setting: Setting, columns: list[str], rows: Iterable[tuple[str, list[str]]]) -> Table:
    """Plain columns of rows that belong to servers, which are named where there are several."""
    if len(setting.config().servers) < 2:
        return table(columns, [row for _, row in rows])
    return table(["server", *columns], [[host, *row] for host, row in rows])


def some(text: str, coin: Coin) -> int:
    """Atoms of an amount in whole coins. Raises AmountError unless it is more than nothing."""
    atoms = parse_amount(text, coin.conversion_factor)
    if atoms <= 0:
        raise AmountError(f"{text} is no amount to pay", fix="Write it like 0.25.")
    return atoms


def coins_of(setting: Setting, symbol: str, atoms: int) -> str:
    """An amount in whole coins."""
    return amount_text(atoms, coin_of(setting, symbol).conversion_factor)


def traded(setting: Setting, market: str, atoms: int, *, quote: bool = False) -> str:
    """An amount of a market's base coin, or of its quote coin, in whole coins."""
    return amount_text(atoms, sides(setting, market)[quote].conversion_factor)


def priced(setting: Setting, market: str, rate: int) -> str:
    """A message-rate in whole coins; nothing for 0."""
    return rate_of(rate, *sides(setting, market)) if rate else ""


def clock_time(ms: int) -> str:
    """UTC, to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z" if ms else ""


def until_text(second: int | None) -> str:
    """Until when something is safe."""
    return "as long as you like" if second is None else f"until {clock_time(second * 1000)}"
