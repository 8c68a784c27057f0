"""The TLS certificate: made once, loaded again when its files change, and never worse than the one before."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from twinlock.indexer.certificate import Certificate, CertificateError, make_certificate
from twinlock.seams import SystemClock


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    make_certificate(tmp_path / "cert", tmp_path / "key", SystemClock())
    return Certificate(tmp_path / "cert", tmp_path / "key")


def test_a_changed_certificate_is_loaded_and_an_unchanged_one_is_not(tmp_path: Path, certificate: Certificate) -> None:
    assert not certificate.reload()
    make_certificate(tmp_path / "cert", tmp_path / "key", SystemClock())
    assert certificate.reload()


def test_a_certificate_that_does_not_do_leaves_the_one_before_in_use(tmp_path: Path, certificate: Certificate) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other" / "cert", tmp_path / "other" / "key", SystemClock())
    was = cert.read_bytes()
    cert.write_bytes((tmp_path / "other" / "cert").read_bytes())  # its key comes a little later
    for _ in range(2):
        with pytest.raises(CertificateError, match="cannot be used"):
            certificate.reload()
    assert shaken(certificate.context) == ssl.PEM_cert_to_DER_cert(was.decode())
    key.write_bytes((tmp_path / "other" / "key").read_bytes())
    assert certificate.reload()
    assert shaken(certificate.context) == ssl.PEM_cert_to_DER_cert(cert.read_text())
    for spoil in (cert.unlink, lambda: cert.write_bytes(b""), lambda: cert.write_bytes(was[:300])):
        spoil()
        with pytest.raises(CertificateError):
            certificate.reload()
    cert.write_bytes(was)
    with pytest.raises(CertificateError):
        certificate.reload()
    cert.write_bytes((tmp_path / "other" / "cert").read_bytes())
    assert certificate.reload()
    assert not certificate.reload()


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path, certificate: Certificate) -> None:
    secret = serialization.load_pem_private_key((tmp_path / "key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"word")
    (tmp_path / "key").write_bytes(
        secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    with pytest.raises(CertificateError, match="has a password"):
        certificate.reload()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shaken(context: ssl.SSLContext) -> bytes | None:
    """The certificate (DER) that a new connection is shown."""
    ours, theirs = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    server, client = context.wrap_bio(*ours, server_side=True), trusting().wrap_bio(*theirs)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        ours[0].write(theirs[1].read())
        theirs[0].write(ours[1].read())
    return client.getpeercert(binary_form=True)


def test_the_key_is_for_its_owner_only(tmp_path: Path, certificate: Certificate) -> None:
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert certificate.context.minimum_version >= ssl.TLSVersion.TLSv1_2
