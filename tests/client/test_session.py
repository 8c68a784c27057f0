"""The session: answers find their questions, lanes keep their order, and a lost server is dialled again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from twinlock.client.config import Pace
from twinlock.client.errors import LinkClosedError, NotConnectedError, RequestTimeoutError
from twinlock.client.link import Link, MemoryLink, memory_links
from twinlock.client.session import Session
from twinlock.errors import TwinlockError
from twinlock.protocol import envelope
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.envelope import Message, MessageType
from twinlock.protocol.messages.orders import NoMatch, PreimageRequest, PreimageResponse
from twinlock.protocol.routes import FEE_RATE, HEALTHY, NOMATCH, NOTIFY, PREIMAGE
from twinlock.protocol.wire import Hex
from twinlock.seams import VirtualClock

pytestmark = pytest.mark.anyio

ONE, TWO = Hex(b"\x01" * 32), Hex(b"\x02" * 32)


class Exchange:
    """The far side: hands out links, counts dials, refuses while `down`."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.links: list[MemoryLink] = []
        self.dials: list[float] = []
        self.down = False
        self.troubles: list[TwinlockError] = []
        self.session = Session(self.dial, self.clock, Pace())
        self.session.trouble = self.session.lost = self.troubles.append

    async def dial(self) -> Link:
        self.dials.append(self.clock.monotonic())
        if self.down:
            raise LinkClosedError("refused")
        near, far = memory_links()
        self.links.append(far)
        return near

    @property
    def link(self) -> MemoryLink:
        return self.links[-1]

    async def hear(self) -> Message:
        return envelope.decode_frame(await self.link.receive())


@asynccontextmanager
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    task = asyncio.create_task(exchange.session.run())
    try:
        yield exchange
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_answers_find_their_questions_in_any_order() -> None:
    async with exchange() as server:
        await server.session.ready.wait()
        first = asyncio.create_task(server.session.request(FEE_RATE, 0))
        second = asyncio.create_task(server.session.request(FEE_RATE, 2))
        third = asyncio.create_task(server.session.request(HEALTHY, None))
        asked = [await server.hear() for _ in range(3)]
        assert [message.payload for message in asked] == [b"0", b"2", b"null"]
        assert [message.id for message in asked] == [1, 2, 3]
        await server.link.send(envelope.response(3, True))
        await server.link.send(envelope.error_response(2, RpcError(ErrorCode.TRY_AGAIN_LATER, "later")))
        await server.link.send(envelope.response(1, 10))
        assert await first == 10
        assert await third is True
        with pytest.raises(RpcError) as caught:
            await second
        assert caught.value.rpc_code is ErrorCode.TRY_AGAIN_LATER


async def test_a_question_without_answer_ends_after_a_minute() -> None:
    async with exchange() as server:
        await server.session.ready.wait()
        asked = asyncio.create_task(server.session.request(FEE_RATE, 0))
        await server.clock.advance(59.9)
        assert not asked.done()
        await server.clock.advance(0.2)
        with pytest.raises(RequestTimeoutError):
            await asked


async def test_a_lost_connection_ends_its_questions_and_is_dialled_again_with_growing_patience() -> None:
    async with exchange() as server:
        await server.session.ready.wait()
        asked = asyncio.create_task(server.session.request(FEE_RATE, 0))
        await server.hear()
        server.down = True
        await server.link.close()
        with pytest.raises(LinkClosedError):
            await asked
        await server.clock.advance(300)
        gaps = [round(b - a) for a, b in zip(server.dials, server.dials[1:], strict=False)]
        assert gaps[:5] == [5, 10, 15, 20, 25]
        with pytest.raises(NotConnectedError):
            await server.session.request(FEE_RATE, 0)
        server.down = False
        await server.clock.advance(60)
        assert server.session.ready.is_set()
        server.down = True
        await server.link.close()
        before = len(server.dials)
        await server.clock.advance(5)
        assert len(server.dials) == before + 1


async def test_one_trade_is_handled_in_order_and_does_not_hold_up_another() -> None:
    async with exchange() as server:
        gate = asyncio.Event()
        seen: list[str] = []

        async def preimage(request: PreimageRequest) -> PreimageResponse:
            if request.order_id == ONE:
                await gate.wait()
            seen.append(f"preimage {request.order_id[0]}")
            return PreimageResponse(preimage=request.commitment)

        async def nomatch(note: NoMatch) -> None:
            seen.append(f"nomatch {note.order_id[0]}")

        server.session.on(PREIMAGE, preimage)
        server.session.on(NOMATCH, nomatch)
        await server.session.ready.wait()
        for number, order in enumerate((ONE, TWO), 50):
            request = PreimageRequest(order_id=order, commitment=order, csum=order)
            await server.link.send(envelope.request(number, "preimage", request))
            await server.link.send(envelope.notification("nomatch", NoMatch(order_id=order)))
        answer = await server.hear()
        assert (answer.id, envelope.decode_result(answer.payload, PreimageResponse).preimage) == (51, TWO)
        gate.set()
        assert (await server.hear()).id == 50
        await server.clock.advance(0)
        assert [what for what in seen if what.endswith("1")] == ["preimage 1", "nomatch 1"]
        assert [what for what in seen if what.endswith("2")] == ["preimage 2", "nomatch 2"]


async def test_what_a_handler_refuses_is_answered_with_its_code() -> None:
    async with exchange() as server:

        async def preimage(request: PreimageRequest) -> PreimageResponse:
            raise RpcError(ErrorCode.INVALID_REQUEST, "given already")

        server.session.on(PREIMAGE, preimage)
        await server.session.ready.wait()
        payload = PreimageRequest(order_id=ONE, commitment=ONE, csum=ONE)
        await server.link.send(envelope.request(7, "preimage", payload))
        await server.link.send(envelope.request(8, "preimage", {"orderid": None}))
        await server.link.send(envelope.request(9, "sing", None))
        codes = {}
        for _ in range(3):
            answer = await server.hear()
            assert answer.type is MessageType.RESPONSE
            with pytest.raises(RpcError) as caught:
                envelope.decode_result(answer.payload, PreimageResponse)
            codes[answer.id] = caught.value.rpc_code
        assert codes == {7: ErrorCode.INVALID_REQUEST, 8: ErrorCode.PARSE, 9: ErrorCode.UNKNOWN_ROUTE}


async def test_a_frame_that_is_not_json_drops_the_connection() -> None:
    async with exchange() as server:
        await server.session.ready.wait()
        await server.link.send(b'{"type":')
        await server.clock.advance(6)
        assert len(server.links) == 2
        assert any("malformed" in str(trouble) for trouble in server.troubles)


async def test_a_defect_in_a_handler_is_told_and_the_connection_goes_on() -> None:
    async with exchange() as server:

        async def notify(text: str) -> None:
            raise ZeroDivisionError(text)

        server.session.on(NOTIFY, notify)
        await server.session.ready.wait()
        await server.link.send(envelope.notification("notify", "hello"))
        asked = asyncio.create_task(server.session.request(FEE_RATE, 0))
        await server.hear()
        await server.link.send(envelope.response(1, 5))
        assert await asked == 5
        assert [trouble.code for trouble in server.troubles] == ["client.defect"]
