"""Listeners: the doors through which wallets come, TCP and WebSocket, plain and with TLS, to the same sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import websockets.asyncio.server as websocket_server
from websockets.exceptions import ConnectionClosed

from twinlock.gate.door import HANDSHAKE_SECONDS, Door
from twinlock.gate.waiting_room import WaitingRoom
from twinlock.indexer.certificate import Certificate
from twinlock.indexer.doors import opening
from twinlock.indexer.env import EnvError, Service
from twinlock.indexer.shared import Shared

_HANDSHAKES = 150
"""TLS handshakes that may be under way at once."""

_OPENING = 200
"""WebSockets that may be without their opening handshake at once."""

_FULL = 1 << 16
"""Bytes on their way to a WebSocket from which on its session waits."""


class Listener(Protocol):
    """An open door."""

    def close(self) -> None: ...


async def open_listener(
    service: Service, session: Callable[[], asyncio.Protocol], certificate: Certificate | None, shared: Shared
) -> Listener:
    """Listen. Raises EnvError when TLS is wanted without a certificate, DoorError."""
    if service.protocol in ("ssl", "wss") and certificate is None:
        raise EnvError(f"{service} needs a certificate")
    with opening(service):
        if service.protocol == "ssl" and certificate:
            room = WaitingRoom(_HANDSHAKES)
            door = Door(certificate.context, session, lambda peer: shared.group_of(peer).name, room)
            await door.open(service.host, service.port)
            return door
        if service.protocol == "tcp":
            loop = asyncio.get_running_loop()
            return cast(Listener, await loop.create_server(session, service.host, service.port))

    room = WaitingRoom(_OPENING)

    async def handle(connection: websocket_server.ServerConnection) -> None:
        room.leave(connection)
        await _WebSocket(connection, session()).run()

    def opened(*args: Any, **options: Any) -> websocket_server.ServerConnection:
        return _Opening(room, lambda peer: shared.group_of(peer).name, *args, **options)

    options: dict[str, Any] = {"create_connection": opened, "max_size": shared.env.max_recv}
    if service.protocol == "wss" and certificate:
        options |= {"ssl": certificate.web_context, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
    with opening(service):
        return await websocket_server.serve(handle, service.host, service.port, **options)


class _Opening(websocket_server.ServerConnection):
    """A WebSocket, in the waiting room until its opening handshake is over."""

    def __init__(self, room: WaitingRoom, network_of: Callable[[Any], str], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._room = room
        self._network_of = network_of

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        network = self._network_of(transport.get_extra_info("peername"))
        self._room.enter(self, network, cast(asyncio.Transport, transport).abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        super().connection_lost(exc)


class _WebSocket(asyncio.Transport):
    """Lets a session believe that it speaks lines: each message is one, in both directions."""

    def __init__(self, connection: websocket_server.ServerConnection, session: asyncio.Protocol) -> None:
        super().__init__()
        self._connection = connection
        self._session = session
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unsent = 0
        self._reading = asyncio.Event()
        self._reading.set()

    async def run(self) -> None:
        """Carry messages until either side ends."""
        self._session.connection_made(self)
        sending = asyncio.create_task(self._send())
        with contextlib.suppress(ConnectionClosed):
            async for message in self._connection:
                data = message.encode() if isinstance(message, str) else message
                self._session.data_received(data.replace(b"\n", b" ") + b"\n")
                await self._reading.wait()
        sending.cancel()
        self._session.connection_lost(None)

    async def _send(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while (data := await self._out.get()) is not None:
                for line in data.splitlines():
                    await self._connection.send(line.decode())
                before, self._unsent = self._unsent, self._unsent - len(data)
                if before > _FULL >= self._unsent:
                    self._session.resume_writing()
            await self._connection.close()

    def write(self, data: Any) -> None:
        before, self._unsent = self._unsent, self._unsent + len(data)
        self._out.put_nowait(bytes(data))
        if before <= _FULL < self._unsent:
            self._session.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def close(self) -> None:
        self._out.put_nowait(None)

    def abort(self) -> None:
        self._reading.set()
        self._connection.transport.abort()

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._connection.remote_address if name == "peername" else default
