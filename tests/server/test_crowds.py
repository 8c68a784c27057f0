"""A thousand connections that want nothing good cost the others nothing: counted and bounded, never timed."""

from __future__ import annotations

import asyncio
import tracemalloc
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import pytest
from tests.server.conftest import LOT, LTC, MARKET, RATE, Exchange, until

from twinlock.gate.waiting_room import WaitingRoom
from twinlock.protocol import routes
from twinlock.protocol.constants import PING_MS
from twinlock.protocol.limits import ALLOWANCES, MAX_SEND_QUEUE, QUARANTINE_MS, Meter
from twinlock.protocol.messages.book import BookSubscription
from twinlock.protocol.messages.orders import PreimageRequest
from twinlock.protocol.orders import Side
from twinlock.protocol.wire import Hex
from twinlock.seams import VirtualClock
from twinlock.server.comms.channel import Channel
from twinlock.server.comms.frames import Opcode, encode
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.comms.link import (
    INBOX_HIGH,
    LONG_WAIT_S,
    MAX_SEND_BYTES,
    PONG_WAIT_S,
    PORTION,
    READ_WAIT_S,
    WRITE_WAIT_S,
    Link,
)
from twinlock.server.comms.listener import Conversation
from twinlock.server.comms.outgoing import Spliced

pytestmark = pytest.mark.anyio

CROWD = 1_000


class Wire(asyncio.Transport):
    """A transport that counts. One whose peer does not read asks for a pause as soon as it holds anything."""

    def __init__(self, link: Link, *, reads: bool = True, keeps: bool = False) -> None:
        super().__init__()
        self.keeps = keeps
        self.link = link
        self.reads = reads
        self.held = self.writes = 0
        self.last = b""
        self.seen = bytearray()
        self.closed = self.receiving = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes += 1
        self.last = bytes(data)
        if self.keeps:
            self.seen += data
        if not self.reads:
            self.held += len(data)
            self.link.pause_writing()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.receiving = False

    def resume_reading(self) -> None:
        self.receiving = True


class Cut(asyncio.Transport):
    """A transport that tells when it was cut."""

    def __init__(self, lost: asyncio.Future[None]) -> None:
        super().__init__()
        self._lost = lost

    def abort(self) -> None:
        self._lost.set_result(None)


def crowd(hub: Hub, clock: VirtualClock, *, reads: bool = True) -> list[Wire]:
    """Connected links, each from an address of its own."""
    wires = []
    for number in range(CROWD):
        link = Link(hub, f"10.0.{number // 250}.{number % 250}", clock)
        wires.append(Wire(link, reads=reads))
        link.connection_made(wires[-1])
    return wires


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def hub(clock: VirtualClock) -> Hub:
    return Hub(clock)


async def test_links_that_never_authenticate_have_no_task_and_are_cut_in_time(hub: Hub, clock: VirtualClock) -> None:
    tasks = len(asyncio.all_tasks())
    wires = crowd(hub, clock)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == tasks
    assert hub.connected == CROWD
    for wire in wires:
        wire.link.tick(clock.monotonic() + READ_WAIT_S)
    assert hub.connected == 0
    assert all(wire.closed for wire in wires)


async def test_pings_are_empty_come_in_time_and_a_pong_moves_the_deadline(hub: Hub, clock: VirtualClock) -> None:
    """A client drops a link that shows it nothing for 20 s, and answers with an empty pong whatever it was sent."""
    [wire] = crowd(hub, clock)[:1]
    pinged = [clock.monotonic()]
    while not wire.closed:
        await clock.advance(1)
        before = wire.writes
        wire.link.tick(clock.monotonic())
        await asyncio.sleep(0)
        if wire.writes > before and not wire.closed:
            assert wire.last == bytes((0x80 | Opcode.PING, 0))
            pinged.append(clock.monotonic())
            if len(pinged) == 2:
                wire.link.data_received(bytes((0x80 | Opcode.PONG, 0x80, 1, 2, 3, 4)))
    assert len(pinged) > 2
    assert all(later - earlier <= PING_MS / 1000 for earlier, later in pairwise(pinged))
    assert clock.monotonic() == pinged[1] + PONG_WAIT_S


