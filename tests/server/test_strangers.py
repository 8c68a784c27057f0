"""A thousand connections that say nothing, before a server that may open few files: others trade meanwhile."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Exchange
from tests.server.live_world import Indexer, LiveServer, admin, indexers, set_up
from tests.server.trader import Trader
from websockets.asyncio.client import connect

from twinlock.chain.coins import Network, coin
from twinlock.protocol import routes
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.orders import Side

pytestmark = pytest.mark.anyio

CROWD, FILES = 1_000, 256
BTC, LTC = (coin(symbol, Network.REGTEST) for symbol in ("btc", "ltc"))
MARKET = (LTC.asset_id, BTC.asset_id)
RATE = 10_000_000


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough for a crowd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def chains(anyio_backend: str) -> AsyncIterator[list[Indexer]]:
    async with indexers(BTC, LTC) as started:
        yield started


@pytest.fixture
async def live(tmp_path: Path, chains: list[Indexer], descriptors: None) -> AsyncIterator[LiveServer]:
    server = LiveServer(await set_up(tmp_path, chains, "--onion-listen=127.0.0.1:0"), FILES)
    await server.start()
    yield server
    await server.stop()


async def come(crowd: ExitStack, port: int, words: bytes) -> None:
    """A thousand connect from one address, say that much, and wait."""
    loop = asyncio.get_running_loop()
    for _ in range(CROWD):
        connection = crowd.enter_context(socket.socket())
        connection.setblocking(False)
        connection.bind(("127.0.0.1", 0))
        await loop.sock_connect(connection, ("127.0.0.1", port))
        if words:
            await loop.sock_sendall(connection, words)


SILENCE = {
    "half-open handshakes": ("listen", b""),
    "nonsense in half a record": ("listen", b"\x16\x03\x01\x02\x00"),
    "no request": ("onion_listen", b""),
    "half a request": ("onion_listen", b"GET /api/config HTTP/1.1\r\n"),
    "requests that are over": ("onion_listen", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
}


async def test_a_crowd_that_says_nothing_keeps_nobody_out(live: LiveServer, chains: list[Indexer]) -> None:
    state = await live.open_after(0)
    url, certificate = f"wss://127.0.0.1:{state.ports['listen']}/ws", live.data / "tls" / "server.cert"
    own: Any = {indexer.chain.coin.asset_id: indexer.chain for indexer in chains}
    for seed, (setting, words) in enumerate(SILENCE.values()):
        with ExitStack() as crowd:
            await come(crowd, state.ports[setting], words)
            trader = Trader(url, certificate, own, seed)
            trader.source = "127.0.0.2"
            async with trader:
                [code] = await admin(live, "prepaid-bonds", "--strength", "4")
                await trader.post_bond(PREPAID_ASSET_ID, bytes.fromhex(code))
                await trader.connect()
                [market] = (await trader.ask(routes.CONFIG, None)).markets
                funds = own[LTC.asset_id].fund(trader.new_key(), 3 * market.lot_size)
                await trader.place(trader.limit_order(MARKET, Side.SELL, market.lot_size, RATE, funds))


@pytest.fixture
async def narrow(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Exchange]:
    """An exchange with room for two that are no WebSocket."""
    exchange = Exchange(tmp_path)
    exchange.settings = {"max_http_connections": 2, "onion_listen": "127.0.0.1:0"}
    await exchange.start()
    yield exchange
    await exchange.close()


async def asked(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An HTTP connection that stays open after its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def test_an_idle_conversation_makes_room_and_a_websocket_is_none(narrow: Exchange) -> None:
    port = narrow.running.ports["onion_listen"]
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}/ws")) for _ in range(3)]
        first, second, third = [await asked(port) for _ in range(3)]
        assert await first[0].read() == b"", "the oldest had to go"
        second[1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await second[0].readuntil(b"ok\n")
        for _, writer in (first, second, third):
            writer.close()
        assert narrow.running.hub.connected == len(links)


async def test_who_fills_the_room_of_one_listener_takes_none_of_another(narrow: Exchange) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", narrow.running.port)
    for _ in range(3):
        (await asked(narrow.running.ports["onion_listen"]))[1].close()
    await narrow.guest()
    assert not reader.at_eof()
    writer.close()
