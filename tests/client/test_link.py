"""The real socket: TLS with a pinned certificate, pings, and honest errors."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve

from twinlock.client.config import ServerConfig
from twinlock.client.errors import ConfigError, LinkClosedError
from twinlock.client.link import memory_links, websocket_dialer

pytestmark = pytest.mark.anyio


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


@asynccontextmanager
async def echo_server(folder: Path) -> AsyncIterator[ServerConfig]:
    """Answers every frame with itself; `ServerConfig` pins its certificate."""
    pem, key = certificate(folder, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)

    async def echo(socket: ServerConnection) -> None:
        await (await socket.ping(b""))  # As the exchange's servers do: an empty ping that wants its pong.
        async for frame in socket:
            assert isinstance(frame, str)
            await socket.send(frame)

    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield ServerConfig(host=f"127.0.0.1:{port}", certificate=str(pem))


async def test_frames_go_both_ways_over_the_pinned_certificate(tmp_path: Path) -> None:
    async with echo_server(tmp_path) as config:
        link = await websocket_dialer(config)()
        await link.send(b'{"type":1}')
        assert await link.receive() == b'{"type":1}'
        await link.close()
        with pytest.raises(LinkClosedError):
            await link.receive()
        with pytest.raises(LinkClosedError):
            await link.send(b"{}")


async def test_another_certificate_is_not_trusted(tmp_path: Path) -> None:
    async with echo_server(tmp_path) as config:
        other, _ = certificate(tmp_path, "impostor")
        for pinned in (str(other), ""):
            dial = websocket_dialer(ServerConfig(host=config.host, certificate=pinned))
            with pytest.raises(LinkClosedError, match="certificate"):
                await dial()


async def test_a_server_that_is_not_there_is_an_honest_error(tmp_path: Path) -> None:
    pem, _ = certificate(tmp_path, "server")
    with pytest.raises(LinkClosedError):
        await websocket_dialer(ServerConfig(host="127.0.0.1:1", certificate=str(pem)))()
    with pytest.raises(ConfigError):
        websocket_dialer(ServerConfig(host="127.0.0.1:1", certificate=str(tmp_path / "missing.pem")))


async def test_links_in_memory_close_like_sockets() -> None:
    near, far = memory_links()
    await near.send(b"1")
    assert await far.receive() == b"1"
    waiting = asyncio.create_task(near.receive())
    await asyncio.sleep(0)
    await far.close()
    with pytest.raises(LinkClosedError):
        await waiting
    with pytest.raises(LinkClosedError):
        await near.send(b"2")
