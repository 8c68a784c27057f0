"""Servers that find each other, tell wallets only of those they have seen well, and forget those that are not."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.chains import block, transaction
from tests.indexer.wire import Wallet
from tests.indexer.worlds import World

from twinlock.chain.coins import COINS, Coin, coin
from twinlock.electrum.errors import ConnectionLostError
from twinlock.electrum.transport import Endpoint, StreamTransport, Transport
from twinlock.indexer.bans import Bans
from twinlock.indexer.costs import Address
from twinlock.indexer.env import Env, Service
from twinlock.indexer.peer import MAINNET_PORTS, Peer, State, is_host
from twinlock.indexer.peer_network import RealNetwork
from twinlock.indexer.peer_store import PeerStore
from twinlock.indexer.peers import PeerError, PeerManager, listed_by_default
from twinlock.seams import SeededEntropy, VirtualClock
from twinlock.simnet.ports import free_ports

pytestmark = pytest.mark.anyio

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


async def test_servers_that_know_one_of_them_come_to_know_each_other() -> None:
    internet, clock = Internet(), VirtualClock()
    servers = [Server(internet, number, clock) for number in range(1, 5)]
    names = {server.host for server in servers}
    for server in servers[1:]:
        server.peers.add_by_hand("server1.example v1.4 t50001")
    async with running(*servers):
        await until(clock, lambda: all(server.knows_well() == names - {server.host} for server in servers))
        rows = servers[2].peers.listed(tor=False)
        assert {row[1] for row in rows} == names
        assert ["127.1.0.1", "server1.example", ["v1.6", "t50001"]] in rows
        assert rows[0][1] == "server3.example", "itself first"


async def test_wallets_are_told_over_the_wire() -> None:
    internet, clock = Internet(), VirtualClock()
    one, two = Server(internet, 1, clock), Server(internet, 2, clock)
    two.peers.add_by_hand("server1.example t50001")
    async with running(one, two):
        await until(clock, lambda: one.knows_well() == {"server2.example"})
        reader, writer = await asyncio.open_connection(one.address, one.port)
        wallet = Wallet(reader, writer)
        await wallet.call("server.version", "wallet", "1.4.2")
        features = await wallet.call("server.features")
        assert features["hosts"] == {"server1.example": {"tcp_port": 50001}}
        rows = await wallet.call("server.peers.subscribe")
        assert sorted(row[1] for row in rows) == ["server1.example", "server2.example"]
        assert all(len(row) == 3 and isinstance(row[2], list) for row in rows)
        refused = await wallet.call("server.add_peer", {"hosts": {"server9.example": {"tcp_port": 50001}}})
        assert refused is False
        wallet.close()


async def test_a_peer_that_goes_away_becomes_stale_and_is_forgotten_in_the_end() -> None:
    internet, clock = Internet(), VirtualClock()
    one, two = Server(internet, 1, clock), Server(internet, 2, clock, peer_announce=False)
    two.peers.add_by_hand("server1.example t50001")
    async with running(one):
        await looked(two.peers)
        assert two.knows_well() == {"server1.example"}
    peer = two.peers.peers["server1.example"]
    states, tries = [peer.state(clock.monotonic())], []
    while "server1.example" in two.peers.peers:
        await clock.advance(300)
        if peer.due(clock.monotonic()):
            tries.append(clock.monotonic() - (peer.last_try or 0))
            await looked(two.peers)
            states.append(peer.state(clock.monotonic()))
    assert list(dict.fromkeys(states)) == [State.GOOD, State.STALE]
    assert tries[:5] == [5400, 600, 1200, 2400, 4800], "half way to stale, then ever later"
    assert len(tries) == 10
    assert two.peers.listed(tor=False) == [peer_row(two)]


async def test_a_peer_that_was_never_well_is_forgotten_after_three_failures() -> None:
    clock = VirtualClock()
    peers = manager(Internet(), clock)
    peers.add_by_hand("nowhere.example t")
    for _ in range(3):
        assert peers.rows()[0]["state"] == "never"
        await looked(peers)
        await clock.advance(1300)
    assert peers.rows() == []


def peer_row(server: Server) -> list[Any]:
    return server.peers.ours[0].row()


@pytest.mark.parametrize(
    ("spoil", "trouble"),
    [
        (lambda world: add_blocks(world, 7), "its tip is at 18, ours at 11"),
        (lambda world: another_branch(world), "is another one"),
        (lambda world: world.shared.peers.ours.clear(), "does not say that this host is its own"),
    ],
    ids=["height", "branch", "host"],
)
async def test_a_server_that_is_not_as_it_should_be_is_bad(spoil: Callable[[World], None], trouble: str) -> None:
    internet, clock = Internet(), VirtualClock()
    one, two = Server(internet, 1, clock), Server(internet, 2, clock)
    spoil(one.world)
    two.peers.add_by_hand("server1.example t50001")
    async with running(one, two):
        peer = two.peers.peers["server1.example"]
        await until(clock, lambda: peer.bad)
        assert trouble in peer.trouble
        assert two.peers.rows()[0]["state"] == "bad"
        assert [row[1] for row in two.peers.listed(tor=False)] == ["server2.example"]


def add_blocks(world: World, count: int) -> None:
    for _ in range(count):
        world.grow()


def another_branch(world: World) -> None:
    """Replace the blocks from height 1 on; the tip's height stays about the same."""
    while world.storage.height > 0:
        world.storage.undo()
    parent = world.blocks[0].hash
    for height in range(1, 12):
        coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(1, b"\x51")], bytes([height, 77]))
        new = block(parent, height, [coinbase], salt=77)
        world.add(new)
        parent = new.hash


