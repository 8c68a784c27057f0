"""A story's two players, who enter together and leave when it is over; and stories told once for each side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest
from _pytest.mark.structures import ParameterSet
from tests.e2e.scenes.middleman import Middleman, between
from tests.e2e.scenes.oracle import Oracle, consulted
from tests.e2e.scenes.players import Player, Withheld
from tests.e2e.scenes.scene import Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story

from twinlock.protocol.swap import Party


@dataclass
class Cast:
    """What one story is told with."""

    stage: Stage
    story: str
    maker_sells: bool
    players: AsyncExitStack = field(default_factory=AsyncExitStack)

    def asset(self, payer: Party) -> str:
        """What that side will give."""
        plan = self.stage.exchange.plan
        return plan.base if (payer is Party.MAKER) is self.maker_sells else plan.quote

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


class LiedTo:
    """A client process whose wire to the exchange is in others' hands. As a part it makes that client enter."""

    wire: Middleman

    async def __call__(self, cast: Cast, role: str) -> Player:
        self.wire = await cast.players.enter_async_context(between(cast.stage.exchange))
        daemon = await cast.stage.daemon(f"{cast.story}-{role}", self.wire.host)
        cast.players.push_async_callback(daemon.kill)
        return daemon


class Advised:
    """A client process that hears of fees by way of oracles. As a part it makes that client enter."""

    oracles: dict[str, Oracle]

    async def __call__(self, cast: Cast, role: str) -> Player:
        indexers = cast.stage.exchange.indexers
        self.oracles = {
            symbol: await cast.players.enter_async_context(consulted(indexer.port))
            for symbol, indexer in indexers.items()
        }
        electrum = {symbol: oracle.url for symbol, oracle in self.oracles.items()}
        daemon = await cast.stage.daemon(f"{cast.story}-{role}", electrum=electrum)
        cast.players.push_async_callback(daemon.kill)
        return daemon


SIDES = {"maker_sells": True, "maker_buys": False}


def parameters(plays: Iterable[str], twice: Collection[str]) -> list[ParameterSet]:
    """The stories' names for a test. The usual run tells the plays in `twice` on both sides, the others alternately on
    one of them; their other sides wait for the soak.
    """
    sides, found = list(SIDES), []
    for number, play in enumerate(plays):
        for side in sides:
            usual = play in twice or side == sides[number % len(sides)]
            found.append(pytest.param(f"{play}-{side}", marks=() if usual else pytest.mark.soak))
    return found


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
