"""The exchange server is killed at each step of a match.

In the first act it comes back: the match goes on where it was, and the server's books are settled. In the second act it
is gone for good: with both contracts on chain the swap completes without it, before that everybody gets back what was
locked. The client whose turn it is dies at that step too, and is started again when the server is dead.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.scenes.mortal import Part
from tests.e2e.scenes.mortals import Mortal, ended, mortals
from tests.e2e.scenes.power import Power
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.swap import Party
from twinlock.simnet.clients import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER


class Step(NamedTuple):
    """Where the server dies: `who` kills itself there. alone: how each side ends when the server never comes back."""

    who: Party
    part: Part
    alone: tuple[str, str]
    fates: tuple[Fate, Fate]


GONE, BACK, PAID = Fate.ABSENT, Fate.REFUNDED, Fate.REDEEMED
STEPS = {
    "after_the_match": Step(MAKER, Part(die_before="store contract"), ("void", "void"), (GONE, GONE)),
    "after_the_makers_contract": Step(TAKER, Part(die_before="store contract"), ("refunded", "void"), (BACK, GONE)),
    "after_the_takers_untold_contract": Step(
        TAKER, Part(die_after="send contract"), ("refunded", "refunded"), (BACK, BACK)
    ),
    "after_the_takers_contract": Step(MAKER, Part(die_before="store redemption"), ("swapped", "swapped"), (PAID, PAID)),
    "after_the_makers_redemption": Step(
        TAKER, Part(die_before="store redemption"), ("swapped", "swapped"), (PAID, PAID)
    ),
}


async def tell(stage: Stage, name: str, power: Power) -> None:
    step, server = STEPS[name], stage.exchange.server
    players = await mortals(stage, f"{name}-maker", f"{name}-taker")

    scene = await up_to(stage, players, step)
    await power.cut(server)
    await players[step.who].revive()
    await power.back(server)
    await assert_ended(scene, ("swapped", "swapped"), (PAID, PAID))
    assert await settled(stage, scene.match_id)

    scene = await up_to(stage, players, step)
    await power.cut(server)
    await players[step.who].revive()
    if step.alone != ("swapped", "swapped"):
        await stage.calendar.passed(TAKER)
        await stage.calendar.passed(MAKER)
    await assert_ended(scene, step.alone, step.fates)


async def up_to(stage: Stage, players: list[Mortal], step: Step) -> Scene:
    """A new match of the two, which has come to the step."""
    victim = players[step.who]
    await victim.become(step.part)
    maker, taker = players
    scene = Scene(stage, maker, taker)
    await scene.match()
    await victim.died()
    return scene


async def assert_ended(scene: Scene, outcomes: tuple[str, str], fates: tuple[Fate, Fate]) -> None:
    for party in Party:
        assert await ended(scene, party) == outcomes[party]
    for client in (scene.maker, scene.taker):
        assert isinstance(client, Mortal)
        client.assert_nothing_sent_twice()
    await scene.assert_books({party: fates[party] for party in Party})


async def settled(stage: Stage, match_id: str) -> bool:
    """Whether the server counts the match as over, and holds it against nobody."""

    def over() -> bool:
        with closing(sqlite3.connect(f"file:{stage.exchange.folder}/server/server.db?mode=ro", uri=True)) as database:
            query = "select active, status from matches where match_id = ?"
            row = database.execute(query, [bytes.fromhex(match_id)]).fetchone()
            return row is not None and not row[0]

    async with asyncio.timeout(PATIENCE):
        await stage.until(over)
    outcomes = [each for listed in stage.outcomes(bytes.fromhex(match_id)).values() for each in listed]
    return [outcome.name for outcome in outcomes] == ["SWAP_SUCCESS", "SWAP_SUCCESS"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> AsyncIterator[Theatre]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    names = wanted(request, __name__, STEPS)
    power = Power(len(names))
    stories: dict[str, Story] = {name: partial(tell, power=power) for name in names}
    async with playing(tmp_path_factory.mktemp("server"), stories) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STEPS)
async def test_the_server_dies(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
