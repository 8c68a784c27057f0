"""The disk is gone in mid-swap, on real nodes: `twinlock client recover` from the words, or from the recovery file.

In the first act the server lives and the words suffice. In the second the server is dead, and the recovery file says
what the server cannot: what is safe to finish is finished, the rest is refunded. The client dies at the step, and loses
its disk there.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.scenes.mortal import Part
from tests.e2e.scenes.mortals import Mortal, ended, mortal
from tests.e2e.scenes.power import Power
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
Fates = tuple[Fate, Fate]
GONE, BACK, PAID = Fate.ABSENT, Fate.REFUNDED, Fate.REDEEMED
SWAPPED: Fates = (PAID, PAID)
OUTCOMES = {GONE: "void", BACK: "refunded", PAID: "swapped"}


class Step(NamedTuple):
    """Where `who` dies and loses its disk, and the fates of the contracts with the server's help and without.

    No fates: that act is left out, as what is locked in the first can be refunded in the second only.
    """

    who: Party
    part: Part
    helped: Fates | None
    alone: Fates


STEPS = {
    # The server alone remembers such a match, and nothing is funded that only the server remembers.
    "maker_before_its_contract": Step(MAKER, Part(die_before="store contract"), (GONE, GONE), (GONE, GONE)),
    "maker_after_its_contract": Step(MAKER, Part(die_after="send contract"), SWAPPED, (BACK, GONE)),
    "maker_before_its_redemption": Step(MAKER, Part(die_before="store redemption"), SWAPPED, SWAPPED),
    "maker_after_its_redemption": Step(MAKER, Part(die_after="send redemption"), SWAPPED, SWAPPED),
    "taker_before_its_contract": Step(TAKER, Part(die_before="store contract"), None, (BACK, GONE)),
    "taker_after_its_contract": Step(TAKER, Part(die_after="send contract"), SWAPPED, (BACK, BACK)),
    "taker_before_its_redemption": Step(TAKER, Part(die_before="store redemption"), SWAPPED, SWAPPED),
}
USUAL = ("maker_after_its_contract", "maker_before_its_redemption", "taker_after_its_contract")
"""Told in every run; the others in the soak."""


async def tell(stage: Stage, name: str, power: Power) -> None:
    step, server = STEPS[name], stage.exchange.server
    async with stage.rogue(f"{name}-other") as other:
        victim = await mortal(stage, f"{name}-victim")
        accounts = [(await victim.account_id()).hex()]

        if step.helped is not None:
            scene = await up_to(stage, victim, other, step)
            report = await victim.recovered()
            assert [account["account_id"] for account in report["accounts"]] == accounts
            assert [bond["state"] for bond in report["bonds"]] == ["posted"]
            found = [swap["outcome"] for swap in report["swaps"]]
            assert found == ([] if step.helped[step.who] is GONE else ["swapped"])
            await assert_ended(scene, step.helped)

        scene = await up_to(stage, victim, other, step)
        file = shutil.copy(victim.recovery_file, stage.exchange.folder / f"{name}.recovery")
        await power.cut(server)
        recovering = asyncio.create_task(victim.recovered("--file", file, status=3))
        if step.alone != SWAPPED:
            await stage.calendar.passed(TAKER)
            await stage.calendar.passed(MAKER)
        report = await recovering
        assert [account["account_id"] for account in report["accounts"]] == accounts
        assert [swap["outcome"] for swap in report["swaps"]] == [OUTCOMES[step.alone[step.who]]]
        await assert_ended(scene, step.alone)


async def up_to(stage: Stage, victim: Mortal, other: Any, step: Step) -> Scene:
    """A new match of the two, in which the victim has died at the step."""
    await victim.become(step.part)
    scene = Scene(stage, victim, other) if step.who is MAKER else Scene(stage, other, victim)
    await scene.match()
    await victim.died()
    return scene


async def assert_ended(scene: Scene, fates: Fates) -> None:
    for party in Party:
        assert await ended(scene, party) in (OUTCOMES[fates[party]], "unknown")
    await scene.assert_books({party: fates[party] for party in Party})


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
    async with playing(tmp_path_factory.mktemp("recovery"), stories) as theatre:
        yield theatre


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in USUAL else [pytest.mark.soak]) for name in STEPS]
)
async def test_the_disk_is_lost(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
