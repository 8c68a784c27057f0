"""The signing key, the only secret the server has, encrypted on disk with a key that Argon2id makes of a password.

File: one JSON object, `{"version": 1, "salt": hex, "nonce": hex, "sealed": hex, "cost": {"passes": integer,
"memory_kib": integer}}`; AES-256-GCM, the 32-byte key inside, the version as associated data. Losing or changing the
key orphans every account (protocol section 2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinlock.chain.keys import PrivateKey
from twinlock.seams import Entropy
from twinlock.server.errors import ServerError

KEY_FILE = "signing.key.json"
"""Its name in the data directory."""

_VERSION = 1


class KeyFileError(ServerError):
    """The signing key cannot be opened."""

    code = "server.signing_key"
    fault = "user"


class Cost(msgspec.Struct, frozen=True):
    """How much work one guess of the password takes; the bounds keep a damaged file from asking for more."""

    passes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    memory_kib: Annotated[int, msgspec.Meta(ge=8, le=1 << 21)] = 65_536


class _Sealed(msgspec.Struct):
    version: int
    salt: str
    nonce: str
    sealed: str
    cost: Cost = Cost()  # an older file does not tell it


def ensure_signing_key(path: Path, password: str, entropy: Entropy, cost: Cost | None = None) -> PrivateKey:
    """Open the key file, making a new key of that cost first if there is none. Raises KeyFileError."""
    if not path.exists():
        return _store(path, password, entropy, cost or Cost())
    return open_signing_key(path, password)


def open_signing_key(path: Path, password: str) -> PrivateKey:
    """Decrypt the key. Raises KeyFileError for a wrong password or a damaged file."""
    try:
        box = msgspec.json.decode(path.read_bytes(), type=_Sealed)
        key = _derive(password, bytes.fromhex(box.salt), box.cost)
        secret = AESGCM(key).decrypt(bytes.fromhex(box.nonce), bytes.fromhex(box.sealed), bytes((box.version,)))
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise KeyFileError(
            f"{path} does not open with this password", fix="give the password it was made with, or restore a backup"
        ) from error
    return PrivateKey(secret)


def _store(path: Path, password: str, entropy: Entropy, cost: Cost) -> PrivateKey:
    salt, nonce, secret = entropy.token(16), entropy.token(12), entropy.token(32)
    key = PrivateKey(secret)  # refuses the few byte strings that are no key
    sealed = AESGCM(_derive(password, salt, cost)).encrypt(nonce, secret, bytes((_VERSION,)))
    content = msgspec.json.encode(_Sealed(_VERSION, salt.hex(), nonce.hex(), sealed.hex(), cost))
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return key


def _derive(password: str, salt: bytes, cost: Cost) -> bytes:
    return hash_secret_raw(
        password.encode(), salt, cost.passes, cost.memory_kib, parallelism=1, hash_len=32, type=Type.ID
    )
