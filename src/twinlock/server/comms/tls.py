"""The server's certificate: self-signed, kept in the data directory for clients to pin.

Go's TLS ignores the common name, so each name that a client may type stands in the subjectAltName
(protocol sections 1.1 and 12, trap 16).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_YEARS = 10
_ORGANISATION = "Twinlock self-signed certificate"
_ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the two PEM files are. `certificate` is what clients pin."""

    certificate: Path
    key: Path


def ensure_certificate(folder: Path, names: Iterable[str], now_ms: int) -> CertificateFiles:
    """Return the certificate of `folder`, making it first if there is none."""
    files = CertificateFiles(folder / "server.cert", folder / "server.key")
    if not (files.certificate.exists() and files.key.exists()):
        certificate, key = make_certificate((*_ALWAYS, *names), now_ms)
        _write_private(files.key, key)
        files.certificate.write_bytes(certificate)
    return files


def make_certificate(names: Iterable[str], now_ms: int) -> tuple[bytes, bytes]:
    """A P-256 certificate and its key, both PEM, valid for those names and addresses from a day ago on."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC) - dt.timedelta(days=1)
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=365 * _YEARS))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    # Session tickets cost memory for each connection, and our clients stay connected.
    context.num_tickets = 0
    return context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
