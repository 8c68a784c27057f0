"""Two clients live on one seed at once: they are told of each other, and no coin is spent twice or lost.

The second one is a copy that somebody made from the words on another machine, in the middle of a swap of the first. A
second process on the same folder does not even begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.scenes.mortals import Mortal, mortal
from tests.e2e.scenes.players import Daemon, Withheld
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.swap import Party
from twinlock.seams import SeededEntropy, SystemEntropy
from twinlock.simnet.clients import PATIENCE
from twinlock.simnet.processes import ProcessError

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
IN_USE = 5
"""Exit status of a client whose store another process has."""


async def twins(stage: Stage, name: str, role: Party, step: str, waits: Withheld) -> None:
    """waits: what the other side keeps back until the second client knows of the swap too."""
    async with stage.rogue(f"{name}-other", waits) as other:
        words = sum(name.encode())
        first = await mortal(stage, f"{name}-first", SeededEntropy(words))
        second = Mortal(stage.exchange, f"{name}-second")
        second.prepare(SeededEntropy(words))
        scene = Scene(stage, first, other) if role is MAKER else Scene(stage, other, first)
        await scene.match()
        await scene.step(role, step)
        await second.start()

        async def known() -> bool:
            return await second.swap(scene.match_id) is not None

        await stage.patiently(known)
        assert await known(), "the second client has not found the swap"
        other.withholds.discard(waits)
        for party in Party:
            await scene.ended(party, "swapped")
        await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})
        for client in (first, second):
            await client.until_settled()
            assert await client.totals() == await first.totals(), "one seed has one set of coins"
        sent = {tx.txid: tx for client in (first, second) for tx in client.sent()}
        coins = [txin.point for tx in sent.values() for txin in tx.inputs]
        assert len(coins) == len(set(coins)), "the two spent a coin differently"
        await told_of_each_other(stage, first, second)


async def told_of_each_other(stage: Stage, *clients: Mortal) -> None:
    """One of them was turned away for the other, in words that name the reason."""

    def told() -> bool:
        return any("session.shared" in reason for client in clients for reason in client.disconnections())

    async with asyncio.timeout(PATIENCE):
        await stage.until(told)


async def same_folder(stage: Stage, name: str) -> None:
    first, again = Daemon(stage.exchange, name), Daemon(stage.exchange, name)
    first.prepare(SystemEntropy())
    await first.start()
    with pytest.raises(ProcessError, match=f"in use by process {first.process.pid}"):
        await again.start()
    assert await again.process.wait() == IN_USE
    assert first.process.running


STORIES: dict[str, Story] = {
    "maker": partial(twins, role=MAKER, step="swap_accepted", waits="contract"),
    "taker": partial(twins, role=TAKER, step="swap_accepted", waits="redeem"),
    "same_folder": same_folder,
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
    async with playing(tmp_path_factory.mktemp("twins"), {name: STORIES[name] for name in names}) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STORIES)
async def test_two_clients_of_one_seed(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
