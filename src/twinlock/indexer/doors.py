"""Doors: whether the addresses that a server is to listen on can be had."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from twinlock.errors import TwinlockError
from twinlock.gate.door import bound
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


def try_doors(services: Iterable[Service]) -> None:
    """The same for all of them: it is learnt at the start, not after hours of a first sync."""
    for service in services:
        try_door(service)
