"""What keeps guests in bounds: costs of sessions and networks, limits, pauses, time-outs, slow readers. None waits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.guests import ELSEWHERE, PUBLIC, Guest, public_world, settle
from tests.indexer.worlds import SCRIPT, World, name

from twinlock.indexer.bans import BanError, Bans
from twinlock.indexer.costs import CONNECTION_COST, Account, Costs, Group, address_of, group_of
from twinlock.indexer.env import Env, Service
from twinlock.seams import VirtualClock

pytestmark = pytest.mark.anyio

NEIGHBOUR = "8.8.4.77"
"""Of the same network as `PUBLIC`."""


def env(**settings: Any) -> Env:
    settings = {"cost_soft_limit": 100, "cost_hard_limit": 1000, **settings}
    return Env(data_dir=Path(), network="mainnet", **settings)


def opened(costs: Costs, address: str, **rules: Any) -> Account:
    account = costs.open(group_of((address, 1), **rules))
    assert account is not None
    return account


async def test_a_session_is_slowed_then_ended_and_its_cost_wears_off() -> None:
    clock = VirtualClock()
    costs = Costs(env(), clock)
    account = opened(costs, PUBLIC)
    assert costs.own(account) == CONNECTION_COST
    assert costs.charge(account, 95) == 0
    assert costs.charge(account, 450) == pytest.approx(0.5)
    assert costs.charge(account, 450) == 1
    await clock.advance(5000)
    assert costs.own(account) == pytest.approx(500)
    await clock.advance(5000)
    assert costs.own(account) == 0


async def test_subscriptions_make_costs_wear_off_more_slowly() -> None:
    clock = VirtualClock()
    costs = Costs(env(), clock)
    account = opened(costs, PUBLIC)
    account.subscriptions = 2000
    costs.charge(account, 995)
    await clock.advance(10_000)
    assert costs.own(account) == pytest.approx(500)


async def test_a_network_bears_a_quarter_of_what_its_sessions_cost_even_when_they_have_gone() -> None:
    clock = VirtualClock()
    costs = Costs(env(), clock)
    heavy, light, other = (opened(costs, address) for address in (PUBLIC, NEIGHBOUR, ELSEWHERE))
    costs.charge(heavy, 795)
    assert costs.total(light) == pytest.approx(5 + 800 / 4)
    assert costs.total(other) == 5
    costs.close(heavy)
    assert costs.total(opened(costs, "8.8.4.200")) == pytest.approx(5 + 805 / 4)
    await clock.advance(1000)  # 200 of the hard limit's 1,000 are refunded
    assert costs.of_group("8.8.4.0/24") == pytest.approx(610)


async def test_a_network_that_owes_too_much_is_not_let_in_until_it_is_refunded() -> None:
    clock = VirtualClock()
    costs = Costs(env(), clock)
    for _ in range(4):
        account = opened(costs, PUBLIC)
        costs.charge(account, 1000)
        costs.close(account)
    assert costs.open(group_of((NEIGHBOUR, 1))) is None
    assert costs.open(group_of((ELSEWHERE, 1))) is not None
    await clock.advance(1000)
    assert costs.open(group_of((NEIGHBOUR, 1))) is not None


async def test_one_network_gets_a_quarter_of_the_sessions_at_most() -> None:
    costs = Costs(env(max_sessions=12), VirtualClock())
    accounts = [opened(costs, f"8.8.4.{n}") for n in range(3)]
    assert costs.open(group_of((NEIGHBOUR, 1))) is None
    opened(costs, ELSEWHERE)
    costs.close(accounts[0])
    opened(costs, NEIGHBOUR)
    for _ in range(12):
        opened(costs, "192.168.1.5")


async def test_private_addresses_answer_for_themselves_alone_and_tor_is_one_large_group() -> None:
    costs = Costs(env(), VirtualClock())
    first, second = opened(costs, "127.0.0.1"), opened(costs, "127.0.0.1")
    costs.charge(first, 900)
    assert costs.total(second) == 5, "loopback shares nothing"
    assert costs.charge(first, 100) == 1, "but is not exempt"
    tor = [opened(costs, "127.0.0.1", tor=True) for _ in range(2)]
    costs.charge(tor[0], 995)
    assert tor[1].group == Group("tor", 0.01, 1.0)
    assert costs.total(tor[1]) == pytest.approx(5 + 1000 / 100), "who shares an address with many is not ended for one"


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        (("8.8.4.4", 1), "8.8.4.0/24"),
        (("::ffff:8.8.4.4", 1, 0, 0), "8.8.4.0/24"),
        (("2600:db8:1:2::3", 1, 0, 0), "2600:db8:1::/48"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/48"),
        (None, "unknown"),
        (("socket",), "unknown"),
    ],
)
async def test_where_peers_belong(peer: Any, group: str) -> None:
    assert group_of(peer).name == group


async def test_the_size_of_networks_is_the_operators_choice() -> None:
    assert group_of((PUBLIC, 1), ipv4=16).name == "8.8.0.0/16"
    assert group_of(("2600:db8:1:2::3", 1), ipv6=32).name == "2600:db8::/32"


async def test_groups_that_owe_nothing_are_forgotten() -> None:
    clock = VirtualClock()
    costs = Costs(env(), clock)
    costs.close(opened(costs, PUBLIC))
    costs.forget()
    assert costs.groups == {"8.8.4.0/24": (0, 5.0)}
    await clock.advance(100)
    costs.forget()
    assert costs.groups == {}


async def test_limits_of_nothing_limit_nothing() -> None:
    costs = Costs(env(cost_soft_limit=0), VirtualClock())
    assert costs.charge(opened(costs, PUBLIC), 900) == 0
    free = Costs(env(cost_hard_limit=0), VirtualClock())
    assert free.charge(opened(free, PUBLIC), 1e9) == 0


# -- sessions


async def test_above_the_soft_limit_answers_wait_and_the_guest_is_not_read_from() -> None:
    clock = VirtualClock()
    guest = Guest.greeted(public_world(clock))
    guest.session.charge(540)
    assert guest.session.account
    guest.ask("server.ping", times=3)
    assert guest.pipe.sent == []
    assert not guest.pipe.reading()
    await settle()
    await clock.advance(1.0)
    assert guest.pipe.sent == []
    await clock.advance(0.5)  # half of the way to the hard limit: 1.25 s
    await settle()
    assert len(guest.pipe.sent) == 1, "each request makes it rest again"
    for _ in range(4):
        await clock.advance(1.5)
    assert len(guest.pipe.sent) == 3
    assert guest.pipe.reading()
    assert not guest.pipe.ended()


async def test_at_the_hard_limit_there_is_a_last_answer_and_the_end() -> None:
    guest = Guest.greeted(public_world(VirtualClock()))
    with pytest.raises(Exception, match="excessive"):
        guest.session.charge(995)
    guest.session.flush()
    assert guest.pipe.ended() == "closed"
    other = Guest.greeted(public_world(VirtualClock(), cost_hard_limit=105, cost_soft_limit=105))
    other.ask("server.add_peer", {})
    await settle()
    assert other.pipe.sent[-1]["error"] == {"code": -101, "message": "excessive resource usage"}
    assert other.pipe.ended() == "closed"


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b'{"id":1,"method":"dance"}'])
async def test_nonsense_is_paid_for_too(line: bytes) -> None:
    guest = Guest.greeted(public_world(VirtualClock(), cost_soft_limit=0))
    for _ in range(2200):
        guest.session.data_received(line + b"\n")
    assert guest.pipe.ended() == "closed"
    assert guest.pipe.sent[-1]["error"]["code"] == -101


async def test_bytes_in_and_out_are_paid_for() -> None:
    world = public_world(VirtualClock(), bandwidth_unit_cost=100)
    guest = Guest.greeted(world)
    before = guest.session.cost
    guest.ask("blockchain.scripthash.get_history", name(SCRIPT))
    sent = len(json.dumps(guest.pipe.sent[-1], separators=(",", ":"))) + 1
    received = guest.session.received - 95
    assert guest.session.cost - before == pytest.approx(0.5 + (sent + received) / 100, abs=0.5)


async def test_hashing_a_long_history_costs_more_and_once() -> None:
    world = public_world(VirtualClock())
    guest = Guest.greeted(world)
    entries = world.storage.history_size(bytes.fromhex(name(SCRIPT))[:20:-1])
    start = guest.session.cost
    guest.ask("blockchain.scripthash.get_status", name(SCRIPT))
    middle = guest.session.cost
    guest.ask("blockchain.scripthash.get_status", name(SCRIPT))
    assert middle - start == pytest.approx(guest.session.cost - middle + entries * 0.001)


async def test_too_many_sessions_and_banned_ones_are_turned_away() -> None:
    world = public_world(VirtualClock(), max_sessions=2)
    assert not Guest(world, "10.0.0.1").pipe.ended()
    assert not Guest(world, "10.0.0.2").pipe.ended()
    assert Guest(world, "10.0.0.3").pipe.ended() == "aborted"
    world = public_world(VirtualClock())
    world.shared.bans.ban("8.8.0.0/16")
    assert Guest(world).pipe.ended() == "aborted"
    assert not Guest(world, ELSEWHERE).pipe.ended()


async def test_only_so_many_questions_to_the_node_at_once() -> None:
    world = public_world(VirtualClock(), initial_concurrent=3)
    gate = asyncio.Event()
    asked = 0

    async def call(method: str, /, *params: Any) -> Any:
        nonlocal asked
        asked += 1
        await gate.wait()
        return {"relayfee": 0.001}

    world.node.call = call  # type: ignore[method-assign]
    guest = Guest(world)
    guest.ask("server.version", "test", "1.4")
    guest.ask("blockchain.relayfee", times=8)
    await settle()
    assert asked == 3
    assert not guest.pipe.reading(), "what it sends more stays with it"
    gate.set()
    await settle()
    assert asked == 8
    assert len(guest.pipe.sent) == 9
    assert guest.pipe.reading()


async def test_a_node_that_does_not_answer_in_time_gives_an_error_not_silence() -> None:
    clock = VirtualClock()
    world = public_world(clock)

    async def call(method: str, /, *params: Any) -> Any:
        await asyncio.Event().wait()

    world.node.call = call  # type: ignore[method-assign]
    guest = Guest.greeted(world)
    guest.ask("mempool.get_info")
    await clock.advance(29)
    world.manager.look_after()
    await settle()
    assert guest.pipe.sent == []
    await clock.advance(2)
    world.manager.look_after()
    await settle()
    assert guest.pipe.sent[0]["error"] == {"code": -102, "message": "server busy - request timed out"}
    guest.ask("server.ping")
    assert "result" in guest.pipe.sent[1], "the session goes on"


async def test_who_does_not_read_is_neither_read_from_nor_kept() -> None:
    clock = VirtualClock()
    world = public_world(clock, max_send=350_000)
    guest, greedy = Guest.greeted(world), Guest.greeted(world, ELSEWHERE)
    guest.session.pause_writing()
    assert not guest.pipe.reading()
    guest.ask("server.ping")
    assert guest.pipe.sent == []
    guest.session.resume_writing()
    assert guest.pipe.reading()
    assert len(guest.pipe.sent) == 1
    guest.session.pause_writing()
    await clock.advance(29)
    world.manager.look_after()
    assert not guest.pipe.ended()
    await clock.advance(2)
    world.manager.look_after()
    assert guest.pipe.ended() == "aborted"
    greedy.pipe.buffered = 2_000_000
    greedy.ask("server.ping")
    assert greedy.pipe.ended() == "aborted", "no more is kept for it than some of the largest answers"


async def test_a_heavy_guest_does_not_keep_others_waiting() -> None:
    world = World()
    heavy, light = Guest.greeted(world), Guest.greeted(world, ELSEWHERE)
    heavy.ask("blockchain.scripthash.get_history", name(SCRIPT), times=9000)
    light.ask("server.ping")
    assert len(light.pipe.sent) == 1
    assert heavy.session.requests < 9001, "the light one was answered before the heavy one was through"
    for _ in range(9000):
        await asyncio.sleep(0)
    assert len(heavy.pipe.sent) == 9000


async def test_silence_ends_a_session_after_its_time() -> None:
    clock = VirtualClock()
    world = public_world(clock)
    guest, talker = Guest.greeted(world), Guest.greeted(world, ELSEWHERE)
    await clock.advance(500)
    talker.ask("server.ping")
    await clock.advance(101)
    world.manager.look_after()
    assert guest.pipe.ended() == "aborted"
    assert not talker.pipe.ended()


async def test_a_batch_is_no_larger_than_one_answer() -> None:
    world = public_world(VirtualClock(), max_send=2000)
    guest = Guest.greeted(world)
    line = [{"jsonrpc": "2.0", "method": "blockchain.block.headers", "params": [0, 5], "id": n} for n in range(6)]
    guest.session.data_received(json.dumps(line).encode() + b"\n")
    await settle()
    (answers,) = guest.pipe.sent
    errors = [row for row in answers if "error" in row]
    assert len(answers) == 6
    assert errors
    assert all("response too large" in row["error"]["message"] for row in errors)
    assert len(json.dumps(answers)) < 3 * 2000
    assert [row["id"] for row in answers if "result" in row] == [0, 1, 2]


# -- bans


async def test_bans_outlive_the_program(tmp_path: Path) -> None:
    bans = Bans(tmp_path / "bans.json")
    assert bans.ban("198.51.100.7") == "198.51.100.7/32"
    bans.ban("2001:db8::/32")
    bans.ban("*.Evil.example")
    again = Bans(tmp_path / "bans.json")
    assert again.rows() == ["198.51.100.7/32", "2001:db8::/32", "*.evil.example"]
    assert not again.allows(address_of(("198.51.100.7", 1)))
    assert not again.allows(address_of(("::ffff:198.51.100.7", 1)))
    assert again.allows(address_of(("198.51.100.8", 1)))
    assert not again.allows_host("a.evil.example")
    full = Bans(tmp_path / "nowhere" / "bans.json")
    with pytest.raises(BanError, match="not over a restart") as refused:
        full.ban("198.51.100.7")
    assert refused.value.code == "indexer.ban.not_kept"
    assert full.rows() == ["198.51.100.7/32"]
    assert again.unban("198.51.100.7")
    assert not again.unban("198.51.100.7")
    assert Bans(tmp_path / "bans.json").allows(address_of(("198.51.100.7", 1)))


@pytest.mark.parametrize("text", ["", "a b", "10.0.0.0/33", "bücher.example"])
async def test_what_cannot_be_banned(text: str) -> None:
    with pytest.raises(BanError):
        Bans().ban(text)


async def test_services_are_told_apart() -> None:
    assert env(report_services=(Service("tcp", "abc.onion", 50001),)).onion
    assert not env(report_services=(Service("tcp", "example.org", 50001),)).onion
