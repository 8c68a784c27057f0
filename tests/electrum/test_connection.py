"""One conversation: negotiation, pipelining, and the end of it for every kind of fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from twinlock.chain.coins import coin
from twinlock.electrum import methods
from twinlock.electrum.connection import PATIENCE_S, PING_S, Connection
from twinlock.electrum.errors import ConnectionLostError, ElectrumError, FrameError, LyingServerError, ServerError
from twinlock.electrum.framing import (
    LineDecoder,
    Note,
    Request,
    decode_requests,
    encode_error,
    encode_note,
    encode_reply,
)
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.transport import Endpoint, MemoryTransport, memory_pipe
from twinlock.seams import VirtualClock

pytestmark = pytest.mark.anyio

COIN = coin("btc", "regtest")
ANY = Endpoint("tcp", "simulated", 1)


async def opened(server: SimulatedServer, clock: VirtualClock, notes: list[Note] | None = None) -> Connection:
    on_note: Callable[[Note], None] = notes.append if notes is not None else lambda _: None
    transport = await server.dial(ANY)
    return await Connection.open(transport, clock, genesis_hash=COIN.genesis_hash, on_note=on_note)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def server() -> SimulatedServer:
    return SimulatedServer(SimulatedChain(COIN))


class Script:
    """A server that says what the test tells it to."""

    def __init__(self, far: MemoryTransport) -> None:
        self._far = far
        self._decoder = LineDecoder(1_000_000)

    async def hear(self) -> list[Request]:
        while not (lines := self._decoder.feed(await self._far.receive())):
            pass
        return [request for line in lines for request in decode_requests(line)[0]]

    async def say(self, data: bytes) -> None:
        await self._far.send(data)

    async def greet(self) -> None:
        for answer in (["Script", "1.6"], {"genesis_hash": COIN.genesis_hash}):
            (request,) = await self.hear()
            assert isinstance(request.id, int)
            await self.say(encode_reply(request.id, answer))


@asynccontextmanager
async def scripted(clock: VirtualClock, notes: list[Note] | None = None) -> AsyncIterator[tuple[Connection, Script]]:
    far, near = memory_pipe()
    script = Script(far)
    on_note: Callable[[Note], None] = notes.append if notes is not None else lambda _: None
    greeting = asyncio.create_task(script.greet())
    connection = await Connection.open(near, clock, genesis_hash=COIN.genesis_hash, on_note=on_note)
    await greeting
    try:
        yield connection, script
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("highest", "agreed"), [("1.4", (1, 4)), ("1.4.2", (1, 4, 2)), ("1.6", (1, 6)), ("1.7", (1, 6))]
)
async def test_the_highest_common_version_is_agreed_on(
    clock: VirtualClock, highest: str, agreed: tuple[int, ...]
) -> None:
    connection = await opened(SimulatedServer(SimulatedChain(COIN), version=highest), clock)
    assert (connection.version, connection.software) == (agreed, "Simulated 1.0")
    headers = await connection.call(methods.BLOCK_HEADERS, 0, 1)
    assert (headers.headers is None) == (agreed < (1, 6))
    await connection.close()


async def test_a_server_of_another_chain_is_turned_down(clock: VirtualClock) -> None:
    with pytest.raises(LyingServerError) as lie:
        await opened(SimulatedServer(SimulatedChain(coin("ltc", "regtest"))), clock)
    assert lie.value.what == "genesis"


async def test_a_server_that_chooses_what_was_not_offered_is_turned_down(
    server: SimulatedServer, clock: VirtualClock
) -> None:
    server.lies[methods.VERSION.name] = lambda answer: [answer[0], "1.7"]
    with pytest.raises(LyingServerError) as lie:
        await opened(server, clock)
    assert lie.value.what == "version"


async def test_a_server_too_old_says_so(clock: VirtualClock) -> None:
    with pytest.raises(ServerError) as refused:
        await opened(SimulatedServer(SimulatedChain(COIN), version="1.2"), clock)
    assert "unsupported protocol version" in refused.value.text


async def test_answers_may_come_in_any_order(clock: VirtualClock) -> None:
    async with scripted(clock) as (connection, script):
        calls = [asyncio.create_task(connection.call(methods.BANNER)) for _ in range(3)]
        requests: list[Request] = []
        while len(requests) < 3:
            requests += await script.hear()
        for request in reversed(requests):
            assert isinstance(request.id, int)
            await script.say(encode_reply(request.id, f"banner {request.id}"))
        assert [await call for call in calls] == [f"banner {request.id}" for request in requests]


async def test_many_questions_travel_in_batches_and_fail_one_by_one(
    server: SimulatedServer, clock: VirtualClock
) -> None:
    server.chain.mine(3)
    connection = await opened(server, clock)
    answers = await connection.call_many(methods.BLOCK_HEADER, [[height] for height in range(120)])
    assert answers[3] == server.chain.headers[3].serialize().hex()
    assert len(answers) == 120
    assert all(isinstance(answer, ServerError) for answer in answers[4:])
    await connection.close()


async def test_notes_reach_the_listener(clock: VirtualClock) -> None:
    notes: list[Note] = []
    async with scripted(clock, notes) as (_, script):
        await script.say(encode_note("blockchain.headers.subscribe", [1]))
        await clock.advance(0)
        assert notes == [Note("blockchain.headers.subscribe", msgspec.Raw(b"[1]"))]


@pytest.mark.parametrize(
    ("bytes_said", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", FrameError),
        (b"[[[[\n", FrameError),
        (encode_reply(99, None), LyingServerError),
        (encode_reply(-1, None), LyingServerError),
        (encode_reply("2", None), LyingServerError),
        (encode_error(None, -32700, "parse error"), ConnectionLostError),
        (encode_reply(2, {"not": "a banner"}), LyingServerError),
    ],
)
async def test_the_first_fault_ends_the_conversation_for_all(
    clock: VirtualClock, bytes_said: bytes, error: type[ElectrumError]
) -> None:
    async with scripted(clock) as (connection, script):
        waiting = [asyncio.create_task(connection.call(methods.BANNER)) for _ in range(2)]
        await script.hear()
        await script.say(bytes_said)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [error, error]
        assert type(await connection.wait_ended()) is error
        with pytest.raises(error):
            await connection.call(methods.BANNER)


async def test_an_answer_that_never_comes_ends_the_conversation(server: SimulatedServer, clock: VirtualClock) -> None:
    connection = await opened(server, clock)
    server.mute = True
    call = asyncio.create_task(connection.call(methods.BLOCK_HEADER, 0))
    await clock.advance(PATIENCE_S - 1)
    assert not call.done()
    await clock.advance(2)
    with pytest.raises(ConnectionLostError, match="no answer to blockchain"):
        await call
    assert isinstance(await connection.wait_ended(), ConnectionLostError)
    await connection.close()


async def test_a_server_that_went_silent_is_noticed_by_pings(server: SimulatedServer, clock: VirtualClock) -> None:
    connection = await opened(server, clock)
    await clock.advance(PING_S * 3 + 1)
    assert server.requests.count("server.ping") == 3
    server.mute = True
    await clock.advance(PING_S + PATIENCE_S + 1)
    assert isinstance(await connection.wait_ended(), ConnectionLostError)
    await connection.close()


async def test_a_late_answer_is_no_lie(clock: VirtualClock) -> None:
    async with scripted(clock) as (connection, script):
        call = asyncio.create_task(connection.call(methods.BANNER))
        (request,) = await script.hear()
        call.cancel()
        await clock.advance(0)
        assert isinstance(request.id, int)
        await script.say(encode_reply(request.id, "late"))
        again = asyncio.create_task(connection.call(methods.BANNER))
        (request,) = await script.hear()
        assert isinstance(request.id, int)
        await script.say(encode_reply(request.id, "in time"))
        assert await again == "in time"


async def test_hanging_up_ends_all_waiting(server: SimulatedServer, clock: VirtualClock) -> None:
    connection = await opened(server, clock)
    server.mute = True
    call = asyncio.create_task(connection.call(methods.BANNER))
    await clock.advance(0)
    await server.hang_up()
    with pytest.raises(ConnectionLostError):
        await call
    await connection.close()
    assert server.sessions == 0
