"""Doors: whether the addresses that a server is to listen on can be had."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from twinlock.errors import TwinlockError
from twinlock.indexer.env import Service


class DoorError(TwinlockError):
    """An address cannot be listened on."""

    code = "indexer.door"
    fault = "user"


@contextmanager
def opening(service: Service) -> Iterator[None]:
    """Raises DoorError for what the system says while a service is opened."""
    try:
        yield
    except OSError as error:
        fix = "an indexer runs already, or something else does: choose another port"
        raise DoorError(f"{service}: {error.strerror or error}", fix=fix) from error


def try_door(service: Service) -> None:
    """Raises DoorError when the address cannot be had now."""
    with opening(service):
        for family, _, _, _, address in socket.getaddrinfo(service.host, service.port, type=socket.SOCK_STREAM):
            bound(family, address).close()


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


def try_doors(services: Iterable[Service]) -> None:
    """The same for all of them: it is learnt at the start, not after hours of a first sync."""
    for service in services:
        try_door(service)
