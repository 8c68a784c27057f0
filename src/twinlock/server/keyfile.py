"""The signing key, the only secret the server has, encrypted on disk with a key that Argon2id makes of a password.

File: one JSON object, `{"version": 1, "salt": hex, "nonce": hex, "sealed": hex}`; AES-256-GCM, the 32-byte key
inside, the version as associated data. Losing or changing the key orphans every account (protocol section 2).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinlock.chain.keys import PrivateKey
from twinlock.seams import Entropy
from twinlock.server.errors import ServerError

_VERSION = 1
_MEMORY_KIB = 65_536
_PASSES = 3


class KeyFileError(ServerError):
    """The signing key cannot be opened."""

    code = "server.signing_key"
    fault = "user"


class _Sealed(msgspec.Struct):
    version: int
    salt: str
    nonce: str
    sealed: str


def ensure_signing_key(path: Path, password: str, entropy: Entropy) -> PrivateKey:
    """Open the key file, making a new key first if there is none. Raises KeyFileError."""
    if not path.exists():
        _store(path, password, entropy)
    return open_signing_key(path, password)


def open_signing_key(path: Path, password: str) -> PrivateKey:
    """Decrypt the key. Raises KeyFileError for a wrong password or a damaged file."""
    try:
        box = msgspec.json.decode(path.read_bytes(), type=_Sealed)
        key = _derive(password, bytes.fromhex(box.salt))
        secret = AESGCM(key).decrypt(bytes.fromhex(box.nonce), bytes.fromhex(box.sealed), bytes((box.version,)))
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise KeyFileError(
            f"{path} does not open with this password", fix="give the password it was made with, or restore a backup"
        ) from error
    return PrivateKey(secret)


def _store(path: Path, password: str, entropy: Entropy) -> None:
    salt, nonce, secret = entropy.token(16), entropy.token(12), entropy.token(32)
    PrivateKey(secret)  # refuses the few byte strings that are no key
    sealed = AESGCM(_derive(password, salt)).encrypt(nonce, secret, bytes((_VERSION,)))
    content = msgspec.json.encode(_Sealed(_VERSION, salt.hex(), nonce.hex(), sealed.hex()))
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _derive(password: str, salt: bytes) -> bytes:
    return hash_secret_raw(
        password.encode(), salt, time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1, hash_len=32, type=Type.ID
    )
