"""The door: those who say nothing take a bounded room there, and keep nobody out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.wire import ended

from twinlock.gate.door import Door
from twinlock.gate.waiting_room import WaitingRoom
from twinlock.indexer.certificate import Certificate, make_certificate
from twinlock.seams import SystemClock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """What stands at it runs on uvloop, whose transports are others."""
    return "asyncio", {"use_uvloop": request.param}


class Echo(asyncio.Protocol):
    """Says what it hears."""

    def connection_made(self, transport: Any) -> None:
        assert transport.get_extra_info("sslcontext") is not None
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class Street:
    """Before a door with room for three handshakes. network: where those come from who come next."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.network = "a"
        self.room = WaitingRoom(3)
        self.door = Door(context, Echo, self._network_of, self.room)
        self.port = 0
        self._begun = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    def _network_of(self, peer: Any) -> str:
        assert peer[0] == "127.0.0.1"
        self._begun.set()
        return self.network

    async def silent(self, network: str) -> asyncio.StreamReader:
        """Somebody who says nothing; on return a handshake is under way."""
        self.network = network
        self._begun.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        await self._begun.wait()
        return reader

    async def greeted(self, network: str) -> bytes:
        """What is said to somebody who comes through TLS and speaks at once."""
        self.network = network
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=trusting())
        self._writers.append(writer)
        writer.write(b"hello")
        return await reader.readexactly(5)

    def close(self) -> None:
        self.door.close()
        for writer in self._writers:
            writer.transport.abort()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    make_certificate(tmp_path / "cert", tmp_path / "key", SystemClock())
    made = Street(Certificate(tmp_path / "cert", tmp_path / "key").context)
    made.port = await made.door.open("127.0.0.1", 0)
    yield made
    made.close()


async def test_who_comes_through_tls_is_heard_from_the_first_word_on(street: Street) -> None:
    assert [await street.greeted("a") for _ in range(5)] == [b"hello"] * 5
    assert len(street.room) == 0, "those that are over do not count"


async def test_silent_connections_take_no_more_than_their_room_and_keep_nobody_out(street: Street) -> None:
    silent = [await street.silent("a") for _ in range(5)]
    assert await ended(silent[0])
    assert await ended(silent[1])
    assert len(street.room) == 3
    assert await street.greeted("b") == b"hello"
    assert await ended(silent[2])
    assert len(street.room) == 2
    assert not silent[3].at_eof()


async def test_the_network_that_fills_the_room_makes_it(street: Street) -> None:
    modest, *greedy = [await street.silent(network) for network in "baa"]
    for which in range(2):
        greedy.append(await street.silent("a"))
        assert await ended(greedy[which])
    assert not modest.at_eof()
    assert len(street.room) == 3


async def test_who_says_nonsense_or_leaves_takes_no_room(street: Street) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", street.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await ended(reader)
    writer.close()
    silent = await street.silent("a")
    assert len(street.room) == 1
    street.close()
    assert await ended(silent)
    assert len(street.room) == 0
