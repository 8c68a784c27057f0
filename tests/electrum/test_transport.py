"""One suite for every way to carry bytes; and trust in certificates."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twinlock.electrum.errors import CertificateChangedError, ConnectionLostError, ElectrumError
from twinlock.electrum.transport import VOUCHED, Dialer, Endpoint, MemoryPins, StreamTransport, Transport, memory_pipe

pytestmark = pytest.mark.anyio

Ends = tuple[Transport, Transport]


def certificate(folder: Path, name: str, *, days: int = 30) -> ssl.SSLContext:
    """A server's context with a new self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@asynccontextmanager
async def listener(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, asyncio.Queue[Transport]]]:
    """A port on loopback, and the server's ends of the connections made to it."""
    accepted: asyncio.Queue[Transport] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(StreamTransport(reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], accepted
    finally:
        server.close()


async def socks_proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The least of RFC 1928: no authentication, CONNECT to a name, which it takes for loopback."""
    await reader.readexactly((await reader.readexactly(2))[1])
    writer.write(b"\x05\x00")
    assert (await reader.readexactly(4))[:4] == b"\x05\x01\x00\x03", "the name is left to the proxy to resolve"
    name = await reader.readexactly((await reader.readexactly(1))[0])
    assert name == b"hidden.onion"
    port = int.from_bytes(await reader.readexactly(2), "big")
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x05\x00\x00\x01" + bytes(6))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1000):
            sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


@pytest.fixture(params=["memory", "tcp", "tls", "socks"])
async def ends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ends]:
    if request.param == "memory":
        yield memory_pipe()
        return
    context = certificate(tmp_path, "server") if request.param == "tls" else None
    async with listener(context) as (port, accepted):
        if request.param == "socks":
            proxy = await asyncio.start_server(socks_proxy, "127.0.0.1", 0)
            dial = Dialer(proxy=f"socks5://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            client = await dial(Endpoint("tcp", "hidden.onion", port))
        else:
            client = await Dialer()(Endpoint("ssl" if context else "tcp", "127.0.0.1", port))
        server = await accepted.get()
        yield client, server
        await client.close()
        await server.close()
        if request.param == "socks":
            proxy.close()


async def read(transport: Transport, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await transport.receive()
    return data


async def test_bytes_arrive_complete_and_in_order_both_ways(ends: Ends) -> None:
    client, server = ends
    large = bytes(range(256)) * 1000
    sending = asyncio.create_task(client.send(large))
    assert await read(server, len(large)) == large
    await sending
    await server.send(b"one")
    await server.send(b"two")
    assert await read(client, 6) == b"onetwo"


async def test_the_end_is_told_to_both_sides(ends: Ends) -> None:
    client, server = ends
    await client.send(b"last words")
    assert await read(server, 10) == b"last words"
    await client.close()
    with pytest.raises(ConnectionLostError):
        await server.receive()
    with pytest.raises(ConnectionLostError):
        await client.receive()
    await client.close()


async def test_a_slow_reader_makes_its_sender_wait() -> None:
    client, server = memory_pipe(capacity=2)
    sending = asyncio.create_task(send_all(client.send, 5))
    await asyncio.sleep(0)
    for _ in range(5):
        await server.receive()
    await sending


async def send_all(send: Callable[[bytes], Awaitable[None]], count: int) -> None:
    for _ in range(count):
        await send(b"x")


async def test_nobody_there_is_a_lost_connection() -> None:
    async with listener() as (port, _):
        pass
    with pytest.raises(ConnectionLostError):
        await Dialer()(Endpoint("tcp", "127.0.0.1", port))


async def test_an_unknown_certificate_is_pinned_and_then_expected(tmp_path: Path) -> None:
    pins = MemoryPins()
    dial = Dialer(pins=pins)
    async with listener(certificate(tmp_path, "first")) as (port, _):
        endpoint = Endpoint("ssl", "127.0.0.1", port)
        for _ in range(2):
            await (await dial(endpoint)).close()
    key = f"127.0.0.1:{port}"
    first = pins.certificates[key]
    async with listener(certificate(tmp_path, "second")) as (other_port, _):
        pins.certificates = {f"127.0.0.1:{other_port}": first}
        with pytest.raises(CertificateChangedError):
            await dial(Endpoint("ssl", "127.0.0.1", other_port))
        assert pins.certificates[f"127.0.0.1:{other_port}"] == first


async def test_an_expired_pin_gives_way(tmp_path: Path) -> None:
    pins = MemoryPins()
    dial = Dialer(pins=pins)
    async with listener(certificate(tmp_path, "old", days=-1)) as (port, _):
        await (await dial(Endpoint("ssl", "127.0.0.1", port))).close()
    expired = pins.certificates[f"127.0.0.1:{port}"]
    async with listener(certificate(tmp_path, "new")) as (port, _):
        pins.certificates = {f"127.0.0.1:{port}": expired}
        await (await dial(Endpoint("ssl", "127.0.0.1", port))).close()
    assert pins.certificates[f"127.0.0.1:{port}"] != expired


async def test_a_server_that_authorities_vouched_for_may_not_fall_back_to_its_own_word(tmp_path: Path) -> None:
    async with listener(certificate(tmp_path, "impostor")) as (port, _):
        dial = Dialer(pins=MemoryPins({f"127.0.0.1:{port}": VOUCHED}))
        with pytest.raises(CertificateChangedError):
            await dial(Endpoint("ssl", "127.0.0.1", port))


@pytest.mark.parametrize(
    "text", ["", "host:1", "http://host:1", "tcp://", "tcp://host:0", "tcp://host:99999", "tcp://[::1"]
)
async def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ElectrumError) as refused:
        Endpoint.parse(text)
    assert refused.value.code == "electrum.endpoint"


async def test_addresses_are_read_with_customary_ports() -> None:
    assert Endpoint.parse("tcp://a.b") == Endpoint("tcp", "a.b", 50001)
    assert Endpoint.parse("tls://a.b") == Endpoint("ssl", "a.b", 50002)
    assert str(Endpoint.parse("ssl://[::1]:7")) == "ssl://[::1]:7"
