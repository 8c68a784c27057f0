"""Somebody does not do its part: whoever does loses nothing but fees, and the exchange blames the right side.

All stories are told side by side on one exchange, each by two traders of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.e2e.scenes.cast import Cast, LiedTo, Play, both_sides, parameters, withholding
from tests.e2e.scenes.forgery import (
    FORGERIES,
    OF_MAKERS,
    REASONS,
    REUSED,
    Forged,
    Forgery,
    audit_of,
    both,
    duplicate,
    forge,
    report,
    rogue,
    secret_hash_of,
    take_back,
)
from tests.e2e.scenes.players import Rogue
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.theatre import Theatre, playing, wanted

from twinlock.chain.terms import ContractTerms
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.routes import AUDIT
from twinlock.protocol.signing import signed
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
    await scene.step(TAKER, "swap_accepted")
    await scene.taker.kill()
    await scene.ended(MAKER, "swapped")
    # It sleeps until it is blamed, and until its own contract could be refunded if nobody had taken it.
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.NO_REDEEM_AS_TAKER)
    await cast.stage.calendar.passed(TAKER)
    await scene.taker.start()
    await scene.ended(TAKER, "swapped")
    await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})


async def redemptions_are_never_reported(cast: Cast) -> None:
    scene = await cast.scene(maker=withholding("report"), taker=withholding("report"))
    await scene.match()
    for party in Party:
        await scene.ended(party, "swapped")
    await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.SWAP_SUCCESS)


async def taker_never_redeems(cast: Cast) -> None:
    scene = await cast.scene(taker=withholding("redeem"))
    await scene.match()
    await scene.ended(MAKER, "swapped")
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.NO_REDEEM_AS_TAKER)
    await cast.stage.calendar.passed(MAKER)
    await scene.assert_books({MAKER: Fate.LOCKED, TAKER: Fate.REDEEMED})


def maker_forges(name: str) -> Play:
    """The maker's contract is not as agreed. The exchange refuses it, and so does the taker if the exchange did not."""

    async def play(cast: Cast) -> None:
        lied_to = LiedTo()
        scene = await cast.scene(maker=withholding("contract"), taker=lied_to)
        await scene.match()
        forged = await refused(scene, MAKER, FORGERIES[name], lied_to, REASONS[name])
        await scene.ended(TAKER, "void")
        await cast.stage.calendar.passed(MAKER)
        await take_back(scene, MAKER, forged)
        await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT})
        await scene.assert_outcomes(maker=Outcome.NO_SWAP_AS_MAKER)

    return play


def taker_forges(name: str) -> Play:
    """The taker's contract is not as agreed. The exchange refuses it; the maker would not redeem it in any case."""

    async def play(cast: Cast) -> None:
        lied_to = LiedTo()
        scene = await cast.scene(maker=lied_to, taker=withholding("contract"))
        await scene.match()
        forged = await refused(scene, TAKER, FORGERIES[name], lied_to, REASONS[name])
        await scene.step(MAKER, "revoked")
        await cast.stage.calendar.passed(MAKER)
        await scene.ended(MAKER, "refunded")
        await take_back(scene, TAKER, forged)
        await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.REFUNDED})
        await scene.assert_outcomes(taker=Outcome.NO_SWAP_AS_TAKER)

    return play


async def maker_reuses_a_secret(cast: Cast) -> None:
    """One secret for two matches: whoever sees one redemption could take both contracts."""
    lied_to = LiedTo()
    first = await cast.scene(maker=withholding("redeem"), taker=lied_to)
    await first.match()
    await first.step(TAKER, "swap_accepted")
    second = await again(first)
    known = secret_hash_of(first, MAKER)
    forged = await refused(second, MAKER, lambda terms: both(replace(terms, secret_hash=known)), lied_to, REUSED)
    await first.step(TAKER, "revoked")
    await cast.stage.calendar.passed(TAKER)
    await first.ended(TAKER, "refunded")
    await cast.stage.calendar.passed(MAKER)
    await first.ended(MAKER, "refunded")
    await take_back(second, MAKER, forged)
    await second.ended(TAKER, "void")
    back, gone = {MAKER: Fate.REFUNDED, TAKER: Fate.REFUNDED}, {MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT}
    await first.assert_books(back, (second, gone))
    await first.assert_outcomes(maker=Outcome.NO_REDEEM_AS_MAKER)
    await second.assert_outcomes(maker=Outcome.NO_SWAP_AS_MAKER)


