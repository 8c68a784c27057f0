"""The key that a client and its tower share: packets travel encrypted and authenticated, receipts authenticated.

No certificate is needed then: who does not hold the key can neither read a packet, nor make one, nor pretend to be
the tower. A packet that is sent again by somebody who overheard it changes nothing, as its revision is known.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from twinlock.client.errors import ConfigError
from twinlock.client.store.files import write_durably
from twinlock.client.tower.packet import PacketError
from twinlock.seams import Entropy

KEY_SIZE = 32
NONCE_SIZE = 12
_LABEL = b"twinlock tower packet 1"
_RECEIPT = b"twinlock tower receipt 1"


def key_of(path: Path, entropy: Entropy) -> bytes:
    """The key in the file, as hex; a new one is made where there is no file. Raises ConfigError."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, entropy.token(KEY_SIZE).hex().encode() + b"\n")
    return read_key(path)


def read_key(path: Path) -> bytes:
    """The key in the file. Raises ConfigError."""
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read the tower's key from {path}", fix="copy tower.key from the tower's data_dir"
        ) from error
    if len(key) != KEY_SIZE:
        raise ConfigError(f"{path} does not hold a tower's key", numbers={"size": len(key), "needed": KEY_SIZE})
    return key


def seal(key: bytes, body: bytes, entropy: Entropy) -> bytes:
    """nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)."""
    nonce = entropy.token(NONCE_SIZE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, body, _LABEL)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """Raises PacketError for what was not sealed with this key."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], _LABEL)
    except (InvalidTag, ValueError):
        raise PacketError(
            "the packet was not sealed with this tower's key", code="tower.key", fix="copy tower.key anew"
        ) from None


def receipt(key: bytes, sealed: bytes) -> str:
    """Hex; what only the tower can answer to exactly these bytes."""
    return hmac.digest(key, _RECEIPT + sha256(sealed).digest(), sha256).hex()
