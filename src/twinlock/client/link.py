"""The client's seam to the network: one open socket that carries text frames, and how to open one.

`websocket_dialer` is the real one; `memory_links` gives two ends joined in memory, for tests.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from twinlock.client.config import ServerConfig
from twinlock.client.errors import ConfigError, LinkClosedError

MAX_FRAME = 8 * 1024 * 1024
"""Largest frame taken from a server, in bytes: a book of 20,000 orders is about 4 MB."""

PING_EVERY = 15.0
PING_WAIT = 20.0


class Link(Protocol):
    """An open connection. Both directions raise LinkClosedError once it is gone."""

    async def send(self, frame: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    async def close(self) -> None: ...


Dialer = Callable[[], Awaitable[Link]]


def websocket_dialer(server: ServerConfig) -> Dialer:
    """Connects to the server's `/ws`: TLS 1.2 or newer, verified against the pinned certificate if one is given.

    Raises ConfigError at once when the certificate cannot be read; the dialer raises LinkClosedError.
    """
    context = tls_context(server) if server.url.startswith("wss") else None

    async def dial() -> Link:
        try:
            socket = await connect(
                server.url,
                ssl=context,
                proxy=server.proxy or None,
                compression=None,
                max_size=MAX_FRAME,
                # Answers to the server's pings are automatic; our own pings notice a silent server.
                ping_interval=PING_EVERY,
                ping_timeout=PING_WAIT,
                close_timeout=3,
            )
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
            raise _refused(server, error) from error
        return _WebSocketLink(socket)

    return dial


def tls_context(server: ServerConfig) -> ssl.SSLContext:
    """Trusts the pinned certificate, and only it; without one, the machine's public roots."""
    if not server.certificate:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=Path(server.certificate).expanduser().read_text())
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use the certificate {server.certificate}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _refused(server: ServerConfig, error: Exception) -> LinkClosedError:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return LinkClosedError(f"cannot connect to {server.host}: {error}")
    if not server.certificate:
        text = f"{server.host} shows a certificate that no known authority vouches for: {error.verify_message}"
        fix = f"get the operator's certificate, then: twinlock client pin replace {server.host} FILE"
        return LinkClosedError(text, code="session.certificate", fix=fix)
    return LinkClosedError(
        f"{server.host} shows another certificate than the pinned one: {error.verify_message}",
        code="session.certificate",
        fix=f"if the operator confirms the change: twinlock client pin replace {server.host} FILE",
    )


class _WebSocketLink:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send(frame, text=True)
        except ConnectionClosed as error:
            raise LinkClosedError(f"connection closed: {error}") from error

    async def receive(self) -> bytes:
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            raise LinkClosedError(f"connection closed: {error}") from error

    async def close(self) -> None:
        await self._socket.close()


class MemoryLink:
    """One end of a pair; what one end sends, the other receives."""

    def __init__(self) -> None:
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False
        self._peer: MemoryLink = self

    def join(self, peer: MemoryLink) -> None:
        """Called once by `memory_links`."""
        self._peer = peer

    async def send(self, frame: bytes) -> None:
        if self._closed or self._peer._closed:
            raise LinkClosedError("connection closed")
        self._peer._inbox.put_nowait(frame)

    async def receive(self) -> bytes:
        frame = await self._inbox.get() if not self._closed or not self._inbox.empty() else None
        if frame is None:
            self._closed = True
            raise LinkClosedError("connection closed")
        return frame

    async def close(self) -> None:
        for end in (self, self._peer):
            end._closed = True
            end._inbox.put_nowait(None)


def memory_links() -> tuple[MemoryLink, MemoryLink]:
    """Two joined ends."""
    near, far = MemoryLink(), MemoryLink()
    near.join(far)
    far.join(near)
    return near, far
