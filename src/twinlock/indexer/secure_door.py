"""Secure door: takes connections, shakes hands with each, and lets nobody be kept out by those who say nothing.

A handshake takes some fifty kilobytes before it is known whether anybody is there, so there is room for some at once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from twinlock.indexer.doors import bound
from twinlock.indexer.handshakes import HANDSHAKE_SECONDS
from twinlock.indexer.waiting_room import WaitingRoom

log = structlog.get_logger("indexer.sessions")

_MOST = 150
_BACKLOG = 100
_SHORT_SECONDS = 1.0
"""How long nobody is taken after the system had no descriptor or no memory for somebody."""


class SecureDoor:
    """protocol: makes a connection's protocol. network_of: where an address belongs. most: handshakes at once."""

    def __init__(
        self,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.Protocol],
        network_of: Callable[[Any], str],
        most: int = _MOST,
    ) -> None:
        self._context = context
        self._protocol = protocol
        self._network_of = network_of
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = WaitingRoom(most)

    async def open(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in found:
                door = bound(family, address)
                door.listen(_BACKLOG)
                door.setblocking(False)
                port = port or door.getsockname()[1]
                self._accepting.append(loop.create_task(self._accept(door)))
        except OSError:
            self.close()
            raise
        return port

    def close(self) -> None:
        """Take nobody any more, and end the handshakes that are under way."""
        for task in (*self._accepting, *self._tasks):
            task.cancel()

    @property
    def under_way(self) -> int:
        """Handshakes that are not over."""
        return len(self._room)

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with door:
            while True:
                try:
                    self._take(*await loop.sock_accept(door))
                except ConnectionError:
                    pass  # he has gone already
                except OSError:
                    await asyncio.sleep(_SHORT_SECONDS)
                except Exception:  # a defect of ours must not close the door for everybody
                    log.exception("somebody could not be let in")

    def _take(self, connection: socket.socket, peer: Any) -> None:
        network = self._network_of(peer)
        task = asyncio.get_running_loop().create_task(self._shake(connection))
        self._tasks.add(task)
        self._room.enter(task, network, task.cancel)
        task.add_done_callback(self._over)

    async def _shake(self, connection: socket.socket) -> None:
        with suppress(OSError):  # nobody was there, or somebody who speaks no TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.leave(task)
