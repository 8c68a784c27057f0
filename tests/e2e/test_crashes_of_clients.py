"""kill -9 of the client right before and right after its writes and broadcasts, on real nodes.

One swap, refund or bond lives through a death at each of these crossings, one after another, and ends well all the
same: the books are right to the atom, and no coin was spent by two different transactions. The other trader lives in
this process. `test_crashes_everywhere` gives every crossing that there is a swap of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from tests.e2e.scenes.mortal import Part
from tests.e2e.scenes.mortals import HEALTHY, Mortal, ended, mortal
from tests.e2e.scenes.players import Withheld
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.client.control.requests import PostBondRequest
from twinlock.client.control.views import BondView
from twinlock.client.errors import ClientError
from twinlock.protocol.swap import Party
from twinlock.simnet.processes import ProcessError

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER

RUN_OUT_MS = 900_000
"""Of a clock for which a bond of a test chain has run out, but is not yet to be given back by its chain."""

Deaths = Sequence[Part]


def around(*papers: str, like: Part = HEALTHY) -> Deaths:
    """Before and after each is stored, before and after each is sent, in the order in which that happens."""
    found: list[Part] = []
    for paper in papers:
        for verb in ("store", "send"):
            crossing = f"{verb} {paper}"
            found += [replace(like, die_before=crossing), replace(like, die_after=crossing)]
    return found


async def die_all(victim: Mortal, deaths: Deaths) -> None:
    """It plays the first part already."""
    for part in (*deaths[1:], HEALTHY):
        await victim.revive(part)


async def swaps(stage: Stage, name: str, victim: Party) -> None:
    deaths = around("contract", "redemption")
    async with stage.rogue(f"{name}-other") as other:
        client = await mortal(stage, f"{name}-mortal")
        await client.become(deaths[0])
        scene = Scene(stage, *((client, other) if victim is MAKER else (other, client)))
        await scene.match()
        await die_all(client, deaths)
        for party in Party:
            assert await ended(scene, party) == "swapped"
        await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})
        client.assert_nothing_sent_twice()


async def refunds(stage: Stage, name: str, victim: Party, withheld: Withheld) -> None:
    deaths = around("refund")
    async with stage.rogue(f"{name}-other", withheld) as other:
        client = await mortal(stage, f"{name}-mortal")
        await client.become(deaths[0])
        scene = Scene(stage, *((client, other) if victim is MAKER else (other, client)))
        await scene.match()
        await scene.step(victim, "swap_confirmed")
        await stage.calendar.passed(TAKER)
        if victim is MAKER:
            await stage.calendar.passed(MAKER)
        await die_all(client, deaths)
        assert await ended(scene, victim) == "refunded"
        if victim is TAKER:
            await stage.calendar.passed(MAKER)
        await ended(scene, victim.other)
        fates = {MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT if victim is MAKER else Fate.REFUNDED}
        await scene.assert_books(fates)
        client.assert_nothing_sent_twice()


async def bonds(stage: Stage, name: str) -> None:
    """A second bond; what was not stored when the client died is asked for again."""
    deaths = around("bond", like=Part(since="bond"))
    client = await mortal(stage, name)
    before = await client.totals()
    for part in deaths[:2]:
        await client.become(part)
        with suppress(httpx.HTTPError, ClientError, ProcessError):
            await client.ask("/bonds", BondView, PostBondRequest(asset="btc"))
        await client.died()
    client.part = deaths[2]
    await client.start()
    await die_all(client, deaths[2:])
    await client.until_venue(lambda venue: venue.tier == 2)
    await client.until_settled()
    client.assert_nothing_sent_twice()
    book = stage.books["btc"]
    await book.refresh()
    *_, last = client.sent()
    assert await client.totals() == before | {"btc": before["btc"] - book.fee(last.txid)}
    assert (await client.wallets())["btc"].bonded == 2 * stage.exchange.plan.bond_amount


async def bond_refunds(stage: Stage, name: str) -> None:
    """Its clock is ahead, so that its first bond has run out and another is there; then the chain passes its lock."""
    late = Part(since="bond", skew_ms=RUN_OUT_MS)
    deaths = around("bond refund", like=late)
    client = await mortal(stage, name)
    await client.become(late)
    await client.until_venue(lambda venue: venue.tier == 2)
    await client.until_settled()
    before, sent = await client.totals(), len(client.sent())
    await client.become(deaths[0])
    await stage.calendar.passed(TAKER)
    await stage.calendar.passed(MAKER)
    await die_all(client, deaths)

    async def refunded() -> bool:
        return "refunded" in {bond.state for bond in await client.ask("/bonds", list[BondView])}

    await stage.patiently(refunded)
    assert await refunded(), "the bond has not come back"
    await client.until_settled()
    (refund,) = client.sent()[sent:]
    book = stage.books["btc"]
    await book.refresh()
    assert await client.totals() == before | {"btc": before["btc"] - book.fee(refund.txid)}
    assert (await client.wallets())["btc"].bonded == stage.exchange.plan.bond_amount
    client.assert_nothing_sent_twice()


STORIES: dict[str, Story] = {
    "maker_swaps": partial(swaps, victim=MAKER),
    "taker_swaps": partial(swaps, victim=TAKER),
    "maker_refunds": partial(refunds, victim=MAKER, withheld="contract"),
    "taker_refunds": partial(refunds, victim=TAKER, withheld="redeem"),
    "bonds": bonds,
    "bond_refunds": bond_refunds,
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
    async with playing(tmp_path_factory.mktemp("crashes"), {name: STORIES[name] for name in names}) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STORIES)
async def test_death_at_the_crossings_of(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
