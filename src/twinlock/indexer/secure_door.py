"""Secure door: takes connections, shakes hands with each, and lets nobody be kept out by those who say nothing.

A handshake takes some fifty kilobytes before it is known whether anybody is there, so there is room for some at once.
When it is full, one who comes is let in, and the network with most handshakes under way loses its oldest: the silent
ones of a few networks outlast nobody else, those of many only whom they outrun.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twinlock.indexer.handshakes import HANDSHAKE_SECONDS

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
        self._most = most
        self._accepting: list[asyncio.Task[None]] = []
        self._begun: dict[asyncio.Task[None], str] = {}  # handshakes, the oldest first

    async def open(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in found:
                door = socket.create_server(address, family=socket.AddressFamily(family), backlog=_BACKLOG)
                door.setblocking(False)
                port = port or door.getsockname()[1]
                self._accepting.append(loop.create_task(self._accept(door)))
        except OSError:
            self.close()
            raise
        return port

    def close(self) -> None:
        """Take nobody any more, and end the handshakes that are under way."""
        for task in (*self._accepting, *self._begun):
            task.cancel()

    @property
    def under_way(self) -> int:
        """Handshakes that are not over."""
        return len(self._begun)

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with door:
            while True:
                try:
                    connection, peer = await loop.sock_accept(door)
                except OSError:
                    await asyncio.sleep(_SHORT_SECONDS)
                    continue
                if len(self._begun) >= self._most:
                    self._make_room()
                task = loop.create_task(self._shake(connection))
                self._begun[task] = self._network_of(peer)
                task.add_done_callback(self._over)

    def _make_room(self) -> None:
        count = Counter(self._begun.values())
        most = max(count.values())
        task = next(task for task, network in self._begun.items() if count[network] == most)
        del self._begun[task]
        task.cancel()

    async def _shake(self, connection: socket.socket) -> None:
        with suppress(OSError):  # nobody was there, or somebody who speaks no TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )

    def _over(self, task: asyncio.Task[None]) -> None:
        self._begun.pop(task, None)
