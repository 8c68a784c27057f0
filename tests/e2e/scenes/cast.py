"""A story's two players, who enter together and leave when it is over; and stories told once for each side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

from tests.e2e.scenes.players import Player, Withheld
from tests.e2e.scenes.scene import Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story


@dataclass
class Cast:
    """What one story is told with."""

    stage: Stage
    story: str
    maker_sells: bool
    players: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def scene(self, maker: Part | None = None, taker: Part | None = None) -> Scene:
        """The two traders with money, bonds and accounts; honest clients, unless a part says otherwise."""
        made = await asyncio.gather((maker or honest)(self, "maker"), (taker or honest)(self, "taker"))
        return Scene(self.stage, *made, self.maker_sells)


Part = Callable[[Cast, str], Awaitable[Player]]
"""Makes a player of that role enter."""

Play = Callable[[Cast], Awaitable[None]]


async def honest(cast: Cast, role: str) -> Player:
    """A client process."""
    daemon = await cast.stage.daemon(f"{cast.story}-{role}")
    cast.players.push_async_callback(daemon.kill)
    return daemon


def withholding(*what: Withheld) -> Part:
    """A rogue that keeps something to itself."""

    async def enter(cast: Cast, role: str) -> Player:
        return await cast.players.enter_async_context(cast.stage.rogue(f"{cast.story}-{role}", *what))

    return enter


SIDES = {"maker_sells": True, "maker_buys": False}


def both_sides(plays: Mapping[str, Play]) -> dict[str, Story]:
    """Each play twice: the maker sells the market's base coin, the maker buys it."""
    return {
        f"{name}-{side}": partial(_perform, play=play, maker_sells=maker_sells)
        for name, play in plays.items()
        for side, maker_sells in SIDES.items()
    }


async def _perform(stage: Stage, name: str, *, play: Play, maker_sells: bool) -> None:
    cast = Cast(stage, name, maker_sells)
    async with cast.players:
        await play(cast)
