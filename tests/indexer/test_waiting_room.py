"""WebSockets on their way: those that say nothing make room for who comes."""

from __future__ import annotations

import asyncio

import pytest
import websockets
from tests.indexer.wire import ended
from tests.indexer.worlds import world

from twinlock.indexer.env import Service
from twinlock.simnet.ports import free_ports


@pytest.mark.anyio
async def test_websockets_that_never_open_keep_nobody_out() -> None:
    (port,) = free_ports(1)
    async with world() as w:
        await w.manager.listen([Service("ws", "127.0.0.1", port)])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(201)]
        async with websockets.connect(f"ws://127.0.0.1:{port}") as wallet:
            await wallet.send(b'{"id":1,"method":"server.version","params":["x","1.4"]}')
            assert "1.4" in str(await wallet.recv())
        for reader, _ in silent[:2]:
            assert await ended(reader)
        assert not silent[2][0].at_eof()
        for _, writer in silent:
            writer.transport.abort()
