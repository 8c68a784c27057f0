"""Coins and families that other packages bring.

A package declares an entry point of the group ``twinlock.assets`` that names an `Assets` value.
They are looked up once, when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points

from twinlock.chain.coin import Coin
from twinlock.chain.family import Family

GROUP = "twinlock.assets"


@dataclass(frozen=True, slots=True)
class Assets:
    """What a plug-in adds: rows of coins, and by name the families that they need."""

    coins: tuple[Coin, ...] = ()
    families: Mapping[str, Callable[[Coin], Family]] = field(default_factory=dict[str, Callable[[Coin], Family]])


@cache
def plugged_in() -> Assets:
    """Everything that installed plug-ins add, put together."""
    found: list[Assets] = [point.load() for point in entry_points(group=GROUP)]
    return Assets(
        coins=tuple(coin for assets in found for coin in assets.coins),
        families={name: make for assets in found for name, make in assets.families.items()},
    )