async def taker_duplicates_a_contract(cast: Cast) -> None:
    """One contract reported for two matches with the same maker."""
    lied_to = LiedTo()
    first = await cast.scene(maker=lied_to, taker=withholding("redeem"))
    await first.match()
    await first.step(TAKER, "swap_accepted")
    second = await again(first)
    await second.step(TAKER, "contract_signed")
    # Each match has addresses of its own: what pays that of another match is refused for that before all else.
    await refusals(second, TAKER, duplicate(first, second, TAKER), lied_to, REASONS["wrong_recipient"])
    await first.ended(MAKER, "swapped")
    await first.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.NO_REDEEM_AS_TAKER)
    rogue(first, TAKER).withholds.discard("redeem")
    await first.ended(TAKER, "swapped")
    await cast.stage.calendar.passed(MAKER)
    await second.ended(MAKER, "refunded")
    paid, gone = {MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED}, {MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT}
    await first.assert_books(paid, (second, gone))
    await second.assert_outcomes(taker=Outcome.NO_SWAP_AS_TAKER)


async def again(first: Scene) -> Scene:
    """A second match of the same two, in which the rogue withholds its contract."""
    for party in Party:
        if isinstance(player := first.player(party), Rogue):
            player.withholds.add("contract")
    second = Scene(first.stage, first.maker, first.taker, first.maker_sells, before=first.before)
    await second.match()
    return second


async def refused(
    scene: Scene, party: Party, make: Callable[[ContractTerms], Forgery], lied_to: LiedTo, reason: str
) -> Forged:
    """A forged contract is on chain; neither the exchange nor, asked in its name, the other side takes it."""
    forged = await forge(scene, party, make)
    await refusals(scene, party, forged, lied_to, reason)
    return forged


async def refusals(scene: Scene, party: Party, forged: Forged, lied_to: LiedTo, reason: str) -> None:
    with pytest.raises(RpcError, match=reason) as told:
        await report(scene, party, forged)
    assert told.value.rpc_code is ErrorCode.CONTRACT
    question = signed(lied_to.wire.voice, audit_of(scene, party.other, forged))
    with pytest.raises(RpcError, match=reason) as answered:
        await lied_to.wire.ask(AUDIT, question)
    assert answered.value.rpc_code is ErrorCode.CONTRACT


PLAYS: dict[str, Play] = {
    "nobody_at_fault": nobody_at_fault,
    "maker_silent": maker_silent,
    "taker_silent": taker_silent,
    "maker_sends_no_address": maker_sends_no_address,
    "taker_sends_no_address": taker_sends_no_address,
    "maker_never_redeems": maker_never_redeems,
    "maker_redeems_while_the_taker_sleeps": maker_redeems_while_the_taker_sleeps,
    "redemptions_are_never_reported": redemptions_are_never_reported,
    "taker_never_redeems": taker_never_redeems,
    **{f"maker_{name}": maker_forges(name) for name in OF_MAKERS},
    "maker_reuses_a_secret": maker_reuses_a_secret,
    **{f"taker_{name}": taker_forges(name) for name in FORGERIES},
    "taker_duplicates_a_contract": taker_duplicates_a_contract,
}
TWICE = (
    "nobody_at_fault",
    "maker_silent",
    "taker_silent",
    "maker_never_redeems",
    "maker_redeems_while_the_taker_sleeps",
    "taker_never_redeems",
)
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


@pytest.mark.parametrize("name", parameters(PLAYS, TWICE))
async def test_a_swap_with(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
