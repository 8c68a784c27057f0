"""A watchtower on real nodes, with the client dead: it takes what is the client's, and takes back what was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.scenes.players import Daemon, Withheld
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.protocol.proof import verify
from twinlock.protocol.proof.document import read
from twinlock.protocol.swap import Party
from twinlock.simnet import services
from twinlock.simnet.clients import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
FINAL = 6
"""Blocks after which a tower lets a packet go."""


class Post:
    """The tower of all stories."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._stage: Stage
        self._service: services.Service | None = None

    async def guards(self, stage: Stage, client: Daemon) -> None:
        """The client leaves its swaps here from now on."""
        folder = stage.exchange.folder / "tower"
        async with self._turn:
            if self._service is None:
                self._stage = stage
                self._service = services.tower(folder, self._settings, stage.exchange.processes)
                await self._service.start()
        client.watched_by(f"http://127.0.0.1:{self._service.port}", folder / "tower.key")
        await client.restart()
        await client.until_venue(lambda venue: venue.connected and venue.tier >= 1)

    async def saw(self, scene: Scene, what: str) -> dict[str, Any]:
        """The first time that it told this of the scene's match."""
        log = self._stage.exchange.folder / "logs" / "tower.log"
        wanted_ = {"what": what, "match_id": scene.match_id}.items()
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in log.read_text().split("\n")[:-1]:
                    row: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
                    if wanted_ <= row.items():
                        return row
                await asyncio.sleep(0.1)

    async def restart(self) -> None:
        """kill -9 and start again."""
        assert self._service is not None
        async with self._turn:
            await self._service.kill()
            await self._service.start()

    def _settings(self) -> dict[str, Any]:
        exchange = self._stage.exchange
        chains = [{"symbol": symbol, "electrum": [exchange.electrum(symbol)]} for symbol in exchange.plan.symbols]
        return {"network": "regtest", "chains": chains, "pace": {"check": 1.0}}


async def the_taker_is_dead_when_the_maker_redeems(post: Post, stage: Stage, name: str) -> None:
    async with stage.rogue(f"{name}-maker", "redeem") as maker:
        taker = await stage.daemon(f"{name}-taker")
        await post.guards(stage, taker)
        scene = Scene(stage, maker, taker)
        await scene.match()
        await scene.step(TAKER, "swap_accepted")  # else the maker never hears of it
        await post.saw(scene, "watching")
        await taker.kill()
        await post.restart()
        maker.withholds.discard("redeem")
        await scene.ended(MAKER, "swapped")
        await post.saw(scene, "redeeming")
        await until_final(stage, scene, post)

        await taker.start()
        await scene.ended(TAKER, "swapped")
        await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})
        file = stage.exchange.folder / f"{name}.proof"
        process = await taker.prove(scene.match_id, file)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0, process.tail(30)
        assert_proven("taker", file)


async def the_contract_comes_back(post: Post, stage: Stage, name: str, *, role: Party, withheld: Withheld) -> None:
    """The other side never goes on, and our client is dead."""
    async with stage.rogue(f"{name}-other", withheld) as other:
        client = await stage.daemon(f"{name}-client")
        await post.guards(stage, client)
        scene = Scene(stage, client, other) if role is MAKER else Scene(stage, other, client)
        await scene.match()
        await scene.step(role, "swap_confirmed")
        await post.saw(scene, "watching")
        await client.kill()
        await post.restart()
        await stage.calendar.passed(TAKER)
        if role is MAKER:
            await stage.calendar.passed(MAKER)
        await post.saw(scene, "refunding")
        await until_final(stage, scene, post)
        await client.start()
        await scene.ended(role, "refunded")
        if role is TAKER:
            await stage.calendar.passed(MAKER)
        await scene.ended(role.other, "void" if role is MAKER else "refunded")
        await scene.assert_books({MAKER: Fate.REFUNDED, TAKER: Fate.ABSENT if role is MAKER else Fate.REFUNDED})


async def until_final(stage: Stage, scene: Scene, post: Post) -> None:
    """Enough blocks for the tower to call it done."""
    async with stage.mint.closed(*stage.exchange.nodes):
        await stage.exchange.mine(FINAL)
    await post.saw(scene, "done")


def assert_proven(role: str, file: Path) -> None:
    """Its proof of the swap holds where there is neither a chain nor a server."""
    statement = verify(read(file.read_bytes()))
    assert (statement.outcome, statement.role) == ("swapped", role)
    assert statement.theirs is not None
    assert min(leg.confirmations for leg in (statement.own, statement.theirs)) >= FINAL


STORIES: dict[str, Callable[[Post, Stage, str], Awaitable[None]]] = {
    "redeems_for_the_taker": the_taker_is_dead_when_the_maker_redeems,
    "refunds_the_maker": partial(the_contract_comes_back, role=MAKER, withheld="contract"),
    "refunds_the_taker": partial(the_contract_comes_back, role=TAKER, withheld="redeem"),
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
    post = Post()
    names = wanted(request, __name__, STORIES)
    stories: dict[str, Story] = {name: partial(STORIES[name], post) for name in names}
    async with playing(tmp_path_factory.mktemp("tower"), stories) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STORIES)
async def test_the_tower(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
