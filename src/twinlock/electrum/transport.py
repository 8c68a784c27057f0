"""The seam to the network: a byte stream to a server, and the ways to open one.

`Transport` is all that the client needs of a connection, `Dial` all that it needs of a network. `Dialer` is the
real one: TCP, TLS, either through a SOCKS proxy. `memory_pipe` joins two transports inside the process; it
passes the same tests, and a simulated server stands behind it.

Trust in TLS is what Electrum wallets are used to: a certificate that a known authority signed for the host's
name is fine; any other is pinned when first seen (`Pins`) and must stay the same until it expires.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from python_socks import ProxyError, ProxyTimeoutError
from python_socks.async_.asyncio import Proxy

from .errors import CertificateChangedError, ConnectionLostError, ElectrumError

CHUNK = 65_536
"""Bytes read at once."""

PORTS = {"tcp": 50001, "ssl": 50002}


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: ``tcp://host:port`` or ``ssl://host:port`` (``tls`` is accepted for ``ssl``).

    >>> str(Endpoint.parse("tls://electrum.example"))
    'ssl://electrum.example:50002'
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Raises ElectrumError (``electrum.endpoint``) for anything that is not such an address."""
        try:
            parts = urlsplit(text)
            scheme = {"tls": "ssl"}.get(parts.scheme, parts.scheme)
            port = parts.port if parts.port is not None else PORTS[scheme]
            if scheme not in PORTS or not parts.hostname or not 0 < port < 65_536:
                raise ValueError(text)
            return cls(scheme, parts.hostname, port)
        except (ValueError, KeyError) as error:
            raise ElectrumError(
                f"{text!r} is not an Electrum server's address",
                code="electrum.endpoint",
                fault="user",
                fix="Write tcp://host:port or ssl://host:port.",
            ) from error

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Transport(Protocol):
    """A byte stream in both directions. Every method may raise ConnectionLostError, and nothing else."""

    async def send(self, data: bytes) -> None:
        """Hand over all of `data`; waits while the other side reads too slowly."""
        ...

    async def receive(self) -> bytes:
        """The next bytes, at least one. Raises ConnectionLostError at the end of the stream."""
        ...

    async def close(self) -> None:
        """End the stream at once. Never raises."""
        ...


Dial = Callable[[Endpoint], Awaitable[Transport]]
"""Opens a transport, or raises ConnectionLostError or CertificateChangedError."""


VOUCHED = b"vouched"
"""Pinned in place of a certificate that a known authority signed: from then on only such ones are taken."""


class Pins(Protocol):
    """Remembers the certificates first seen. Keys are ``host:port``, values DER bytes or `VOUCHED`."""

    def get(self, server: str) -> bytes | None: ...

    def put(self, server: str, certificate: bytes) -> None: ...


@dataclass
class MemoryPins:
    """Pins that last as long as the process."""

    certificates: dict[str, bytes] = field(default_factory=dict)

    def get(self, server: str) -> bytes | None:
        return self.certificates.get(server)

    def put(self, server: str, certificate: bytes) -> None:
        self.certificates[server] = certificate


class StreamTransport:
    """A transport over a socket of the operating system."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise ConnectionLostError(f"sending failed: {error}") from error

    async def receive(self) -> bytes:
        try:
            data = await self._reader.read(CHUNK)
        except (OSError, RuntimeError) as error:
            raise ConnectionLostError(f"receiving failed: {error}") from error
        if not data:
            raise ConnectionLostError("the server closed the connection")
        return data

    async def close(self) -> None:
        # Aborted, not shut down: a TLS farewell to a peer that went silent would wait for an answer.
        self._writer.transport.abort()

    @property
    def certificate(self) -> bytes:
        """The certificate that the other side showed, DER."""
        shown = self._writer.get_extra_info("ssl_object")
        return (shown.getpeercert(binary_form=True) if shown else None) or b""


class Dialer:
    """Opens real connections.

    proxy: ``socks5://[user:password@]host:port`` (Tor: ``socks5://127.0.0.1:9050``), or None. Names are resolved by
    the proxy. pins: where certificates of unknown origin are remembered.
    """

    def __init__(self, *, pins: Pins | None = None, proxy: str | None = None) -> None:
        self._pins = pins if pins is not None else MemoryPins()
        self._proxy = proxy
        self._checked = ssl.create_default_context()
        self._checked.minimum_version = ssl.TLSVersion.TLSv1_2
        self._unchecked = ssl.create_default_context()
        self._unchecked.check_hostname = False
        self._unchecked.verify_mode = ssl.CERT_NONE

    async def __call__(self, endpoint: Endpoint) -> Transport:
        try:
            return await self._dial(endpoint)
        except (OSError, ProxyError, ProxyTimeoutError, TimeoutError) as error:
            raise ConnectionLostError(f"{endpoint} is not reachable: {error}") from error

    async def _dial(self, endpoint: Endpoint) -> StreamTransport:
        if endpoint.scheme == "tcp":
            return await self._open(endpoint, None)
        key = f"{endpoint.host}:{endpoint.port}"
        pinned = self._pins.get(key)
        if pinned is None or pinned == VOUCHED:
            try:
                transport = await self._open(endpoint, self._checked)
            except ssl.SSLCertVerificationError as error:
                if pinned == VOUCHED:
                    raise _changed(endpoint) from error
            else:
                self._pins.put(key, VOUCHED)
                return transport
        transport = await self._open(endpoint, self._unchecked)
        shown = transport.certificate
        if pinned is not None and shown != pinned and not _expired(pinned):
            await transport.close()
            raise _changed(endpoint)
        if shown != pinned:
            self._pins.put(key, shown)
        return transport

    async def _open(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> StreamTransport:
        host, port = endpoint.host, endpoint.port
        name = host if context else None
        if self._proxy is None:
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        else:
            sock = await Proxy.from_url(self._proxy, rdns=True).connect(host, port)
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
        return StreamTransport(reader, writer)


def _changed(endpoint: Endpoint) -> CertificateChangedError:
    return CertificateChangedError(
        f"{endpoint} shows another certificate than at the first visit",
        fix="Ask its operator whether the certificate was replaced, then forget the pinned one.",
    )


def _expired(certificate: bytes) -> bool:
    from cryptography import x509  # Dear to load, and needed only where a pinned certificate has changed.

    # Wall time on purpose, the clock that TLS itself judges certificates by.
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc < datetime.datetime.now(datetime.UTC)


class _Lane:
    """One direction of a pipe inside the process."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or len(self._chunks) < self._capacity)
            if self._ended:
                raise ConnectionLostError("the pipe is closed")
            self._chunks.append(data)
            self._changed.notify_all()

    async def get(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or self._chunks)
            if not self._chunks:
                raise ConnectionLostError("the pipe is closed")
            self._changed.notify_all()
            return self._chunks.popleft()

    async def end(self) -> None:
        async with self._changed:
            self._ended = True
            self._changed.notify_all()


class MemoryTransport:
    """One end of a pipe inside the process."""

    def __init__(self, incoming: _Lane, outgoing: _Lane) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    async def send(self, data: bytes) -> None:
        if data:
            await self._outgoing.put(bytes(data))

    async def receive(self) -> bytes:
        return await self._incoming.get()

    async def close(self) -> None:
        await self._incoming.end()
        await self._outgoing.end()


def memory_pipe(capacity: int = 64) -> tuple[MemoryTransport, MemoryTransport]:
    """Two transports, each the other's far end. A lane holds `capacity` unread chunks before its sender waits."""
    there, back = _Lane(capacity), _Lane(capacity)
    return MemoryTransport(back, there), MemoryTransport(there, back)
