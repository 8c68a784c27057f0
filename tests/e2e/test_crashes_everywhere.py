"""Every crossing that a swap has, on real nodes, one swap for each: the client is killed there by itself.

A crossing is just before or just after a write of the store or a broadcast; they are counted from the match until the
swap is closed. The first ones, which every swap has, are a story each, so that one can be told alone by its number;
`later` goes on from there until a swap is closed before the crossing that it was to die at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.scenes.mortal import Part
from tests.e2e.scenes.mortals import Mortal, ended, fates_on_chain, met, mortal
from tests.e2e.scenes.players import Rogue
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e, pytest.mark.soak]

FEWEST = 48
"""Crossings that every swap has."""

UNANSWERED = 4
"""Those before the client has answered that it was matched; its order is then as good as gone."""

PAIRS = 6
"""Clients that die side by side."""

YOUNG_S = 240
"""Seconds that a pair trades: bonds of test chains run out after some minutes, and their renewal would cost fees."""


BLAMED = {Party.MAKER: Outcome.NO_SWAP_AS_MAKER, Party.TAKER: Outcome.NO_ADDRESS_AS_TAKER}
"""What the exchange holds against a side that did not answer."""


@dataclass
class Pair:
    """Two traders who meet in one swap after another. since: s of the exchange's clock."""

    client: Mortal
    other: Rogue
    since: float
    leaving: AsyncExitStack


class Pairs:
    """Lends a pair to one story at a time: a new one costs more than a swap."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(PAIRS)
        self._free: list[Pair] = []
        self._made = 0

    @asynccontextmanager
    async def lent(self, stage: Stage) -> AsyncIterator[Pair]:
        """Whoever comes to grief in a story is in no other."""
        async with self._turns:
            pair = await self._young(stage)
            try:
                yield pair
            except BaseException:
                await pair.leaving.aclose()
                raise
            self._free.append(pair)

    async def leave(self) -> None:
        for pair in self._free:
            await pair.leaving.aclose()
        self._free.clear()

    async def _young(self, stage: Stage) -> Pair:
        now = stage.exchange.clock.monotonic()
        while self._free:
            pair = self._free.pop()
            if now - pair.since < YOUNG_S:
                return pair
            await pair.leaving.aclose()
        self._made = number = self._made + 1
        async with AsyncExitStack() as entering:
            other = await entering.enter_async_context(stage.rogue(f"other-{number}"))
            client = await mortal(stage, f"mortal-{number}")
            entering.push_async_callback(client.kill)
            return Pair(client, other, now, entering.pop_all())


async def crossing(stage: Stage, _name: str, pairs: Pairs, victim: Party, at: int) -> None:
    assert await dies_at(stage, pairs, victim, at), f"the swap was closed before crossing {at}"


async def later(stage: Stage, _name: str, pairs: Pairs, victim: Party) -> None:
    at = FEWEST + 1
    while await dies_at(stage, pairs, victim, at):
        at += 1


async def dies_at(stage: Stage, pairs: Pairs, victim: Party, at: int) -> bool:
    """A swap in which the client dies at that crossing; False if it was closed before."""
    async with pairs.lent(stage) as pair:
        client, sides = pair.client, (pair.client, pair.other)
        maker, taker = sides if victim is Party.MAKER else sides[::-1]
        scene = Scene(stage, maker, taker, maker_sells=at % 2 == 0)
        client.plays(Part(die_at=at))
        await client.until_venue(lambda venue: venue.connected)
        await met(scene, victim.other)
        dead = not await client.survives()
        died = client.crossings()[-1]
        if dead:
            assert len(client.crossings()) == at
            await client.revive()
        outcomes = {party: await ended(scene, party) for party in Party}
        if outcomes[victim] != "unknown":
            await client.closed()
        fates = await fates_on_chain(scene)
        if at <= UNANSWERED and set(fates.values()) == {Fate.ABSENT}:
            judged = {victim.name.lower(): BLAMED[victim]}
        else:
            told = (victim, at, died, outcomes, fates)
            assert set(outcomes.values()) == {"swapped"} and set(fates.values()) == {Fate.REDEEMED}, told
            judged = {party.name.lower(): Outcome.SWAP_SUCCESS for party in Party}
        await scene.assert_books(fates)
        await scene.assert_outcomes(**judged)
        client.assert_nothing_sent_twice()
        return dead


def stories(pairs: Pairs) -> dict[str, Story]:
    """By role and crossing."""
    found: dict[str, Story] = {}
    for at in range(1, FEWEST + 1):
        found |= {f"{role(party)}-{at}": partial(crossing, pairs=pairs, victim=party, at=at) for party in Party}
    return found | {f"{role(party)}-later": partial(later, pairs=pairs, victim=party) for party in Party}


def role(party: Party) -> str:
    return party.name.lower()


NAMES = [f"{role(party)}-{which}" for party in Party for which in (*range(1, FEWEST + 1), "later")]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> AsyncIterator[Theatre]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    pairs = Pairs()
    told = stories(pairs)
    names = wanted(request, __name__, told)
    async with playing(tmp_path_factory.mktemp("everywhere"), {n: told[n] for n in names}) as theatre:
        try:
            yield theatre
        finally:
            await pairs.leave()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
async def test_death_at_the_crossing(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
