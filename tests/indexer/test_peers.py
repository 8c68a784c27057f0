"""Peers: servers find each other, look at each other, and forget who goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.chains import block, transaction
from tests.indexer.internet import Internet, Server, looked, manager, running, until
from tests.indexer.wire import Wallet
from tests.indexer.worlds import World

from twinlock.indexer.peer import Peer, State
from twinlock.indexer.peer_store import PeerStore
from twinlock.seams import VirtualClock

pytestmark = pytest.mark.anyio


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