async def test_a_server_of_another_coin_is_bad() -> None:
    internet, clock = Internet(), VirtualClock()
    one, two = Server(internet, 1, clock), Server(internet, 2, clock)
    while one.world.storage.height >= 0:
        one.world.storage.undo()
    other = block(bytes(32), 0, [transaction([(bytes(32), 0xFFFFFFFF)], [(1, b"\x51")], b"x")], salt=5)
    one.world.add(other)
    two.peers.add_by_hand("server1.example t50001")
    async with running(one, two):
        peer = two.peers.peers["server1.example"]
        await until(clock, lambda: peer.bad)
        assert "chain" in peer.trouble


# -- who asks to be listed


def manager(internet: Internet, clock: VirtualClock, network: str = "mainnet", **settings: Any) -> PeerManager:
    world = World(clock=clock)
    env = Env(data_dir=Path(), network=network, **settings)
    made = PeerManager(env, our_coin(world, network), world.storage, clock, SeededEntropy(1), Link(internet), Bans())
    made.peers.clear()
    return made


def wish(peers: PeerManager, host: str) -> dict[str, Any]:
    return {"hosts": {host: {"tcp_port": 50001, "ssl_port": 50002}}, "genesis_hash": peers._coin.genesis_hash}


async def test_who_asks_is_taken_only_from_where_its_host_is_and_once_in_ten_minutes() -> None:
    internet, clock = Internet(), VirtualClock()
    internet.names["a.example"] = (ip("8.8.4.4"), ip("2600::1"))
    peers = manager(internet, clock, report_services=(Service("ssl", "me.example", 50002),))
    assert await peers.add_peer(wish(peers, "a.example"), ip("8.8.4.4"))
    assert peers.peers["a.example"].source == "asked from 8.8.4.4"
    assert not await peers.add_peer(wish(peers, "a.example"), ip("8.8.4.4")), "again at once"
    await clock.advance(601)
    assert await peers.add_peer(wish(peers, "a.example"), ip("2600::1")), "it is known, and may say so again"
    internet.names["b.example"] = (ip("8.8.4.5"),)
    assert not await peers.add_peer(wish(peers, "b.example"), ip("8.8.4.4")), "somebody else's host"
    assert not await peers.add_peer(wish(peers, "c.example"), ip("8.8.4.4")), "a host without an address"
    assert not await peers.add_peer(wish(peers, "me.example"), ip("8.8.4.4")), "ourselves"
    internet.names["d.example"] = (ip("192.168.1.1"),)
    assert not await peers.add_peer(wish(peers, "d.example"), ip("192.168.1.1")), "a private address"
    assert not await peers.add_peer(wish(peers, "10.0.0.1"), ip("10.0.0.1"))
    assert not await peers.add_peer(wish(peers, "e.example") | {"genesis_hash": "00" * 32}, ip("8.8.4.4"))
    assert set(peers.peers) == {"a.example"}


@pytest.mark.parametrize(
    "nonsense", [None, 1, "x", [], {}, {"hosts": 1}, {"hosts": {"a": 1}}, {"hosts": {"a.b": {"tcp_port": "1"}}}]
)
async def test_nonsense_is_refused_quietly(nonsense: Any) -> None:
    assert not await manager(Internet(), VirtualClock()).add_peer(nonsense, ip("8.8.4.4"))


async def test_onion_hosts_are_taken_now_and_then() -> None:
    clock = VirtualClock()
    peers = manager(Internet(), clock)
    assert await peers.add_peer(wish(peers, "a" * 56 + ".onion"), ip("127.0.0.1"))
    assert not await peers.add_peer(wish(peers, "b" * 56 + ".onion"), ip("127.0.0.1"))
    await clock.advance(1201)
    assert await peers.add_peer(wish(peers, "b" * 56 + ".onion"), ip("127.0.0.1"))


