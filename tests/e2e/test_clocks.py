"""A client's clock is wrong by ten minutes: it trades, settles and refunds as others do, or is told what is wrong.

Only chains say when a contract can be refunded; the clock decides nothing but what is not worth beginning any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.scenes.mortal import Part
from tests.e2e.scenes.mortals import HEALTHY, Mortal, mortal, mortals
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.chain.tx import Tx
from twinlock.client.control.remote import RemoteError
from twinlock.client.control.views import BondView
from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER

ALMOST = 590_000
"""Milliseconds; the exchange takes orders whose time is less than ten minutes from its own."""

TOO_FAR = 610_000

RENEWED = 2
"""The tier while both bonds count."""


async def swaps(stage: Stage, name: str, maker_ms: int) -> None:
    """The two clocks are twenty minutes apart."""
    maker, taker = await mortals(stage, f"{name}-maker", f"{name}-taker")
    await set_wrong(maker, maker_ms)
    await set_wrong(taker, -maker_ms)
    scene = Scene(stage, maker, taker)
    await scene.match()
    await assert_apart(scene, maker_ms)
    for party in Party:
        await scene.ended(party, "swapped")
    await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})


async def assert_apart(scene: Scene, maker_ms: int) -> None:
    """The two date the same match by clocks of which one is so far ahead, the other as far behind."""
    made = [(await scene.player(party).saw("match_made", match_id=scene.match_id))["at"] for party in Party]
    assert abs(made[MAKER] - made[TAKER] - 2 * maker_ms) < ALMOST, "they have the same time"


async def refunds(stage: Stage, name: str, skew_ms: int) -> None:
    """Of a maker whose taker does nothing: not before its chain allows it, and then at once."""
    async with stage.rogue(f"{name}-taker", "contract") as taker:
        maker = await mortal(stage, f"{name}-maker")
        await set_wrong(maker, skew_ms)
        before = len(maker.sent())
        scene = Scene(stage, maker, taker)
        await scene.match()
        await scene.step(MAKER, "swap_confirmed")
        await stage.calendar.passed(TAKER)
        assert not maker.said("swap_step", step="refunded")
        assert not any(crossing.endswith("send refund") for crossing in maker.crossings()), "sent before its time"
        await stage.calendar.passed(MAKER)
        await scene.ended(MAKER, "refunded")
        await scene.ended(TAKER, "void")
        scene.before[MAKER]["btc"] -= await bond_fees(stage, maker, maker.sent()[before:])
        await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT})


async def too_far(stage: Stage, name: str) -> None:
    """An order is refused with the exchange's code for it, and costs nothing; with the right time it is taken."""
    client = await mortal(stage, name)
    for skew_ms in (TOO_FAR, -TOO_FAR):
        await set_wrong(client, skew_ms)
        before = await client.totals()
        with pytest.raises(RemoteError, match="time is too far from the server's") as refusal:
            await client.order("sell", stage.exchange.plan.lot_size, 400_000)
        assert refusal.value.code == "rpc.clock_range"
        await client.until_settled()
        assert await client.totals() == before
    await client.become(HEALTHY)
    order = await client.order("sell", stage.exchange.plan.lot_size, 400_000)
    await client.saw("order_changed", order_id=order.id, status="booked")
    assert await client.totals() == before


async def set_wrong(client: Mortal, skew_ms: int) -> None:
    """It starts again with that clock. One that is ahead renews its bond at once: on test chains terms are short."""
    await client.become(Part(skew_ms=skew_ms))
    if skew_ms > 0:
        await client.until_venue(lambda venue: venue.tier == RENEWED)
    await client.until_settled()


async def bond_fees(stage: Stage, client: Mortal, sent: list[Tx]) -> int:
    """What it paid beside its swap, whose transactions are all on the other chain: its first bond came back."""
    bonds = {"posted", "refunded"}

    async def at_rest() -> bool:
        return {bond.state for bond in await client.ask("/bonds", list[BondView])} <= bonds

    await stage.patiently(at_rest)
    assert await at_rest(), "a bond is still under way"
    await client.until_settled()
    book = stage.books["btc"]
    await book.refresh()
    return sum(book.fee(tx.txid) for tx in sent if book.find(tx.txid) is not None)


STORIES: dict[str, Story] = {
    "maker_ahead_taker_behind": partial(swaps, maker_ms=ALMOST),
    "maker_behind_taker_ahead": partial(swaps, maker_ms=-ALMOST),
    "refund_with_a_clock_ahead": partial(refunds, skew_ms=ALMOST),
    "refund_with_a_clock_behind": partial(refunds, skew_ms=-ALMOST),
    "too_far": too_far,
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
    async with playing(tmp_path_factory.mktemp("clocks"), {name: STORIES[name] for name in names}) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STORIES)
async def test_a_wrong_clock(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
