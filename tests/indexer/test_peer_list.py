"""The list of peers: who asks to be on it, who is kept off it, and what wallets are told of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.internet import Internet, Link, cancelled, ip, looked, manager, until
from tests.indexer.worlds import World

from twinlock.chain.coins import COINS, coin
from twinlock.indexer.bans import Bans
from twinlock.indexer.env import Env, Service
from twinlock.indexer.peer import MAINNET_PORTS, Peer, is_host
from twinlock.indexer.peer_network import RealNetwork
from twinlock.indexer.peers import PeerError, PeerManager, listed_by_default
from twinlock.seams import SeededEntropy, VirtualClock
from twinlock.simnet.ports import free_ports

pytestmark = pytest.mark.anyio


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


async def test_private_services_are_not_reported() -> None:
    reported = (Service("tcp", "192.168.0.7", 50001), Service("tcp", "localhost", 50001))
    peers = manager(Internet(), VirtualClock(), report_services=reported)
    assert peers.listed(tor=False) == []
    assert peers.features() == {"hosts": {}}
    assert peers.announcement() == {}


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
