"""Which family serves a coin: the built-in ones, and those that plug-ins bring.

>>> from twinlock.chain.coins import coin
>>> btc = family_of(coin("btc", "mainnet"))
>>> btc.coin_id_text(bytes.fromhex("168f343adf17e0c3a2e88879088717b8ac9347b9660da74bde3e1d1f47949fdf00000001"))
'df9f94471f1d3ede4ba70d66b94793acb81787087988e8a2c3e017df3a348f16:1'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from twinlock.chain.bitcoin import BitcoinFamily
from twinlock.chain.coin import Coin
from twinlock.chain.errors import UnknownAssetError
from twinlock.chain.family import Family
from twinlock.chain.plugins import plugged_in

FAMILIES: Mapping[str, Callable[[Coin], Family]] = MappingProxyType({"bitcoin": BitcoinFamily})
"""The built-in families by the name that `Coin.family` gives."""


def family_of(coin: Coin) -> Family:
    """The family that serves the coin. Raises UnknownAssetError."""
    make = FAMILIES.get(coin.family) or plugged_in().families.get(coin.family)
    if make is None:
        raise UnknownAssetError(f"no family {coin.family!r} for {coin.name}", numbers={"family": coin.family})
    return make(coin)
