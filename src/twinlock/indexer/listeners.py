"""Listeners: the doors through which wallets come, TCP and WebSocket, plain and with TLS, to the same sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from twinlock.gate.door import Door
from twinlock.gate.waiting_room import WaitingRoom
from twinlock.indexer.certificate import Certificate
from twinlock.indexer.doors import opening
from twinlock.indexer.env import EnvError, Service
from twinlock.indexer.shared import Shared
from twinlock.indexer.web_sockets import WebSockets

_HANDSHAKES = 150
"""TLS handshakes that may be under way at once."""


class Listener(Protocol):
    """An open door."""

    def close(self) -> None: ...


async def open_listener(
    service: Service, session: Callable[[], asyncio.Protocol], certificate: Certificate | None, shared: Shared
) -> Listener:
    """Listen. Raises EnvError when TLS is wanted without a certificate, DoorError."""
    if service.protocol in ("ssl", "wss") and certificate is None:
        raise EnvError(f"{service} needs a certificate")
    context = certificate.context if certificate and service.protocol in ("ssl", "wss") else None

    def network_of(peer: object) -> str:
        return shared.group_of(peer).name

    with opening(service):
        if service.protocol == "tcp":
            loop = asyncio.get_running_loop()
            return cast(Listener, await loop.create_server(session, service.host, service.port))
        door: Door | WebSockets = (
            Door(context, session, network_of, WaitingRoom(_HANDSHAKES))
            if service.protocol == "ssl"
            else WebSockets(context, session, network_of, shared.env.max_recv)
        )
        await door.open(service.host, service.port)
        return door