async def test_links_that_read_nothing_hold_a_bounded_queue_and_do_not_slow_the_reader(
    hub: Hub, clock: VirtualClock
) -> None:
    deaf = crowd(hub, clock, reads=False)
    attentive = Wire(Link(hub, "10.1.0.1", clock))
    attentive.link.connection_made(attentive)
    channel = Channel()
    for wire in (*deaf, attentive):
        channel.add(wire.link)
    frame = encode(Opcode.TEXT, b"news")
    for _ in range(3):
        channel.publish(frame)
    await until(lambda: attentive.writes > 0)
    written = [wire.writes for wire in deaf]
    for _ in range(MAX_SEND_QUEUE - 1):
        for wire in deaf[:50]:
            wire.link.send_frame(frame)
    assert max(written) == 1  # a link whose peer does not read is not written to again
    assert all(wire.held <= 3 * len(frame) for wire in deaf)
    for wire in deaf[:50]:
        wire.link.send_frame(frame)
    assert all(wire.closed for wire in deaf[:50])  # the queue is full
    await clock.advance(WRITE_WAIT_S + 1)
    for wire in (*deaf, attentive):
        wire.link.tick(clock.monotonic())
    assert hub.connected == 1
    assert set(channel) == {attentive.link}


async def test_answers_wait_for_a_link_up_to_so_many_bytes(hub: Hub, clock: VirtualClock) -> None:
    """What is sent to it unasked, and the one answer that may be larger than all of that."""
    [deaf] = crowd(hub, clock, reads=False)[:1]
    deaf.link.send_frame(encode(Opcode.TEXT, bytes(4 * MAX_SEND_BYTES)))
    await until(lambda: deaf.writes == 1)
    frame = encode(Opcode.TEXT, bytes(MAX_SEND_BYTES // 4))
    for _ in range(4):
        deaf.link.send_frame(frame)
    assert not deaf.closed
    deaf.link.send_frame(frame)
    assert deaf.closed


def text(message: bytes) -> bytes:
    """A short frame of a client, masked with nothing."""
    return bytes((0x81, 0x80 | len(message))) + bytes(4) + message


BOOK = b"[" + b"1," * 2**21 + b"1]"


async def long_book(call: Call[BookSubscription]) -> Any:
    return Spliced(b'{"orders":', BOOK, b"}")


async def test_slow_readers_of_a_big_book_hold_one_book_together(hub: Hub, clock: VirtualClock) -> None:
    hub.serve(routes.ORDERBOOK, long_book)
    deaf = crowd(hub, clock, reads=False)[:100]
    ask = text(b'{"type":1,"route":"orderbook","id":1,"payload":{"base":2,"quote":0}}')
    tracemalloc.start()
    for wire in deaf:
        for _ in range(20):
            wire.link.data_received(ask)
    await until(lambda: all(wire.held for wire in deaf))
    for _ in range(100):
        await asyncio.sleep(0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < len(deaf) * 4 * PORTION < len(deaf) * len(BOOK) / 10
    assert all(wire.held < 2 * PORTION for wire in deaf)


async def test_a_long_frame_arrives_whole_and_the_next_question_is_answered_after_it(
    hub: Hub, clock: VirtualClock
) -> None:
    hub.serve(routes.ORDERBOOK, long_book)
    wire = Wire(Link(hub, "10.1.0.1", clock), reads=False, keeps=True)
    wire.link.connection_made(wire)
    for number in b"1", b"2":
        wire.link.data_received(text(b'{"type":1,"route":"orderbook","id":%b,"payload":{"base":2,"quote":0}}' % number))
    wire.link.send_frame(note := encode(Opcode.TEXT, b"a note"))
    answers = [
        encode(Opcode.TEXT, b'{"type":2,"id":%d,"payload":{"result":{"orders":%b}},"sig":""}' % (number, BOOK))
        for number in (1, 2)
    ]
    expected = note + answers[0] + answers[1]
    await until(lambda: wire.writes > 0)
    while len(wire.seen) < len(expected):
        before = len(wire.seen)
        wire.link.resume_writing()
        await until(lambda before=before: len(wire.seen) > before)  # type: ignore[misc]
    assert bytes(wire.seen) == expected


@pytest.mark.parametrize("together", [True, False])
async def test_what_a_slow_reader_answers_is_taken_at_once(hub: Hub, clock: VirtualClock, together: bool) -> None:
    """It may be a preimage, which is due before the book has arrived."""
    hub.serve(routes.ORDERBOOK, long_book)
    [slow] = crowd(hub, clock, reads=False)[:1]
    hub.authenticate(slow.link, account := bytes(32))
    question = PreimageRequest(order_id=Hex(b"1"), commitment=Hex(b"2"), csum=Hex(b"3"))
    asked = hub.request(account, routes.PREIMAGE, question, 20_000)
    await until(lambda: slow.writes > 0)
    slow.link.resume_writing()
    ask = text(b'{"type":1,"route":"orderbook","id":1,"payload":{"base":2,"quote":0}}')
    reply = text(b'{"type":2,"id":%d,"payload":{"result":{"pimg":"%b"}}}' % (asked.number, b"07" * 32))
    for words in (ask + reply,) if together else (ask, reply):
        slow.link.data_received(words)
        await until(lambda: slow.writes > 1)
    await until(asked.answer.done)
    assert (await asked.answer).preimage == bytes([7] * 32)
    assert slow.held < 3 * PORTION


async def test_who_reads_a_long_frame_too_slowly_is_cut(hub: Hub, clock: VirtualClock) -> None:
    hub.serve(routes.ORDERBOOK, long_book)
    [slow] = crowd(hub, clock, reads=False)[:1]
    slow.link.data_received(text(b'{"type":1,"route":"orderbook","id":1,"payload":{"base":2,"quote":0}}'))
    await until(lambda: slow.writes > 0)
    began = clock.monotonic()
    while not slow.closed:
        await clock.advance(WRITE_WAIT_S - 1)
        slow.link.resume_writing()
        slow.link.tick(clock.monotonic())
    assert LONG_WAIT_S < clock.monotonic() - began < LONG_WAIT_S + WRITE_WAIT_S


@pytest.mark.parametrize("reads", [True, False])
async def test_who_does_not_read_what_it_asked_over_http_is_cut(reads: bool) -> None:
    lost = asyncio.get_running_loop().create_future()
    conversation = Conversation(asyncio.Protocol(), WaitingRoom(1), patience=0)
    wire = Cut(lost)
    conversation.connection_made(wire)
    conversation.pause_writing()
    if reads:
        conversation.resume_writing()
    for _ in range(3):
        await asyncio.sleep(0)
    assert lost.done() is not reads


async def test_a_flood_is_not_read_further_than_the_inbox(hub: Hub, clock: VirtualClock) -> None:
    [wire] = crowd(hub, clock)[:1]
    frame = b"\x81\x82" + bytes(4) + b"{}"
    wire.receiving = True
    wire.link.data_received(frame * (INBOX_HIGH + 1))
    assert not wire.receiving
    await until(lambda: wire.receiving)


async def test_links_that_come_and_go_leave_no_trace(hub: Hub, clock: VirtualClock) -> None:
    for _ in range(3):
        for wire in crowd(hub, clock):
            wire.link.connection_lost(None)
    assert hub.connected == 0
    assert hub.refusal("10.0.0.1") is None
    assert not hub._per_address
    assert hub.asked == 0


async def test_a_quarantine_ends_and_is_forgotten_whoever_never_comes_back(hub: Hub, clock: VirtualClock) -> None:
    for number in range(CROWD):
        hub.quarantine(f"10.3.0.{number}")
    hub.quarantine("127.0.0.1")
    assert hub.refusal("10.3.0.7") is HTTPStatus.UNAUTHORIZED
    assert hub.refusal("127.0.0.1") is None
    await clock.advance(QUARANTINE_MS / 1000)
    hub.expire(clock.monotonic())
    assert hub.refusal("10.3.0.7") is None
    assert not hub._quarantined


@pytest.mark.parametrize(("address", "shared"), [("10.2.0.1", True), ("127.0.0.1", False), ("::1", False)])
def test_clients_behind_this_machine_are_charged_alone(address: str, shared: bool) -> None:
    """As those of an onion service are, who all come from one address."""
    clock = VirtualClock()
    hub = Hub(clock)
    first, second = Link(hub, address, clock), Link(hub, address, clock)
    burst = ALLOWANCES[Meter.ORDERS].burst
    assert [hub.meters.allows("limit", address, first.meter) for _ in range(burst + 1)] == [True] * burst + [False]
    assert hub.meters.allows("limit", address, second.meter) is not shared


async def test_a_crowd_beside_a_trader_does_not_draw_from_its_buckets(exchange: Exchange) -> None:
    """A real server and a real trader, who trades as if the strangers at their limits were not there."""
    trader = await exchange.trader()
    hub = exchange.running.hub
    strangers = [Link(hub, f"10.2.0.{number}", VirtualClock()) for number in range(200)]
    enough = 2 * ALLOWANCES[Meter.ORDERS].burst  # the buckets fill again meanwhile, by the real clock
    for link in strangers:
        assert not all(hub.meters.allows("limit", link.address, link.meter) for _ in range(enough))
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    assert (await trader.ask(routes.CONFIG, None)).api_version == 3
