"""Somebody does not do its part: whoever does loses nothing but fees, and the exchange blames the right side.

All stories are told side by side on one exchange, each by two traders of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.e2e.scenes.cast import Cast, Play, both_sides, withholding
from tests.e2e.scenes.scene import Fate
from tests.e2e.scenes.theatre import Theatre, playing, wanted

from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER


async def nobody_at_fault(cast: Cast) -> None:
    scene = await cast.scene()
    await scene.match()
    for party in Party:
        await scene.ended(party, "swapped")
    await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.SWAP_SUCCESS)


async def maker_silent(cast: Cast) -> None:
    scene = await cast.scene(maker=withholding("contract"))
    await scene.match()
    await scene.ended(TAKER, "void")
    await scene.assert_books({MAKER: Fate.ABSENT, TAKER: Fate.ABSENT})
    await scene.assert_outcomes(maker=Outcome.NO_SWAP_AS_MAKER)


async def taker_silent(cast: Cast) -> None:
    scene = await cast.scene(taker=withholding("contract"))
    await scene.match()
    await scene.step(MAKER, "revoked")
    await cast.stage.calendar.passed(MAKER)
    await scene.ended(MAKER, "refunded")
    await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT})
    await scene.assert_outcomes(taker=Outcome.NO_SWAP_AS_TAKER)


async def maker_sends_no_address(cast: Cast) -> None:
    scene = await cast.scene(maker=withholding("address"))
    await scene.match()
    await scene.ended(TAKER, "void")
    await scene.assert_books({MAKER: Fate.ABSENT, TAKER: Fate.ABSENT})
    await scene.assert_outcomes(maker=Outcome.NO_SWAP_AS_MAKER)


async def taker_sends_no_address(cast: Cast) -> None:
    scene = await cast.scene(taker=withholding("address"))
    await scene.match()
    await scene.ended(MAKER, "void")
    await scene.assert_books({MAKER: Fate.ABSENT, TAKER: Fate.ABSENT})
    await scene.assert_outcomes(taker=Outcome.NO_ADDRESS_AS_TAKER)


async def maker_never_redeems(cast: Cast) -> None:
    scene = await cast.scene(maker=withholding("redeem"))
    await scene.match()
    await scene.step(TAKER, "revoked")
    await cast.stage.calendar.passed(TAKER)
    await scene.ended(TAKER, "refunded")
    await cast.stage.calendar.passed(MAKER)
    await scene.ended(MAKER, "refunded")
    await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.REFUNDED})
    await scene.assert_outcomes(maker=Outcome.NO_REDEEM_AS_MAKER)


async def maker_redeems_while_the_taker_sleeps(cast: Cast) -> None:
    scene = await cast.scene()
    await scene.match()
    await scene.step(TAKER, "swap_sent")
    await scene.taker.kill()
    await scene.ended(MAKER, "swapped")
    # It sleeps until it is blamed, and until its own contract could be refunded if nobody had taken it.
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.NO_REDEEM_AS_TAKER)
    await cast.stage.calendar.passed(TAKER)
    await scene.taker.start()
    await scene.ended(TAKER, "swapped")
    await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})


async def taker_never_redeems(cast: Cast) -> None:
    scene = await cast.scene(taker=withholding("redeem"))
    await scene.match()
    await scene.ended(MAKER, "swapped")
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.NO_REDEEM_AS_TAKER)
    await cast.stage.calendar.passed(MAKER)
    await scene.assert_books({MAKER: Fate.LOCKED, TAKER: Fate.REDEEMED})


PLAYS: dict[str, Play] = {
    play.__name__: play
    for play in (
        nobody_at_fault,
        maker_silent,
        taker_silent,
        maker_sends_no_address,
        taker_sends_no_address,
        maker_never_redeems,
        maker_redeems_while_the_taker_sleeps,
        taker_never_redeems,
    )
}
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
    async with playing(tmp_path_factory.mktemp("faults"), stories) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STORIES)
async def test_a_swap_with(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
