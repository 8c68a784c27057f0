"""Fees rise between contract and redemption: the swap costs more, and ends as well as ever.

In some stories blocks fill up while a redemption waits: estimates rise, and no block takes it before it pays what they
say, itself where nodes replace transactions and by a child elsewhere. In others the nodes' mempools refuse cheap
transactions before the redemption, or the refund, is sent at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.scenes.cast import Advised, Cast, Play, both_sides, honest, parameters, withholding
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import PLAN, Stage
from tests.e2e.scenes.steps import assert_swapped, let_in_contract, let_in_everything, rate_waiting, redemption
from tests.e2e.scenes.theatre import Theatre, playing, wanted

from twinlock.client.swapper.escalation import STEPS
from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
PATIENT = replace(PLAN, broadcast_timeout_ms=240_000)
"""The exchange does not give up while stories wait for each other."""

CROWDED = 40
"""Atoms per vbyte that estimates say once blocks are full."""

ABSURD = 500

MINIMUM = 60
"""Atoms per vbyte below which mempools take nothing any more."""


# Full blocks ---------------------------------------------------------------------------------------------------------


def blocks_fill_up_after_the_redemption_of(payer: Party) -> Play:
    """The redemption of that side's contract waits when estimates rise."""

    async def play(cast: Cast) -> None:
        advised = Advised()
        scene = await redeemed(cast, payer, advised)
        advised.oracles[scene.asset(payer)].rate = CROWDED
        await until_rate(scene, payer, CROWDED)
        await let_in_everything(scene)
        await assert_swapped(scene)
        assert await rate_paid(scene, payer) >= CROWDED

    return play


async def no_estimate_makes_a_redemption_cost_more_than_its_budget(cast: Cast) -> None:
    payer = next(party for party in Party if cast.asset(party) == "btc")
    advised = Advised()
    scene = await redeemed(cast, payer, advised)
    first = await rate_waiting(scene, payer)
    advised.oracles["btc"].rate = ABSURD
    await until_rate(scene, payer, first + 1)
    await let_in_everything(scene)
    await assert_swapped(scene)
    assert first < await rate_paid(scene, payer) < ABSURD
    assert await fee_paid(scene, payer) <= scene.amount(payer) * STEPS[0].budget // 100


async def redeemed(cast: Cast, payer: Party, advised: Advised) -> Scene:
    """That side's contract is redeemed by a client with advice on fees; the redemption waits for a block."""
    parts = {payer.other: advised}
    scene = await cast.scene(parts.get(MAKER, honest), parts.get(TAKER, honest))
    await scene.match()
    for party in Party:
        await let_in_contract(scene, party)
    if payer is MAKER:
        cast.stage.mint.let_in_spender(scene.asset(TAKER), scene.contracts[TAKER])
    await redemption(scene, payer)
    return scene


async def until_rate(scene: Scene, payer: Party, rate: int) -> None:
    """Return when what waits to redeem that side's contract pays so many atoms per vbyte, children included."""

    async def enough() -> bool:
        return await rate_waiting(scene, payer) >= rate

    await scene.stage.patiently(enough)
    assert await rate_waiting(scene, payer) >= rate


# A higher minimum ----------------------------------------------------------------------------------------------------

SPIKE = "the mempools' minimum has risen"


async def minimum_rises_before_the_redemptions(cast: Cast) -> None:
    cast.stage.calendar.begin_with(SPIKE, partial(raise_minimum, cast.stage))
    scene = await cast.scene()
    await scene.match()
    await let_in_contract(scene, MAKER)
    await scene.contract(TAKER)
    await scene.maker.kill()
    await let_in_contract(scene, TAKER)
    await scene.step(TAKER, "swap_confirmed")
    await cast.stage.calendar.passed(SPIKE)
    await scene.maker.start()
    await let_in_everything(scene)
    await assert_swapped(scene)
    for party in Party:
        assert await rate_paid(scene, party) >= MINIMUM


async def minimum_rises_before_the_refund(cast: Cast) -> None:
    cast.stage.calendar.begin_with(SPIKE, partial(raise_minimum, cast.stage))
    scene = await cast.scene(taker=withholding("contract"))
    await scene.match()
    await let_in_contract(scene, MAKER)
    await scene.step(MAKER, "swap_confirmed")
    await cast.stage.calendar.passed(SPIKE)
    scene.stage.mint.let_in_spender(scene.asset(MAKER), scene.contracts[MAKER])
    await cast.stage.calendar.passed(MAKER)
    await scene.ended(MAKER, "refunded")
    await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT})
    assert await rate_paid(scene, MAKER) >= MINIMUM


async def raise_minimum(stage: Stage) -> None:
    """Both nodes start again, and relay nothing cheaper."""
    async with stage.mint.closed(*stage.exchange.nodes):
        for node in stage.exchange.nodes.values():
            await node.stop()
            node.extra = (f"-minrelaytxfee={MINIMUM / 100_000:.5f}",)
            await node.start()


# What was paid -------------------------------------------------------------------------------------------------------


async def rate_paid(scene: Scene, payer: Party) -> int:
    """Atoms per vbyte of what spent that side's contract, a child that lifted it included."""
    fee, size = await _paid(scene, payer)
    return fee // size


async def fee_paid(scene: Scene, payer: Party) -> int:
    """Atoms of the same."""
    return (await _paid(scene, payer))[0]


async def _paid(scene: Scene, payer: Party) -> tuple[int, int]:
    book = scene.stage.books[scene.asset(payer)]
    await book.refresh()
    spender = book.spender(scene.contracts[payer])
    assert spender is not None
    family = book.lifted(spender["txid"])
    return sum(book.fee(tx["txid"]) for tx in family), sum(int(tx["vsize"]) for tx in family)


PLAYS: dict[str, Play] = {
    "blocks_fill_up_after_the_makers_redemption": blocks_fill_up_after_the_redemption_of(TAKER),
    "blocks_fill_up_after_the_takers_redemption": blocks_fill_up_after_the_redemption_of(MAKER),
    "no_estimate_costs_more_than_the_budget": no_estimate_makes_a_redemption_cost_more_than_its_budget,
    "minimum_rises_before_the_redemptions": minimum_rises_before_the_redemptions,
    "minimum_rises_before_the_refund": minimum_rises_before_the_refund,
}
TWICE = ("blocks_fill_up_after_the_makers_redemption", "minimum_rises_before_the_redemptions")
STORIES = both_sides(PLAYS)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> AsyncIterator[Theatre]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    stories = {name: STORIES[name] for name in wanted(request, __name__, STORIES)}
    async with playing(tmp_path_factory.mktemp("fees"), stories, PATIENT, picky=True) as theatre:
        yield theatre


@pytest.mark.parametrize("name", parameters(PLAYS, TWICE))
async def test_when_fees_rise(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
