"""What the peer manager needs of the network, and the real one: names, connections, the Tor proxy, the blacklist."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import httpx

from twinlock.electrum.transport import Dialer, Endpoint, Transport
from twinlock.indexer.costs import Address
from twinlock.indexer.peer import host_address

TOR_PORTS = (9050, 9150, 1080)
_PATIENCE = 10.0
_BLACKLIST_SIZE = 1 << 20


class PeerNetwork(Protocol):
    """The outside world."""

    async def resolve(self, host: str) -> tuple[Address, ...]:
        """The addresses of a host; none where it has none."""
        ...

    async def dial(self, endpoint: Endpoint, proxy: str | None) -> Transport:
        """Connect, through a proxy (``socks5://host:port``) where one is given. Raises ElectrumError."""
        ...

    async def find_proxy(self, host: str, ports: Sequence[int]) -> int | None:
        """The first of these ports where a SOCKS proxy answers."""
        ...

    async def fetch(self, url: str) -> bytes:
        """A document. Raises OSError."""
        ...


class _NoPins:
    """Implements `Pins`: nothing is at stake in talking to a peer, so certificates may change as they like."""

    def get(self, server: str) -> bytes | None:  # noqa: ARG002
        return None

    def put(self, server: str, certificate: bytes) -> None:
        """Forget it."""


class RealNetwork:
    """Implements `PeerNetwork`."""

    async def resolve(self, host: str) -> tuple[Address, ...]:
        with suppress(OSError, UnicodeError):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = (host_address(str(row[4][0]).split("%")[0]) for row in found)
            return tuple(dict.fromkeys(address for address in addresses if address is not None))
        return ()

    async def dial(self, endpoint: Endpoint, proxy: str | None) -> Transport:
        return await Dialer(pins=_NoPins(), proxy=proxy)(endpoint)

    async def find_proxy(self, host: str, ports: Sequence[int]) -> int | None:
        for port in ports:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    if await _speaks_socks(host, port):
                        return port
        return None

    async def fetch(self, url: str) -> bytes:
        try:
            async with httpx.AsyncClient(timeout=_PATIENCE) as client, client.stream("GET", url) as reply:
                reply.raise_for_status()
                body = b""
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > _BLACKLIST_SIZE:
                        raise OSError(f"{url} is too large")
                return body
        except httpx.HTTPError as error:
            raise OSError(f"{url}: {error}") from error


async def _speaks_socks(host: str, port: int) -> bool:
    """Whether something there answers a greeting of SOCKS 5 (RFC 1928) and asks for no password."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"\x05\x01\x00")
        return await reader.readexactly(2) == b"\x05\x00"
    finally:
        writer.transport.abort()
