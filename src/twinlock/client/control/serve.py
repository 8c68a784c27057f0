"""Serving the control interface on the loopback device, and telling local programs where it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvicorn

from twinlock.client.control.app import Control
from twinlock.client.control.pages import NO_PAGES, Page
from twinlock.client.errors import ConfigError
from twinlock.client.store.files import write_durably
from twinlock.client.trader import Trader
from twinlock.seams import Clock, Entropy

FILE_NAME = "control.json"


class Address(msgspec.Struct, frozen=True):
    """Where the interface is, and the token that it asks for. Stored readable for the owner only."""

    url: str
    token: str
    pid: int


@asynccontextmanager
async def serving(trader: Trader, entropy: Entropy, pages: Mapping[str, Page] = NO_PAGES) -> AsyncIterator[Address]:
    """Serve until the block ends; `<data_dir>/control.json` tells where meanwhile. pages: shown to any browser here."""
    listen = trader.config.control.listen
    if listen.rpartition(":")[0] not in ("127.0.0.1", "localhost", "[::1]"):
        raise ConfigError("the control interface listens on the loopback device only", fix="use 127.0.0.1:0")
    token = entropy.token(32).hex()
    config = uvicorn.Config(
        Control(trader, token, pages).app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )
    path = trader.config.folder / FILE_NAME
    async with listening(config, listen, trader.clock) as url:
        address = Address(url, token, os.getpid())
        try:
            write_durably(path, msgspec.json.encode(address))
            yield address
        finally:
            path.unlink(missing_ok=True)


@asynccontextmanager
async def listening(config: uvicorn.Config, listen: str, clock: Clock) -> AsyncIterator[str]:
    """Serve at `host:port` (port 0 takes a free one) until the block ends; gives the URL. Raises ConfigError."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    try:
        sock = socket.create_server((host.strip("[]"), int(port)), family=family)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot listen at {listen}: {error}", fix="choose a free port of this machine") from error
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started and not task.done():
            await clock.sleep(0.01)
        yield f"http://{host}:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        sock.close()


def find(folder: Path) -> Address | None:
    """Where the client of that folder serves, if one does; the file of a client that was killed counts for nothing."""
    try:
        address = msgspec.json.decode((folder / FILE_NAME).read_bytes(), type=Address)
        os.kill(address.pid, 0)
    except (OSError, msgspec.DecodeError):
        return None
    return address


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs the trader."""
        yield
