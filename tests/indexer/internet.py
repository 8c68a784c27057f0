"""An internet for tests: servers with worlds of their own, which find each other by name."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.indexer.worlds import World

from twinlock.chain.coins import Coin, coin
from twinlock.electrum.errors import ConnectionLostError
from twinlock.electrum.transport import Endpoint, StreamTransport, Transport
from twinlock.indexer.bans import Bans
from twinlock.indexer.costs import Address
from twinlock.indexer.env import Env, Service
from twinlock.indexer.peer import State
from twinlock.indexer.peer_store import PeerStore
from twinlock.indexer.peers import PeerManager
from twinlock.seams import SeededEntropy, VirtualClock
from twinlock.simnet.ports import free_ports

ip = ipaddress.ip_address


class Internet:
    """Names and the loopback addresses behind them; a server's own connections come from its own address."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[Address, ...]] = {}
        self.doors: dict[tuple[str, int], int] = {}
        self.proxies: dict[int, bool] = {}
        self.documents: dict[str, bytes] = {}
        self.dialled: list[tuple[str, str | None]] = []


class Link:
    """Implements `PeerNetwork`: the internet as one server sees it."""

    def __init__(self, internet: Internet, own: str = "127.0.0.1") -> None:
        self._internet, self._own = internet, own

    async def resolve(self, host: str) -> tuple[Address, ...]:
        return self._internet.names.get(host, ())

    async def dial(self, endpoint: Endpoint, proxy: str | None) -> Transport:
        self._internet.dialled.append((str(endpoint), proxy))
        port = self._internet.doors.get((endpoint.host, endpoint.port))
        if port is None or endpoint.scheme != "tcp":
            raise ConnectionLostError(f"{endpoint} is not reachable")
        address = next((str(each) for each in self._internet.names.get(endpoint.host, ())), "127.0.0.1")
        try:
            return StreamTransport(*await asyncio.open_connection(address, port, local_addr=(self._own, 0)))
        except OSError as error:
            raise ConnectionLostError(str(error)) from error

    async def find_proxy(self, host: str, ports: Sequence[int]) -> int | None:
        return next((port for port in ports if self._internet.proxies.get(port)), None)

    async def fetch(self, url: str) -> bytes:
        if url not in self._internet.documents:
            raise OSError("not found")
        return self._internet.documents[url]


def our_coin(world: World, network: str = "regtest") -> Coin:
    return replace(coin("btc", network), genesis_hash=world.storage.block_hash(0)[::-1].hex())


class Server:
    """One of our servers: a world of the same blocks as all others, with a peer manager, on an address of its own."""

    def __init__(
        self, internet: Internet, number: int, clock: VirtualClock, store: PeerStore | None = None, **settings: Any
    ) -> None:
        self.host = f"server{number}.example"
        self.address = f"127.{number}.0.1"
        self.world = World(clock=clock)
        (self.port,) = free_ports(1)
        internet.names[self.host] = (ip(self.address),)
        internet.doors[self.host, 50001] = self.port
        env = Env(
            data_dir=Path(),
            network="regtest",
            report_services=(Service("tcp", self.host, 50001),),
            **settings,
        )
        link = Link(internet, self.address)
        self.peers = PeerManager(
            env, our_coin(self.world), self.world.storage, clock, SeededEntropy(number), link, Bans(), store
        )
        self.world.shared.peers = self.peers

    def knows_well(self) -> set[str]:
        now = self.world.shared.clock.monotonic()
        return {peer.host for peer in self.peers.peers.values() if peer.state(now) is State.GOOD}


@asynccontextmanager
async def running(*servers: Server) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for server in servers:
            await server.world.manager.listen([Service("tcp", server.address, server.port)])
            stack.push_async_callback(server.world.manager.close)
            task = asyncio.create_task(server.peers.run())
            stack.push_async_callback(cancelled, task)
        yield


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(clock: VirtualClock, condition: Callable[[], bool], seconds: int = 7200) -> None:
    """Let the clock tick and the sockets work until something is so. Sockets need moments of the real clock."""
    for _ in range(seconds // 10):
        for _ in range(4):
            if condition():
                return
            await asyncio.sleep(0.0005)
        await clock.advance(10)
    raise AssertionError("it did not come to be")


def manager(internet: Internet, clock: VirtualClock, network: str = "mainnet", **settings: Any) -> PeerManager:
    world = World(clock=clock)
    env = Env(data_dir=Path(), network=network, **settings)
    made = PeerManager(env, our_coin(world, network), world.storage, clock, SeededEntropy(1), Link(internet), Bans())
    made.peers.clear()
    return made


async def looked(peers: PeerManager) -> None:
    peers.look_around()
    await asyncio.wait(peers._looking.values())
