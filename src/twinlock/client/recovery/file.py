"""The recovery file: all that finishing or refunding needs beside the seed, readable with the seed only.

``magic (8 bytes) ‖ nonce (12) ‖ ciphertext ‖ tag (16)``: ChaCha20-Poly1305 (RFC 8439) under a key of the seed; the
plain text is MessagePack.
"""

from __future__ import annotations

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from twinlock.chain.coins import Network
from twinlock.client.errors import ClientError
from twinlock.client.store.records import AccountRecord, BondRecord, OrderRecord, SwapRecord
from twinlock.seams import Entropy

MAGIC = b"TWLREC\x00\x01"
NONCE_SIZE = 12


class RecoveryFileError(ClientError):
    """The recovery file cannot be read or written."""

    code = "recovery.file"


class Contents(msgspec.Struct, kw_only=True):
    """accounts: where we trade. orders: with coins of ours, or of these swaps. swaps: not over. bonds: not refunded."""

    network: Network
    accounts: tuple[AccountRecord, ...] = ()
    bonds: tuple[BondRecord, ...] = ()
    orders: tuple[OrderRecord, ...] = ()
    swaps: tuple[SwapRecord, ...] = ()


def pack(contents: Contents) -> bytes:
    """The plain text; the same for the same contents."""
    return msgspec.msgpack.encode(contents)


def seal(key: bytes, plain: bytes, entropy: Entropy) -> bytes:
    """The file's bytes. key: 32 bytes, see `TraderKeys.recovery_key`."""
    nonce = entropy.token(NONCE_SIZE)
    return MAGIC + nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, MAGIC)


def read(key: bytes, sealed: bytes) -> Contents:
    """Raises RecoveryFileError for another seed's file and for a damaged one."""
    if not sealed.startswith(MAGIC):
        raise RecoveryFileError("that is no recovery file, or one of a newer version")
    nonce, body = sealed[len(MAGIC) :][:NONCE_SIZE], sealed[len(MAGIC) + NONCE_SIZE :]
    try:
        return msgspec.msgpack.decode(ChaCha20Poly1305(key).decrypt(nonce, body, MAGIC), type=Contents)
    except (InvalidTag, ValueError) as error:
        raise RecoveryFileError(
            "the recovery file does not open: it is another seed's, or damaged",
            fix="use the words that it was made with, and their passphrase if there was one",
        ) from error
