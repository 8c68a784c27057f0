"""Every crossing that a swap has, on real nodes, one swap for each: the client is killed there by itself.

A crossing is just before or just after a write of the store or a broadcast; they are counted from the match until the
swap is closed, and the stories go on until a swap is closed before the crossing that it was to die at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.scenes.mortal import Part
from tests.e2e.scenes.mortals import Mortal, ended, fates_on_chain, met, mortal
from tests.e2e.scenes.players import Rogue
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import PLAN, Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e, pytest.mark.soak]

LANES = 3
"""Clients that die side by side, each at every third crossing."""

TURNS = 6
"""Swaps of one pair: bonds of test chains run out after some minutes, and their renewal would cost fees."""

MOST = 200
"""Crossings that no swap has."""

NAMED = {
    f"{when} {verb} {what}"
    for when in ("before", "after")
    for verb in ("store", "send")
    for what in ("contract", "redemption")
}
"""Crossings at which some client must have died."""

PATIENT = replace(PLAN, broadcast_timeout_ms=30_000)


async def every_crossing(stage: Stage, name: str, victim: Party) -> None:
    died: list[str] = []

    async def lane(first: int) -> None:
        turns = range(first, MOST, LANES)
        for start in range(0, len(turns), TURNS):
            if not await pair(turns[start : start + TURNS]):
                return

    async def pair(turns: range) -> bool:
        async with stage.rogue(f"{name}-other-{turns.start}") as other:
            client = await mortal(stage, f"{name}-mortal-{turns.start}")
            for at in turns:
                if not await dies_at(scene_of(stage, victim, client, other), client, victim, at):
                    return False
                died.append(client.crossings()[-1])
            await client.kill()
        return True

    await asyncio.gather(*(lane(first) for first in range(1, LANES + 1)))
    assert set(died) >= NAMED, f"nobody died {sorted(NAMED - set(died))}"


def scene_of(stage: Stage, victim: Party, client: Mortal, other: Rogue) -> Scene:
    return Scene(stage, client, other) if victim is Party.MAKER else Scene(stage, other, client)


async def dies_at(scene: Scene, client: Mortal, victim: Party, at: int) -> bool:
    """A swap in which the client dies at that crossing; False if it ended before."""
    await client.become(Part(die_at=at))
    await met(scene, victim.other)
    ends = asyncio.create_task(ended(scene, victim.other))
    dies = asyncio.create_task(client.died())
    await asyncio.wait([ends, dies], return_when=asyncio.FIRST_COMPLETED)
    if not dies.done():
        await asyncio.wait([dies], timeout=5)  # the victim may be the later one to end
    dead = dies.done()
    dies.cancel()
    if dead:
        await client.revive()
    outcomes = {await ends, await ended(scene, victim)}
    fates = await fates_on_chain(scene)
    swapped = outcomes == {"swapped"} and set(fates.values()) == {Fate.REDEEMED}
    assert swapped or (at < 5 and set(fates.values()) == {Fate.ABSENT}), (at, client.crossings(), outcomes, fates)
    await scene.assert_books(fates)
    client.assert_nothing_sent_twice()
    return dead


STORIES: dict[str, Story] = {
    "maker": partial(every_crossing, victim=Party.MAKER),
    "taker": partial(every_crossing, victim=Party.TAKER),
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> AsyncIterator[Theatre]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    names = wanted(request, __name__, STORIES)
    async with playing(tmp_path_factory.mktemp("everywhere"), {n: STORIES[n] for n in names}, PATIENT) as theatre:
        yield theatre


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", STORIES)
async def test_death_at_every_crossing_of_the(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
