"""The Electrum server that a client prefers goes away or lies in mid-swap: the client turns to an honest one.

It says who lied, no lie is acted on, and the swap ends as if nothing had happened. Where there is no other server, it
waits. The liar stands between the client and a real indexer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.scenes.customers import Customer, customer
from tests.e2e.scenes.liar import Liar, Lie, forges_branches, forks, hides, invents, lying
from tests.e2e.scenes.middleman import between
from tests.e2e.scenes.players import Rogue
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.swap import Party

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
HISTORY, MERKLE, HEADERS = (f"electrum.lie.{what}" for what in ("history", "merkle", "headers"))
"""Codes of the lies for which a server is left alone."""


class Lied:
    """A scene in which one side prefers liars, one for each coin.

    alone: it knows no other servers. doubts: where it does, it soon asks them for a second opinion.
    """

    def __init__(
        self, stage: Stage, name: str, victim: Party, *, alone: bool = False, doubts: bool = True, host: str = ""
    ) -> None:
        self._stage = stage
        self._name = name
        self._victim = victim
        self._alone = alone
        self._doubts = doubts
        self._host = host
        self._stack = AsyncExitStack()
        self.liars: dict[str, Liar] = {}
        self.client: Customer
        self.other: Rogue
        self.scene: Scene

    async def __aenter__(self) -> Lied:
        exchange = self._stage.exchange
        for symbol in exchange.plan.symbols:
            self.liars[symbol] = await self._stack.enter_async_context(lying(exchange.electrum(symbol)))
        self.other = await self._stack.enter_async_context(self._stage.rogue(f"{self._name}-other"))
        self.client = await customer(self._stage, f"{self._name}-client", self._configure)
        self._stack.push_async_callback(self.client.kill)
        pair = (self.client, self.other) if self._victim is MAKER else (self.other, self.client)
        self.scene = Scene(self._stage, *pair)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    @property
    def theirs(self) -> Liar:
        """Of the coin that the victim is to be paid."""
        return self.liars[self.scene.asset(self._victim.other)]

    @property
    def own(self) -> Liar:
        """Of the coin that the victim pays."""
        return self.liars[self.scene.asset(self._victim)]

    async def leave(self) -> None:
        """They are gone, both of which the client has asked until now."""
        for symbol, liar in self.liars.items():
            assert liar.asked, f"nobody talks to the {symbol} server"
            await liar.stop()

    async def ends_well(self) -> None:
        for party in Party:
            await self.scene.ended(party, "swapped")
        await self.scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})

    def _configure(self, config: dict[str, Any]) -> None:
        for wallet in config["wallets"]:
            liar = self.liars[wallet["symbol"]].url
            wallet["electrum"] = [liar] if self._alone else [liar, *wallet["electrum"]]
        if self._doubts:
            config["pace"]["second_opinion"] = 2.0
        config["servers"][0]["host"] = self._host or config["servers"][0]["host"]


async def gone(stage: Stage, name: str, victim: Party) -> None:
    async with Lied(stage, name, victim, doubts=False) as it:
        await it.scene.match()
        await it.scene.step(victim, "swap_sent")
        await it.leave()
        await it.ends_well()


async def gone_and_back(stage: Stage, name: str, victim: Party) -> None:
    async with Lied(stage, name, victim, alone=True) as it:
        await it.scene.match()
        await it.scene.step(victim, "swap_accepted")
        await it.leave()
        # The other side goes on, and the client sees nothing of it.
        if victim is TAKER:
            await it.scene.ended(MAKER, "swapped")
        else:
            await it.scene.step(TAKER, "swap_confirmed")
        for liar in it.liars.values():
            await liar.start()
        await it.ends_well()


async def lies(stage: Stage, name: str, victim: Party, lie: Lie, caught: str) -> None:
    """caught: the code of what it is left alone for."""
    async with Lied(stage, name, victim) as it:
        it.theirs.lie = lie
        await it.scene.match()
        await it.client.noticed(caught)
        await it.ends_well()


async def lies_alone(stage: Stage, name: str, victim: Party) -> None:
    async with Lied(stage, name, victim, alone=True) as it:
        it.theirs.lie = forges_branches
        await it.scene.match()
        await it.client.noticed(MERKLE)
        assert not it.client.said("swap_step", step="counterparty_swap_confirmed"), "a forged proof was believed"
        it.theirs.lie = None
        await it.ends_well()


async def hides_the_secret(stage: Stage, name: str) -> None:
    """The taker has lost the exchange, and its Electrum server hides that the maker redeemed."""
    async with AsyncExitStack() as line:
        wire = await line.enter_async_context(between(stage.exchange))
        async with Lied(stage, name, TAKER, host=wire.host) as it:
            it.other.withholds.add("redeem")
            it.own.lie = hides(1)
            await it.scene.match()
            await it.scene.step(TAKER, "swap_accepted")
            await line.aclose()
            it.other.withholds.discard("redeem")
            await it.client.noticed(HISTORY)
            await it.ends_well()


LIES: dict[str, tuple[Lie, str]] = {
    "hides_the_contract": (hides(0), HISTORY),
    "invents_a_history": (invents, MERKLE),
    "forges_branches": (forges_branches, MERKLE),
    "forks": (forks, HEADERS),
}
STORIES: dict[str, Story] = {
    "taker-gone": partial(gone, victim=TAKER),
    "maker-gone": partial(gone, victim=MAKER),
    "taker-gone_and_back": partial(gone_and_back, victim=TAKER),
    "maker-gone_and_back": partial(gone_and_back, victim=MAKER),
    **{f"taker-{name}": partial(lies, victim=TAKER, lie=lie, caught=code) for name, (lie, code) in LIES.items()},
    **{f"maker-{name}": partial(lies, victim=MAKER, lie=lie, caught=code) for name, (lie, code) in LIES.items()},
    "taker-lied_to_by_all": partial(lies_alone, victim=TAKER),
    "maker-lied_to_by_all": partial(lies_alone, victim=MAKER),
    "taker-hides_the_secret": hides_the_secret,
}
USUAL = (
    "taker-gone",
    "maker-gone_and_back",
    "taker-hides_the_contract",
    "maker-hides_the_contract",
    "maker-invents_a_history",
    "taker-forks",
    "taker-lied_to_by_all",
    "taker-hides_the_secret",
)
"""Told in every run; the others in the soak."""


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
    stories = {name: STORIES[name] for name in names}
    async with playing(tmp_path_factory.mktemp("indexers"), stories) as theatre:
        yield theatre


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in USUAL else [pytest.mark.soak]) for name in STORIES]
)
async def test_an_electrum_server(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
