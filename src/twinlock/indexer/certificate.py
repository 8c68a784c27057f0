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

from twinlock.errors import TwinlockError
from twinlock.indexer.env import Env
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


class CertificateError(TwinlockError):
    """The certificate or its key cannot be used."""

    code = "indexer.certificate"
    fault = "user"


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Certificate:
    """A server's TLS context that follows its files; running sessions keep what they have."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises CertificateError."""
        self._certificate = certificate
        self._key = key
        self._stamp: tuple[int, ...] = ()  # of what is loaded
        self.context = _context()
        self.reload()

    def reload(self) -> bool:
        """Load the files again if they changed; whether they did.

        Raises CertificateError while they do not do: one is replaced before the other, as a rule. What was loaded
        before stays in use.
        """
        try:
            stamp = tuple(file.stat().st_mtime_ns for file in (self._certificate, self._key))
            if stamp == self._stamp:
                return False
            # A context that refuses a key has lost the old one: another one tries it first.
            for context in (_context(), self.context):
                context.load_cert_chain(self._certificate, self._key, password=_no_password)
            self._stamp = stamp
        except (OSError, ValueError) as error:
            self._stamp = ()
            raise CertificateError(
                f"the certificate {self._certificate} and the key {self._key} cannot be used: {error}",
                fix="give a PEM certificate and its own key, without a password",
            ) from error
        return True


def certificate_of(env: Env, clock: Clock) -> Certificate | None:
    """What is set, else our own; None where nobody is to come through TLS. Raises CertificateError."""
    if not any(service.protocol in ("ssl", "wss") for service in env.services):
        return None
    certificate = env.ssl_certificate or env.data_dir / "certificate.pem"
    key = env.ssl_key or env.data_dir / "certificate.key"
    if not certificate.exists() and env.ssl_certificate is None:
        make_certificate(certificate, key, clock)
    return Certificate(certificate, key)


def _no_password() -> str:
    """Asked for where the key has one: nobody sits at the terminal of a server."""
    raise ValueError("the key has a password")
