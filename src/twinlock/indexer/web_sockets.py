"""WebSockets: taken through a `Door`, as everything else, and read as lines by the same sessions.

The library would open the door by itself, and shake hands with whoever comes: those who say nothing would keep others
out. So its part begins with a connection that is there, TLS and all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, cast

import structlog
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol

from twinlock.gate.door import HANDSHAKE_SECONDS, Door
from twinlock.gate.waiting_room import WaitingRoom

log = structlog.get_logger("indexer.sessions")

_OPENING = 200
"""Connections that may be without their handshakes, that of TLS and that of WebSockets, at once."""

_FULL = 1 << 16
"""Bytes on their way to a WebSocket from which on its session waits."""


class WebSockets:
    """Those of one service. session: makes one's. network_of: where an address belongs. max_size: of a message."""

    def __init__(
        self,
        context: ssl.SSLContext | None,
        session: Callable[[], asyncio.Protocol],
        network_of: Callable[[Any], str],
        max_size: int,
    ) -> None:
        self.room = WaitingRoom(_OPENING)
        self.network_of = network_of
        self._session = session
        self._max_size = max_size
        self._door = Door(context, self._connection, network_of, self.room)
        self._lives: set[asyncio.Task[None]] = set()
        self._open = True

    async def open(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError."""
        return await self._door.open(host, port)

    def close(self) -> None:
        """Take nobody any more, and say goodbye to those who are there."""
        self._open = False
        self._door.close()
        for life in self._lives:
            life.cancel()

    def is_serving(self) -> bool:
        """What a connection asks before it is taken."""
        return self._open

    def begin(self, connection: _WebSocket) -> None:
        """A connection was made; it may not be anybody's."""
        life = asyncio.get_running_loop().create_task(self._live(connection))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    def _connection(self) -> _WebSocket:
        # As many messages wait, and are compressed alike, as where the library serves by itself.
        protocol = ServerProtocol(extensions=enable_server_permessage_deflate(None), max_size=self._max_size)
        return _WebSocket(protocol, self)

    async def _live(self, connection: _WebSocket) -> None:
        code = CloseCode.NORMAL_CLOSURE
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await connection.handshake()
            self.room.leave(connection)
            if connection.state is State.OPEN:  # else an answer in HTTP has said why not
                connection.start_keepalive()
                await Lines(connection, self._session()).run()
        except asyncio.CancelledError:
            code = CloseCode.GOING_AWAY
        except (OSError, WebSocketException, TimeoutError):
            pass  # nobody was there, or somebody who speaks no WebSocket
        except Exception:  # a defect of ours, or of the library
            code = CloseCode.INTERNAL_ERROR
            log.exception("a WebSocket ended")
        finally:
            await connection.end(code)


class _WebSocket(ServerConnection):
    """A WebSocket, in the waiting room until its opening handshake is over."""

    def __init__(self, protocol: ServerProtocol, sockets: WebSockets) -> None:
        super().__init__(protocol, cast(Server, sockets))
        self._sockets = sockets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Connection.connection_made(self, transport)  # the library's server would now begin its handler
        network = self._sockets.network_of(transport.get_extra_info("peername"))
        self._sockets.room.enter(self, network, cast(asyncio.Transport, transport).abort)
        self._sockets.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sockets.room.leave(self)
        super().connection_lost(exc)

    async def end(self, code: CloseCode) -> None:
        """Say goodbye where somebody is there to hear it; then, in any case, nobody is."""
        with contextlib.suppress(OSError, WebSocketException):
            await self.close(code)
        self.transport.abort()


class Lines(asyncio.Transport):
    """Lets a session believe that it speaks lines: each message is one, in both directions."""

    def __init__(self, connection: ServerConnection, session: asyncio.Protocol) -> None:
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
        try:
            async for message in self._connection:
                data = message.encode() if isinstance(message, str) else message
                self._session.data_received(data.replace(b"\n", b" ") + b"\n")
                await self._reading.wait()
        except ConnectionClosed:
            pass
        finally:
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
