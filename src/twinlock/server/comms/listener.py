"""The one TCP listener: `/ws` becomes a WebSocket link, every other request goes to the HTTP API.

The head of a request is read here, bounded in size and time, because the two kinds of peer share a port
(protocol section 1.6). What is not an upgrade is handed, transport and bytes, to uvicorn's HTTP protocol.

Each connection that is no link is in the listener's waiting room, from the first byte of its handshake to its end: when
the room is full, the address with most there loses its oldest.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, cast

from twinlock.errors import TwinlockError
from twinlock.gate.door import HANDSHAKE_SECONDS, Door
from twinlock.gate.waiting_room import WaitingRoom
from twinlock.seams import Clock
from twinlock.server.comms.addresses import origin
from twinlock.server.comms.frames import accept_key
from twinlock.server.comms.hub import Hub
from twinlock.server.comms.link import Link, LinkOwner

HEAD_LIMIT = 16_384
HEAD_WAIT_S = HANDSHAKE_SECONDS
UNREAD_WAIT_S = 30.0
WEBSOCKET_PATH = "/ws"
FEED_PATH = "/api/v1/ws"

HttpFactory = Callable[[], asyncio.Protocol]


class HeadError(TwinlockError):
    """The first bytes were no HTTP request; answered with `status`."""

    code = "comms.http_head"
    fault = "peer"

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an HTTP/1.1 request; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


def parse_head(head: bytes) -> Head:
    """Parse a request head without its final empty line. Raises HeadError.

    >>> parse_head(b"GET /ws?x=1 HTTP/1.1\\r\\nUpgrade: websocket").path
    '/ws'
    """
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    except ValueError:
        raise HeadError(HTTPStatus.BAD_REQUEST, "not an HTTP request") from None
    if not version.startswith("HTTP/1."):
        raise HeadError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
    return Head(method, target.split("?", 1)[0], headers)


def upgrade_key(head: Head) -> bytes:
    """The key of a valid WebSocket upgrade (RFC 6455, section 4.2.1). Raises HeadError."""
    wanted = (
        head.method == "GET",
        head.headers.get("upgrade", "").lower() == "websocket",
        "upgrade" in head.headers.get("connection", "").lower(),
    )
    key = head.headers.get("sec-websocket-key", "")
    if not all(wanted) or not key:
        raise HeadError(HTTPStatus.BAD_REQUEST, "this path takes WebSocket upgrades only")
    if head.headers.get("sec-websocket-version") != "13":
        raise HeadError(HTTPStatus.UPGRADE_REQUIRED, "WebSocket version 13 is spoken here")
    return key.encode("latin-1")


class Connection(asyncio.Protocol):
    """A new connection until its first request shows what it is."""

    def __init__(
        self, hub: Hub, clock: Clock, http: HttpFactory, owners: Mapping[str, LinkOwner], room: WaitingRoom
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._http = http
        self._room = room
        self._owners = owners
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything that asyncio.Transport does, but do not descend from it.
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HEAD_WAIT_S, self._transport.abort)
        self._room.enter(self, peer_address(transport), self._transport.abort)

    def connection_lost(self, _: Exception | None) -> None:
        self._room.leave(self)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        try:
            if end < 0:
                if len(self._buffer) > HEAD_LIMIT:
                    raise HeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"head above {HEAD_LIMIT} bytes")
                return
            self._stop_timer()
            head = parse_head(bytes(self._buffer[:end]))
            owner = self._owners.get(head.path)
            if owner is not None:
                self._upgrade(owner, head, bytes(self._buffer[end + 4 :]))
            else:
                self._hand_over(Conversation(self._http(), self._room), bytes(self._buffer))
        except HeadError as error:
            self._refuse(error)

    def _upgrade(self, owner: LinkOwner, head: Head, rest: bytes) -> None:
        assert self._transport is not None
        key = upgrade_key(head)
        address = peer_address(self._transport)
        refusal = self._hub.refusal(address)
        if refusal is not None:
            raise HeadError(refusal, refusal.phrase)
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
        )
        self._hand_over(Link(owner, address, self._clock), rest)

    def _hand_over(self, protocol: asyncio.Protocol, pending: bytes) -> None:
        assert self._transport is not None
        self._room.leave(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if pending:
            protocol.data_received(pending)

    def _refuse(self, error: HeadError) -> None:
        assert self._transport is not None
        self._stop_timer()
        body = f"{error}\n".encode()
        self._transport.write(
            f"HTTP/1.1 {error.status.value} {error.status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        self._transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Conversation(asyncio.Protocol):
    """Plain HTTP, in the waiting room to its end: what is idle, or reads nothing, makes room for who comes.

    patience: seconds that a peer may take until it reads on.
    """

    def __init__(self, http: asyncio.Protocol, room: WaitingRoom, patience: float = UNREAD_WAIT_S) -> None:
        self._http = http
        self._room = room
        self._patience = patience
        self._abort: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._abort = cast(asyncio.Transport, transport).abort
        self._room.enter(self, peer_address(transport), self._abort)
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        self._stop_timer()
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        return self._http.eof_received()

    def pause_writing(self) -> None:
        if self._abort is not None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._abort)
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._stop_timer()
        self._http.resume_writing()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def peer_address(transport: asyncio.BaseTransport) -> str:
    """The origin of the peer's IP address, or "" where there is none."""
    return _origin(transport.get_extra_info("peername"))


def _origin(peer: object) -> str:
    return origin(str(peer[0])) if isinstance(peer, tuple) else ""


async def open_door(
    where: Address | socket.socket,
    context: ssl.SSLContext | None,
    room: WaitingRoom,
    protocol: Callable[[], asyncio.Protocol],
) -> Door:
    """Take connections at an address, or at a socket that was passed on; with TLS unless `context` is None.

    `::` and nothing are every address of both kinds, as an operator means it. Raises OSError.
    """
    door = Door(context, protocol, _origin, room)
    if isinstance(where, socket.socket):
        door.take(where)
    else:
        await door.open(None if where.host == "::" else where.host or None, where.port)
    return door


async def listen(
    hub: Hub,
    clock: Clock,
    http: HttpFactory,
    where: Address | socket.socket,
    context: ssl.SSLContext | None,
    room: WaitingRoom,
    feed: LinkOwner | None = None,
) -> Door:
    """Start accepting connections. feed: who owns links at the feed's path. Raises OSError."""
    owners: dict[str, LinkOwner] = {WEBSOCKET_PATH: hub}
    if feed is not None:
        owners[FEED_PATH] = feed
    return await open_door(where, context, room, lambda: Connection(hub, clock, http, owners, room))