async def test_discovery_may_be_off_or_only_of_ourselves() -> None:
    clock = VirtualClock()
    reported = (Service("ssl", "me.example", 50002),)
    off = manager(Internet(), clock, peer_discovery="off", report_services=reported)
    off._note(Peer("listed.example", 50001))
    await off.run()
    assert [row[1] for row in off.listed(tor=False)] == ["me.example", "listed.example"]
    assert not await off.add_peer(wish(off, "a.example"), ip("8.8.4.4"))
    world = World(clock=clock)
    env = Env(data_dir=Path(), peer_discovery="self", report_services=reported)
    alone = PeerManager(env, coin("btc", "mainnet"), world.storage, clock, SeededEntropy(1), Link(Internet()), Bans())
    assert alone.peers == {}
    assert alone.listed(tor=False) == [["me.example", "me.example", ["v1.6", "s50002"]]]
    assert env.peer_announce
    assert alone.announcement()["hosts"] == {"me.example": {"tcp_port": None, "ssl_port": 50002}}


async def test_servers_that_were_well_are_known_after_a_restart(tmp_path: Path) -> None:
    internet, clock = Internet(), VirtualClock()
    others = [Server(internet, number, clock) for number in (1, 2)]

    async def live(server: Server) -> None:
        async with running(*others, server):
            await until(clock, lambda: server.knows_well() == {"server1.example", "server2.example"})

    ours = Server(internet, 3, clock, PeerStore(tmp_path / "peers.json"))
    for name in ("server1", "server2", "never"):
        ours.peers.add_by_hand(f"{name}.example v1.4 t50001")
    await live(ours)
    await live(Server(internet, 3, clock, PeerStore(tmp_path / "peers.json")))
    again = Server(internet, 3, clock, PeerStore(tmp_path / "peers.json"))
    assert {peer.host: peer.source for peer in again.peers.peers.values()} == {
        "server1.example": "the last time",
        "server2.example": "the last time",
    }
    assert again.knows_well() == set(), "nobody is told of them before they were looked at again"


