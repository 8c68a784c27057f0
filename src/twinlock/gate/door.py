"""Door: takes connections, shakes hands with each where it speaks TLS, and lets nobody be kept out by the silent.

A handshake takes some fifty kilobytes before it is known whether anybody is there, so there is room for some at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from twinlock.gate.waiting_room import WaitingRoom

log = structlog.get_logger(__name__)

HANDSHAKE_SECONDS = 10.0
"""How long one may take. Wallets give up later than that."""

_BACKLOG = 1024
_SHORT_SECONDS = 1.0
"""How long nobody is taken after the system had no descriptor or no memory for somebody."""


class Door:
    """context: without one, nobody shakes hands. protocol: makes a connection's. network_of: where an address belongs.

    room: where those wait whose handshake is not over; several doors may share it, and protocols too.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None,
        protocol: Callable[[], asyncio.Protocol],
        network_of: Callable[[Any], str],
        room: WaitingRoom,
    ) -> None:
        self._context = context
        self._protocol = protocol
        self._network_of = network_of
        self._room = room
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.sockets: list[socket.socket] = []
        """Those that listen."""

    async def open(self, host: str | None, port: int) -> int:
        """Listen at every address that the name stands for, None for all there are; the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                try:
                    self.take(bound(family, address))
                except OSError as error:
                    if error.errno != errno.EAFNOSUPPORT or len(found) == 1:
                        raise  # a kind of addresses that this system does not have is no loss beside another
        except OSError:
            self.close()
            raise
        return int(self.sockets[0].getsockname()[1])

    def take(self, door: socket.socket) -> None:
        """Take who comes to a socket that is bound. Raises OSError."""
        door.listen(_BACKLOG)
        door.setblocking(False)
        self.sockets.append(door)
        task = asyncio.get_running_loop().create_task(self._accept(door))
        task.add_done_callback(lambda _: door.close())
        self._accepting.append(task)

    def close(self) -> None:
        """Take nobody any more, and end the handshakes that are under way."""
        for task in (*self._accepting, *self._tasks):
            task.cancel()

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._welcome(*await loop.sock_accept(door))
                await asyncio.sleep(0)  # however many come, everybody else has turns in between
            except ConnectionError:
                pass  # he has gone already
            except OSError:
                await asyncio.sleep(_SHORT_SECONDS)
            except Exception:  # a defect of ours must not close the door for everybody
                log.exception("somebody could not be let in")

    def _welcome(self, connection: socket.socket, peer: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._shake(connection))
        self._tasks.add(task)
        if self._context is not None:
            self._room.enter(task, self._network_of(peer), task.cancel)
        task.add_done_callback(self._over)

    async def _shake(self, connection: socket.socket) -> None:
        patience = None if self._context is None else HANDSHAKE_SECONDS
        with suppress(OSError):  # nobody was there, or somebody who speaks no TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._context, ssl_handshake_timeout=patience
            )

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.leave(task)


def bound(family: int, address: Any) -> socket.socket:
    """A TCP socket at an address as `getaddrinfo` gives it. Raises OSError."""
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # the other one has a door of its own
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(address)
    except OSError:
        door.close()
        raise
    return door
