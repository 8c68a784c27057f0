"""Several servers, one at a time: fail-over, back-off, patience."""

from __future__ import annotations

import asyncio

import pytest

from twinlock.chain.coins import coin
from twinlock.electrum import methods
from twinlock.electrum.client import BACKOFF_MAX_S, REST_S, ElectrumClient
from twinlock.electrum.connection import Connection
from twinlock.electrum.errors import ElectrumError, LyingServerError, ServerError, UnavailableError
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.transport import Endpoint, Transport
from twinlock.seams import SeededEntropy, VirtualClock

pytestmark = pytest.mark.anyio

COIN = coin("btc", "regtest")
FIRST, SECOND = Endpoint("tcp", "first", 1), Endpoint("tcp", "second", 2)


class Net:
    """Two servers over one chain, and a record of who was dialled when."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.chain = SimulatedChain(COIN)
        self.servers = {FIRST: SimulatedServer(self.chain), SECOND: SimulatedServer(self.chain)}
        self.dialled: list[tuple[float, Endpoint]] = []
        self.connected: list[Connection] = []
        self._start = self.clock.monotonic()

    async def dial(self, endpoint: Endpoint) -> Transport:
        self.dialled.append((self.clock.monotonic() - self._start, endpoint))
        return await self.servers[endpoint].dial(endpoint)

    async def on_connect(self, connection: Connection) -> None:
        self.connected.append(connection)

    def client(self, *servers: Endpoint) -> ElectrumClient:
        return ElectrumClient(
            servers or (FIRST, SECOND),
            genesis_hash=COIN.genesis_hash,
            clock=self.clock,
            entropy=SeededEntropy(1),
            dial=self.dial,
            on_connect=self.on_connect,
        )


@pytest.fixture
def net() -> Net:
    return Net()


async def test_the_first_server_serves_while_it_can(net: Net) -> None:
    async with net.client() as client:
        assert await client.call(methods.BLOCK_HEADER, 0) == net.chain.headers[0].serialize().hex()
        assert client.server == FIRST
        with pytest.raises(ServerError):
            await client.call(methods.BLOCK_HEADER, 9)
        assert client.connected
        assert len(net.connected) == 1


async def test_the_next_server_takes_over_in_the_middle_of_a_question(net: Net) -> None:
    async with net.client() as client:
        await client.call(methods.BLOCK_HEADER, 0)
        net.servers[FIRST].mute = True
        question = asyncio.create_task(client.call(methods.BLOCK_HEADER, 0))
        await net.clock.advance(0)
        net.servers[FIRST].down = True
        await net.servers[FIRST].hang_up()
        await net.clock.advance(1)
        assert await question == net.chain.headers[0].serialize().hex()
        assert client.server == SECOND


async def test_without_servers_a_question_ends_when_patience_does(net: Net) -> None:
    for server in net.servers.values():
        server.down = True
    async with net.client() as client:
        question = asyncio.create_task(client.call(methods.BLOCK_HEADER, 0))
        await net.clock.advance(59)
        assert not question.done()
        await net.clock.advance(2)
        with pytest.raises(UnavailableError) as unavailable:
            await question
        assert "is down" in str(unavailable.value)
        assert unavailable.value.fault == "machine"


async def test_pauses_grow_to_a_minute_and_no_further(net: Net) -> None:
    net.servers[FIRST].down = True
    async with net.client(FIRST):
        await net.clock.advance(1200)
    pauses = [b[0] - a[0] for a, b in zip(net.dialled, net.dialled[1:], strict=False)]
    assert pauses[0] < 0.5
    assert all(pause <= BACKOFF_MAX_S for pause in pauses)
    assert pauses[-1] >= BACKOFF_MAX_S / 2
    assert len(net.dialled) < 60


async def test_who_is_one_client_of_his_own_servers_may_ask_sooner(net: Net) -> None:
    net.servers[FIRST].down = True
    client = ElectrumClient(
        [FIRST],
        genesis_hash=COIN.genesis_hash,
        clock=net.clock,
        entropy=SeededEntropy(1),
        dial=net.dial,
        longest_pause=3,
    )
    async with client:
        await net.clock.advance(600)
        net.servers[FIRST].down = False
        await net.clock.advance(3)
        assert client.connected
    pauses = [b[0] - a[0] for a, b in zip(net.dialled, net.dialled[1:], strict=False)]
    assert all(pause <= 3 for pause in pauses)


async def test_a_liar_rests_for_an_hour(net: Net) -> None:
    async with net.client() as client:
        await client.call(methods.BLOCK_HEADER, 0)
        await client.blame(LyingServerError("merkle", "a proof that is none"))
        await net.clock.advance(5)
        assert client.server == SECOND
        await net.servers[SECOND].hang_up()
        await net.clock.advance(REST_S / 2)
        assert client.server == SECOND
        await net.clock.advance(REST_S)
        await net.servers[SECOND].hang_up()
        await net.clock.advance(5)
        assert client.server == FIRST


async def test_a_liar_is_asked_again_if_there_is_no_other(net: Net) -> None:
    async with net.client(FIRST) as client:
        await client.call(methods.BLOCK_HEADER, 0)
        await client.blame(LyingServerError("merkle", "a proof that is none"))
        question = asyncio.create_task(client.call(methods.BLOCK_HEADER, 0))
        await net.clock.advance(5)
        assert await question


async def test_leaving_ends_every_connection(net: Net) -> None:
    async with net.client() as client:
        await client.call(methods.BLOCK_HEADER, 0)
    await net.clock.advance(0)
    assert [server.sessions for server in net.servers.values()] == [0, 0]


async def test_a_client_without_servers_is_refused(net: Net) -> None:
    with pytest.raises(ElectrumError) as refused:
        ElectrumClient([], genesis_hash="", clock=net.clock, entropy=SeededEntropy(1))
    assert refused.value.code == "electrum.no_servers"
