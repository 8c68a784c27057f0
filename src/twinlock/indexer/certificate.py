"""The TLS certificate: made once when the operator has none, and loaded again when its file changes.

Wallets pin the first certificate that they see, so one that we made lasts long and is never made anew.
"""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twinlock.seams import Clock

_YEARS = 20


def make_certificate(certificate: Path, key: Path, clock: Clock) -> None:
    """Write a self-signed certificate and its key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "twinlock indexer")])
    now = datetime.datetime.fromtimestamp(clock.now_ms() / 1000, datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .sign(secret, hashes.SHA256())
    )
    key.touch(mode=0o600)
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))


class Certificate:
    """A server's TLS context that follows its files; running sessions keep what they have."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.reload()

    def reload(self) -> bool:
        """Load the files again if they changed; whether they did."""
        stamp = self._certificate.stat().st_mtime_ns
        if stamp == self._stamp:
            return False
        self.context.load_cert_chain(self._certificate, self._key)
        self._stamp = stamp
        return True