def test_kept_peers_are_bounded_and_nothing_depends_on_them(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    store = PeerStore(file)
    assert store.load() == []
    store.save(Peer(f"s{n}.example.org", 50001, 50002) for n in range(700))
    assert [peer.real_name() for peer in store.load()] == [f"s{n}.example.org v1.4 s50002 t50001" for n in range(500)]
    good = file.read_bytes()
    for damaged in (good[:-40], b"[1]", b"{}", b'["no host"]', b" " * (1 << 19)):
        file.write_bytes(damaged)
        assert store.load() == []
    PeerStore(tmp_path / "nowhere" / "peers.json").save([Peer("a.example.org", 1)])


async def test_private_services_are_not_reported() -> None:
    reported = (Service("tcp", "192.168.0.7", 50001), Service("tcp", "localhost", 50001))
    peers = manager(Internet(), VirtualClock(), report_services=reported)
    assert peers.listed(tor=False) == []
    assert peers.features() == {"hosts": {}}
    assert peers.announcement() == {}


# -- what wallets are told


def good(peers: PeerManager, clock: VirtualClock, host: str, *addresses: str) -> None:
    peer = Peer(host, 50001, addresses=tuple(map(ip, addresses)), last_good=clock.monotonic())
    peers.peers[host] = peer


async def test_a_neighbourhood_is_told_of_twice_and_onions_are_a_small_part() -> None:
    clock = VirtualClock()
    peers = manager(Internet(), clock)
    for n in range(5):
        good(peers, clock, f"n{n}.example", f"8.8.{n}.1")
    for n in range(60):
        good(peers, clock, f"{n:056d}.onion")
    told = [row[1] for row in peers.listed(tor=False)]
    assert sum(host.startswith("n") for host in told) == 2
    assert sum(host.endswith(".onion") for host in told) == 10
    assert sum(row[1].endswith(".onion") for row in peers.listed(tor=True)) == 50
    for n in range(80):
        good(peers, clock, f"w{n}.example", f"{n + 11}.1.0.1")
    told = [row[1] for row in peers.listed(tor=False)]
    assert sum(host.endswith(".onion") for host in told) in (20, 19)
    await clock.advance(3 * 3600 + 1)
    assert peers.listed(tor=False) == [], "nobody was seen lately"


async def test_onion_servers_are_reached_by_the_proxy_alone_and_with_force_all_are() -> None:
    internet, clock = Internet(), VirtualClock()
    peers = manager(internet, clock)
    onion = "a" * 56 + ".onion"
    peers._note(Peer(onion, 50001), Peer("plain.example", 50001))
    internet.names["plain.example"] = (ip("8.8.4.4"),)
    await looked(peers)
    assert internet.dialled == [("tcp://plain.example:50001", None)], "without a proxy no onion is tried"
    internet.proxies[9150] = True
    for force in (False, True):
        internet.dialled.clear()
        peers = manager(internet, clock, force_proxy=force)
        peers._note(Peer(onion, 50001), Peer("plain.example", 50001))
        task = asyncio.create_task(peers.run())
        await until(clock, lambda: len(internet.dialled) == 2)
        await cancelled(task)
        proxy = "socks5://127.0.0.1:9150"
        assert dict(internet.dialled)[f"tcp://{onion}:50001"] == proxy
        assert dict(internet.dialled)["tcp://plain.example:50001"] == (proxy if force else None)


async def looked(peers: PeerManager) -> None:
    peers.look_around()
    await asyncio.wait(peers._looking.values())


async def test_a_host_that_resolves_to_a_private_address_is_not_visited() -> None:
    internet = Internet()
    internet.names["trap.example"] = (ip("127.0.0.1"),)
    peers = manager(internet, VirtualClock())
    peers._note(Peer("trap.example", 22))
    await looked(peers)
    assert internet.dialled == []
    assert peers.peers["trap.example"].bad


async def test_blacklisted_and_banned_hosts_are_forgotten_and_not_taken_again() -> None:
    internet, clock = Internet(), VirtualClock()
    internet.documents["http://list"] = json.dumps(["*.evil.example", 7]).encode()
    peers = manager(internet, clock, blacklist_url="http://list")
    peers._note(Peer("a.evil.example", 50001), Peer("b.example", 50001), Peer("c.example", 50001))
    task = asyncio.create_task(peers.run())
    await until(clock, lambda: "a.evil.example" not in peers.peers)
    assert not peers.heard("z.evil.example t", "irc")
    peers._bans.ban("b.example")
    peers.drop_banned()
    assert "b.example" not in peers.peers
    internet.documents["http://list"] = b"[]"
    await until(clock, lambda: peers.heard("a.evil.example t", "irc"))
    await cancelled(task)


async def test_strangers_cannot_fill_the_memory() -> None:
    peers = manager(Internet(), VirtualClock())
    for n in range(1100):
        peers.heard(f"h{n}.example t", "irc")
    assert len(peers.peers) == 1000


async def test_what_the_operator_may_add() -> None:
    peers = manager(Internet(), VirtualClock())
    assert "looked at" in peers.add_by_hand("new.example v1.4 s t")
    assert [str(door) for door in peers.peers["new.example"].endpoints()] == [
        "ssl://new.example:50002",
        "tcp://new.example:50001",
    ]
    for text in ("", "localhost t", "new.example", "10.0.0.1 t", "new.example t99999999"):
        with pytest.raises(PeerError):
            peers.add_by_hand(text)


# -- notations and the list


@pytest.mark.parametrize(
    "text", ["", "x", "a.example", "a.example v1.4", "a.example t0", "a b", ".. t", "a.example t-1"]
)
async def test_what_is_no_peer(text: str) -> None:
    assert Peer.from_real_name(text, "test", MAINNET_PORTS) is None


async def test_rows_go_there_and_back() -> None:
    peer = Peer.from_real_name("e.example v1.4.2 s50010 t", "test")
    assert peer is not None
    again = Peer.from_row(peer.row(), "test")
    assert again is not None
    assert again.real_name() == peer.real_name() == "e.example v1.4.2 s50010 t50001"
    for nonsense in (None, [], ["a"], ["a", 1, []], ["a", "b.example", "x"], ["a", "b.example", [1]]):
        assert Peer.from_row(nonsense, "test") is None


async def test_the_list_that_comes_along_is_readable() -> None:
    assert len(listed_by_default(coin("btc", "mainnet"))) > 50
    for row in COINS.values():
        for text in listed_by_default(row):
            peer = Peer.from_real_name(text, "list")
            assert peer is not None, text
            assert is_host(peer.host)


async def test_the_real_network_finds_a_proxy_by_its_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(3) == b"\x05\x01\x00"
        writer.write(b"\x05\x00")
        writer.close()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400\r\n\r\n")
        writer.close()

    tor = await asyncio.start_server(serve, "127.0.0.1", 0)
    web = await asyncio.start_server(silent, "127.0.0.1", 0)
    port, other = (server.sockets[0].getsockname()[1] for server in (tor, web))
    network = RealNetwork()
    assert await network.find_proxy("127.0.0.1", (free_ports(1)[0], other, port)) == port
    assert await network.find_proxy("127.0.0.1", (other,)) is None
    assert ip("127.0.0.1") in await network.resolve("127.0.0.1")
    assert await network.resolve("no-such-host.invalid") == ()
    for server in (tor, web):
        server.close()
