"""What commands show and read: tables, coins and markets by their names."""

from __future__ import annotations

from rich.table import Table

from twinlock.chain.coins import Coin, coin
from twinlock.cli.setting import Setting
from twinlock.client.errors import ClientError
from twinlock.protocol.rates import rate_text


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
    """Plain columns."""
    found = Table(*columns, box=None, header_style="bold")
    for row in rows:
        found.add_row(*row)
    return found
