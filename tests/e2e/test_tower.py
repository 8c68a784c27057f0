"""A watchtower on real nodes, with the client dead: it takes what is the client's, and takes back what was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.story import Story, only_swap, told
from tests.e2e.test_refunds import SHORT_LOCKS, pass_locks

from twinlock.protocol.proof import verify
from twinlock.protocol.proof.document import read
from twinlock.simnet import services
from twinlock.simnet.clients import Client
from twinlock.simnet.services import Service

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


class Post:
    """A tower in a story."""

    def __init__(self, story: Story, service: Service) -> None:
        self.story = story
        self.service = service

    async def saw(self, what: str, seconds: float = 60, **members: object) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        log = self.story.exchange.folder / "logs" / "tower.log"
        assert self.service.process is not None

        async def said() -> bool:
            rows = [json.loads(line) for line in log.read_text().split("\n")[:-1] if line.startswith("{")]
            found.extend(row for row in rows if {"what": what, **members}.items() <= row.items())
            return bool(found)

        await self.service.process.until(said, seconds, f"tower: {what} {members}")
        return found[0]

    async def kill_and_restart(self) -> None:
        await self.service.kill()
        await self.service.start()


@asynccontextmanager
async def watched(story: Story, client: Client) -> AsyncIterator[Post]:
    """The client leaves its swaps with a tower from now on."""
    exchange = story.exchange
    folder = exchange.folder / "tower"
    chains = [{"symbol": symbol, "electrum": [exchange.electrum(symbol)]} for symbol in exchange.plan.symbols]
    service = services.tower(
        folder, lambda: {"network": "regtest", "chains": chains, "pace": {"check": 1.0}}, exchange.processes
    )
    await service.start()
    client.watched_by(f"http://127.0.0.1:{service.port}", folder / "tower.key")
    await client.restart()
    await client.until_venue(lambda venue: venue.connected and venue.tier >= 1)
    yield Post(story, service)


async def test_the_taker_is_dead_when_the_maker_redeems(tmp_path: Path) -> None:
    async with told(tmp_path) as story, watched(story, story.taker) as post:
        await story.match()
        await story.taker.saw("swap_step", step="swap_sent")
        await post.saw("watching", role="taker")
        await story.taker.kill()
        await post.kill_and_restart()

        assert (await story.maker.saw("swap_ended"))["outcome"] == "swapped"
        await post.saw("redeeming")
        await story.exchange.mine(6)
        await post.saw("done")

        await story.taker.start()
        await story.ended("swapped")
        await story.assert_swapped()
        for client in story.clients:
            file = tmp_path / f"{client.name}.proof"
            process = await client.prove((await only_swap(client)).match_id, file)
            assert await asyncio.wait_for(process.wait(), 60) == 0, process.tail(30)
            assert_proven(client, file)


def assert_proven(client: Client, file: Path) -> None:
    """Its proof of the swap holds where there is neither a chain nor a server."""
    statement = verify(read(file.read_bytes()))
    assert (statement.outcome, statement.role) == ("swapped", client.name)
    assert statement.theirs is not None
    assert min(leg.confirmations for leg in (statement.own, statement.theirs)) >= 6


@pytest.mark.parametrize("role", ["maker", pytest.param("taker", marks=pytest.mark.soak)])
async def test_everybody_is_dead_and_the_contract_comes_back(tmp_path: Path, role: str) -> None:
    async with told(tmp_path, SHORT_LOCKS) as story:
        client, other = (story.maker, story.taker) if role == "maker" else (story.taker, story.maker)
        async with watched(story, client) as post:
            await story.match()
            # The maker dies once its contract is known, the taker once it has given its address.
            await story.maker.saw("swap_step", step="swap_accepted" if role == "taker" else "contract_signed")
            await other.kill()
            await client.saw("swap_step", step="contract_signed")
            await post.saw("watching", role=role)
            coin = (await only_swap(client)).own_coin
            asset = story.maker_asset if role == "maker" else story.taker_asset
            await shown(story, client, asset, coin)
            await client.kill()

            await pass_locks(story, SHORT_LOCKS.lock_maker_s)
            refund = (await post.saw("refunding"))["txid"]
            await post.kill_and_restart()
            await story.exchange.mine(6)
            await post.saw("done")

            await client.start()
            assert (await client.saw("swap_ended"))["outcome"] == "refunded"
            await client.until_settled()
            node = story.exchange.nodes[asset]
            lost = await node.fee(coin.split(":")[0]) + await node.fee(refund)
            expected = dict(story.before[client.name])
            expected[asset] -= lost
            assert await client.totals() == expected


async def shown(story: Story, client: Client, asset: str, coin: str) -> None:
    """Return when the chain, or the mempool, has the client's contract."""
    txid, index = coin.split(":")

    async def there() -> bool:
        return await story.exchange.nodes[asset].rpc("gettxout", txid, int(index), True) is not None

    await client.process.until(there, 60, f"contract {coin}")
