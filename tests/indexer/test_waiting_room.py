"""WebSockets on their way, through TLS or not: those that say nothing make room for who comes."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
import websockets
from tests.indexer.wire import ended
from tests.indexer.worlds import World, world

from twinlock.indexer.certificate import Certificate, make_certificate
from twinlock.indexer.env import Service
from twinlock.seams import SystemClock
from twinlock.simnet.ports import free_ports

pytestmark = pytest.mark.anyio

ROOM = 200
HELLO = b'{"id":1,"method":"server.version","params":["x","1.4"]}'


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def listening(w: World, protocol: str, folder: Path) -> int:
    (port,) = free_ports(1)
    make_certificate(folder / "cert", folder / "key", SystemClock())
    certificate = Certificate(folder / "cert", folder / "key")
    await w.manager.listen([Service(protocol, "127.0.0.1", port)], certificate)
    return port


async def greeted(protocol: str, port: int) -> str:
    context = trusting() if protocol == "wss" else None
    async with websockets.connect(f"{protocol}://127.0.0.1:{port}", ssl=context) as wallet:
        await wallet.send(HELLO)
        return str(json.loads(await wallet.recv())["result"][1])


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The indexer runs on uvloop, whose transports are others."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.mark.parametrize("protocol", ["ws", "wss"])
async def test_those_that_say_nothing_keep_nobody_out_and_take_a_bounded_room(protocol: str, tmp_path: Path) -> None:
    """Of `wss` it is their TLS handshakes that never begin."""
    async with world() as w:
        port = await listening(w, protocol, tmp_path)
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(ROOM + 1)]
        assert await greeted(protocol, port) == "1.4"
        for reader, _ in silent[:2]:
            assert await ended(reader)
        assert not silent[-1][0].at_eof(), "only the oldest have to go"
        for _, writer in silent:
            writer.transport.abort()


async def test_those_that_are_silent_behind_tls_keep_nobody_out_either(tmp_path: Path) -> None:
    async with world() as w:
        port = await listening(w, "wss", tmp_path)
        context = trusting()
        silent = [await asyncio.open_connection("127.0.0.1", port, ssl=context) for _ in range(ROOM + 1)]
        assert await greeted("wss", port) == "1.4"
        assert await ended(silent[0][0])
        for _, writer in silent:
            writer.transport.abort()


async def test_who_speaks_no_websocket_is_answered_and_goes(tmp_path: Path) -> None:
    async with world() as w:
        port = await listening(w, "wss", tmp_path)
        for line, answer in ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 426"), (HELLO + b"\r\n\r\n", b"")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
            writer.write(line)
            assert (await reader.read()).startswith(answer)
            writer.close()
        assert not w.shared.sessions
        assert await greeted("wss", port) == "1.4"


async def test_wallets_are_told_that_the_door_closes(tmp_path: Path) -> None:
    async with world() as w:
        port = await listening(w, "wss", tmp_path)
        async with websockets.connect(f"wss://127.0.0.1:{port}", ssl=trusting()) as wallet:
            await wallet.send(HELLO)
            await wallet.recv()
            await w.manager.close()
            with pytest.raises(websockets.ConnectionClosed):
                await wallet.recv()
        assert not w.shared.sessions
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
