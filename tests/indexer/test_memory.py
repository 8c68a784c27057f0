"""What keeps the indexer below its ceiling: shares, what waits for sessions, large answers in turns, subscriptions."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.indexer.guests import Guest, public_world

from twinlock.indexer.caches import StatusCache, TreeCache
from twinlock.indexer.large import LargeAnswers
from twinlock.indexer.memory import LEAST_MEMORY, Ceiling, Hoard, resident, shares
from twinlock.indexer.methods import EXCESSIVE, RpcError
from twinlock.indexer.session import Session
from twinlock.indexer.subscriptions import PER_WATCH, Subscriptions, Watchers
from twinlock.seams import VirtualClock


@pytest.mark.parametrize("memory", [LEAST_MEMORY, 600 << 20, 4 << 30])
def test_the_shares_leave_room_for_the_program_and_for_what_is_mapped(memory: int) -> None:
    room = shares(memory)
    assert all(share > 0 for share in room)
    assert sum(room) - room.rows < memory * 0.8
    assert room.rows < memory * 0.8


def test_who_holds_most_is_ended_when_all_hold_too_much() -> None:
    ended: list[str] = []
    hoard: Hoard[str] = Hoard(100, ended.append)
    hoard.note("a", 40)
    hoard.note("b", 50)
    assert hoard.fits(10)
    assert not hoard.fits(11)
    hoard.note("a", 30)
    hoard.note("c", 20)
    assert not ended
    hoard.note("c", 45)
    assert (ended, hoard.total) == (["b"], 75)
    hoard.measure({"a": 0, "c": 1}.__getitem__)
    assert hoard.total == 1
    hoard.note("c", 0)
    assert hoard.fits(10**9), "one thing always may be, or nobody would ever get it"


def test_what_costs_least_is_let_go_first_and_only_what_has_to_be() -> None:
    held, gone = [90], []

    def let_go(name: str, rest: int) -> Callable[[], None]:
        def call() -> None:
            gone.append(name)
            held[0] = rest

        return call

    steps = ((0.6, let_go("mapped", 85)), (0.8, let_go("free", 70)), (0.9, let_go("caches", 10)))
    ceiling = Ceiling(100, steps, lambda: held[0])
    ceiling.look()
    assert gone == ["mapped", "free"]
    held[0] = 59
    ceiling.look()
    assert gone == ["mapped", "free"]


def test_what_a_process_holds_is_known_here() -> None:
    assert resident() > 10 << 20


def test_caches_keep_within_their_bytes() -> None:
    statuses, trees = StatusCache(33_000), TreeCache(700)
    for number in range(1000):
        statuses.put(number.to_bytes(11, "big"), "x")
        trees.put(number, bytes(30))
    assert sum(number.to_bytes(11, "big") in statuses for number in range(1000)) == 33_000 * 3 // 4 // 330
    assert [trees.get(number) is not None for number in (996, 997, 999)] == [False, True, True]


# -- large answers


class Desk:
    """Large answers whose work waits until it is let go."""

    def __init__(self) -> None:
        self.clock = VirtualClock(0)
        self.deaf: set[str] = set()
        self.room = 1000
        self.begun: list[str] = []
        self.gate = threading.Semaphore(0)
        self.large = LargeAnswers(lambda who: who not in self.deaf, lambda size: size <= self.room, self.clock)

    def ask(self, who: str, name: str, size: int = 1) -> asyncio.Future[Any]:
        def work() -> str:
            self.begun.append(name)
            assert self.gate.acquire(timeout=30)
            return name.upper()

        return self.large.ask(who, size, work)

    async def let(self, *answers: asyncio.Future[Any]) -> None:
        """Let these, and no others, be worked out."""
        for _ in answers:
            self.gate.release()
        await asyncio.gather(*answers)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    for _ in range(100):
        made.gate.release()
    made.large.close()


@pytest.mark.anyio
async def test_sessions_take_turns_however_much_one_of_them_asks(desk: Desk) -> None:
    greedy = [desk.ask("greedy", f"g{n}") for n in range(4)]
    modest = desk.ask("modest", "m")
    await desk.let(greedy[0], greedy[1], modest)
    assert modest.result() == "M"
    await desk.let(*greedy[2:])
    assert desk.begun == ["g0", "g1", "m", "g2", "g3"]


@pytest.mark.anyio
async def test_an_answer_waits_for_room_and_for_its_reader(desk: Desk) -> None:
    desk.deaf = {"deaf"}
    unheard, heard = desk.ask("deaf", "d"), desk.ask("other", "o")
    await desk.let(heard)
    assert not unheard.done()
    too_large = desk.ask("other", "large", 400)
    await desk.clock.advance(2.5)
    assert desk.large.short_for == 2.5
    desk.room = 1200
    desk.large.go_on()
    assert desk.large.short_for == 0
    await desk.let(too_large)
    desk.deaf = set()
    desk.large.go_on()
    await desk.let(unheard)
    assert desk.begun == ["o", "large", "d"]


@pytest.mark.anyio
async def test_what_nobody_waits_for_any_more_is_not_begun(desk: Desk) -> None:
    first, second, third = desk.ask("a", "1"), desk.ask("b", "2"), desk.ask("c", "3")
    second.cancel()
    await desk.let(first, third)
    assert desk.begun == ["1", "3"]


@pytest.mark.anyio
async def test_an_answer_that_fails_is_the_askers_alone(desk: Desk) -> None:
    def fail() -> None:
        raise ValueError("no")

    failed, good = desk.large.ask("a", 1, fail), desk.ask("b", "good")
    with pytest.raises(ValueError, match="no"):
        await failed
    await desk.let(good)


# -- subscriptions


def subscriber(watchers: Watchers) -> tuple[Subscriptions, Any]:
    session = SimpleNamespace(account=SimpleNamespace(subscriptions=0))
    return Subscriptions(cast(Session, session), watchers), session.account


def test_there_are_as_many_subscriptions_as_there_is_room_for() -> None:
    watchers = Watchers(3 * PER_WATCH)
    x, y, z = (name * 64 for name in "xyz")  # as long as script hashes
    (one, account), (two, _) = subscriber(watchers), subscriber(watchers)
    one.watch("m", x, b"x", None)
    one.watch("m", y, b"y", None)
    two.watch("m", x, b"x", None)
    two.watch("m", x, b"x", "known again")  # the same one
    with pytest.raises(RpcError, match="no room") as refused:
        two.watch("m", z, b"z", None)
    assert refused.value.number == EXCESSIVE
    assert (watchers.count, len(watchers), len(one), account.subscriptions) == (3, 2, 2, 2)
    assert [watch.known for watch in watchers.of(b"x")].count("known again") == 1
    assert one.unwatch("m", x)
    assert not one.unwatch("m", x)
    assert not two.unwatch("m", z)
    assert len(watchers.of(b"x")) == 1
    two.watch("m", z, b"z", None)
    two.end()
    assert set(watchers.keys()) == {b"y"}
    assert not watchers.of(b"x")
    one.end()
    assert (watchers.count, len(watchers)) == (0, 0)


def test_what_has_a_long_name_takes_more_room() -> None:
    watchers = Watchers(100 * PER_WATCH)
    mine, _ = subscriber(watchers)
    mine.watch("m", "51" * 10_000, b"x", None)
    with pytest.raises(RpcError, match="no room"):
        for number in range(99):
            mine.watch("m", f"{number:020000}", b"y", None)
    assert watchers.count < 4
    mine.end()
    for number in range(100):
        mine.watch("m", f"{number:064}", b"z", None)


def test_a_subscription_takes_no_more_than_is_reckoned() -> None:
    watchers = Watchers(1 << 30)
    mine, _ = subscriber(watchers)
    tracemalloc.start()
    try:
        for number in range(20_000):
            mine.watch("m", number.to_bytes(32, "big").hex(), number.to_bytes(11, "big"), f"{number:064}")
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 20_000 < PER_WATCH


# -- sessions


@pytest.mark.anyio
async def test_of_those_who_do_not_finish_their_requests_the_greediest_is_ended() -> None:
    world = public_world(VirtualClock())
    world.shared.unheard.limit = 1_000_000
    modest, greedy, patient = (Guest.greeted(world) for _ in range(3))
    modest.session.data_received(b'{"method":"' + b"x" * 100_000)
    greedy.session.data_received(b'{"method":"' + b"x" * 500_000)
    patient.session.data_received(b'{"method":"' + b"x" * 300_000)
    assert not greedy.pipe.ended()
    modest.session.data_received(b"x" * 200_000)
    assert [guest.pipe.ended() for guest in (modest, greedy, patient)] == ["", "aborted", ""]
    greedy.session.connection_lost(None)
    patient.session.data_received(b"\n")
    assert world.shared.unheard.total == 300_011


@pytest.mark.anyio
async def test_requests_that_wait_for_the_node_count_as_well() -> None:
    world = public_world(VirtualClock())
    world.node.stuck = asyncio.Event()
    world.shared.unheard.limit = 1_000_000
    modest, greedy = Guest.greeted(world), Guest.greeted(world)
    sent = b'{"id":1,"method":"blockchain.transaction.broadcast","params":["%b"]}\n'
    modest.session.data_received(sent % (b"00" * 50_000))
    for _ in range(2):
        greedy.session.data_received(b"[" + (sent % (b"00" * 95_000)).strip() + b"]\n")
    assert 900_000 < world.shared.unheard.total < 1_000_000
    modest.session.data_received(sent % (b"00" * 50_000))
    assert [guest.pipe.ended() for guest in (modest, greedy)] == ["", "aborted"]
    greedy.session.connection_lost(None)
    world.node.stuck.set()
    for _ in range(200):
        await asyncio.sleep(0)
    assert (world.shared.unheard.total, modest.pipe.ended()) == (0, "")


@pytest.mark.anyio
async def test_answers_that_nobody_reads_count_together() -> None:
    world = public_world(VirtualClock())
    world.shared.unread.limit = 5_000_000
    first, second, third = (Guest.greeted(world) for _ in range(3))
    for guest, unread in ((first, 1_000_000), (second, 3_000_000)):
        guest.pipe.buffered = unread
        guest.ask("server.ping")
    second.pipe.buffered = 2_500_000  # it reads, slowly
    world.manager.make_room()
    third.pipe.buffered = 1_500_000
    third.ask("server.ping")
    assert not any(guest.pipe.ended() for guest in (first, second, third))
    third.pipe.buffered = 1_600_000
    third.ask("server.ping")
    assert [guest.pipe.ended() for guest in (first, second, third)] == ["", "aborted", ""]
    first.pipe.buffered = 0
    first.session.resume_writing()
    assert world.shared.unread.total == 1_600_000


@pytest.mark.anyio
async def test_where_large_answers_have_no_room_one_who_does_not_read_makes_it() -> None:
    clock = VirtualClock()
    world = public_world(clock)
    world.shared.unread.limit = 1_000_000
    deaf, asker = Guest.greeted(world), Guest.greeted(world)
    deaf.pipe.buffered = 900_000
    deaf.ask("server.ping")
    answer = world.shared.large.ask(asker.session, 200_000, lambda: "large")
    world.manager.make_room()
    await clock.advance(1.9)
    world.manager.make_room()
    assert not deaf.pipe.ended()
    await clock.advance(0.2)
    world.manager.make_room()
    assert deaf.pipe.ended() == "aborted"
    assert await answer == "large"
    await world.manager.close()
