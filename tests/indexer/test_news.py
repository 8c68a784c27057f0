"""What the node's publisher says is understood, and what it did not say is noticed."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import zmq
import zmq.asyncio

from twinlock.indexer.daemon import Daemon
from twinlock.indexer.news import Heard, News
from twinlock.seams import SystemClock
from twinlock.simnet.ports import free_ports

pytestmark = pytest.mark.anyio
A, B = b"\xaa" * 32, b"\xbb" * 32


class Publisher:
    def __init__(self, socket: zmq.asyncio.Socket, news: News) -> None:
        self._socket, self._news = socket, news
        self._count = 0

    async def say(self, *bodies: bytes) -> None:
        for body in bodies:
            await self._socket.send_multipart([b"sequence", body, struct.pack("<I", self._count)])
            self._count += 1

    def lose(self) -> None:
        """A message that nobody receives."""
        self._count += 1

    async def heard(self, count: int) -> Heard:
        """What is heard until so many transactions were spoken of, or everything has to be looked at."""
        total = Heard()
        while len(total.mempool) < count and not total.whole:
            more = await self._news.wait(0, SystemClock())
            total.mempool |= more.mempool
            total.whole |= more.whole
        return total


@asynccontextmanager
async def publisher() -> AsyncIterator[Publisher]:
    (port,) = free_ports(1)
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.XPUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(f"tcp://127.0.0.1:{port}")
    news = News(Daemon("http://127.0.0.1:1"), f"tcp://127.0.0.1:{port}")
    await news.start()
    assert news.live
    await socket.recv()  # the subscriptions have arrived
    await socket.recv()
    made = Publisher(socket, news)
    try:
        await made.say(A + b"A")
        assert (await made.heard(1)).whole, "the first look is at everything"
        yield made
    finally:
        news.close()
        socket.close()
        context.term()


async def test_transactions_that_come_and_go_with_the_last_word_on_each() -> None:
    async with publisher() as p:
        await p.say(A + b"A" + bytes(8), B + b"A" + bytes(8), A + b"R" + bytes(8))
        heard = await p.heard(2)
        while heard.mempool.get(A.hex()):
            heard.mempool |= (await p.heard(1)).mempool
        assert (heard.mempool, heard.whole) == ({A.hex(): False, B.hex(): True}, False)


@pytest.mark.parametrize("label", [b"C", b"D"])
async def test_a_block_that_comes_or_goes_is_looked_at(label: bytes) -> None:
    async with publisher() as p:
        await p.say(A + label)
        assert (await p.heard(1)).whole


async def test_a_lost_message_is_noticed() -> None:
    async with publisher() as p:
        p.lose()
        await p.say(A + b"A" + bytes(8))
        assert (await p.heard(2)).whole
