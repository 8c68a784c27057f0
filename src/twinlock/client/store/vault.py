"""The vault: one random data key, wrapped by the user's password; every record is sealed with that key.

Argon2id (RFC 9106) turns the password into a wrapping key; ChaCha20-Poly1305 (RFC 8439) with random
96-bit nonces wraps the data key and seals the records. Changing the password rewraps one key and
leaves every record as it is.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from twinlock.client.errors import StoreCorruptError, WrongPasswordError
from twinlock.seams import Entropy

NONCE_SIZE = 12
KEY_SIZE = 32
BLIND_SIZE = 16
_WRAP_CONTEXT = b"twinlock vault 1"


class Cost(msgspec.Struct, frozen=True):
    """How much work one password guess takes. `memory_kib` is in KiB."""

    passes: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


class VaultHeader(msgspec.Struct, frozen=True):
    """What is stored in the clear: the salt, the cost, and the data key wrapped by the password."""

    salt: bytes
    cost: Cost
    wrapped: bytes


class Vault:
    """Seals and opens byte strings; `label` ties each to its place, so that records cannot be swapped."""

    def __init__(self, data_key: bytes, entropy: Entropy) -> None:
        self._cipher = ChaCha20Poly1305(data_key)
        self._data_key = data_key
        self._entropy = entropy
        self._blinding_key = blake2b(b"marks", key=data_key, person=b"twinlock vault").digest()

    @classmethod
    def create(cls, password: str, entropy: Entropy, cost: Cost | None = None) -> tuple[Vault, VaultHeader]:
        """A new vault and the header to store beside the records."""
        vault = cls(entropy.token(KEY_SIZE), entropy)
        return vault, vault.rewrap(password, cost)

    @classmethod
    def unlock(cls, header: VaultHeader, password: str, entropy: Entropy) -> Vault:
        """Open an existing vault. Raises WrongPasswordError."""
        wrapper = _wrapping_cipher(password, header.salt, header.cost)
        nonce, sealed = header.wrapped[:NONCE_SIZE], header.wrapped[NONCE_SIZE:]
        try:
            return cls(wrapper.decrypt(nonce, sealed, _WRAP_CONTEXT), entropy)
        except InvalidTag:
            raise WrongPasswordError("the password does not open this store", fix="try the password again") from None

    def rewrap(self, password: str, cost: Cost | None = None) -> VaultHeader:
        """A header that opens the same vault with another password."""
        cost = cost or Cost()
        salt, nonce = self._entropy.token(16), self._entropy.token(NONCE_SIZE)
        wrapped = _wrapping_cipher(password, salt, cost).encrypt(nonce, self._data_key, _WRAP_CONTEXT)
        return VaultHeader(salt, cost, nonce + wrapped)

    def seal(self, label: str, plain: bytes) -> bytes:
        """nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)."""
        nonce = self._entropy.token(NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, plain, label.encode())

    def blind(self, text: str) -> bytes:
        """The same 16 bytes for the same text, by which it is found; nobody without the data key can tell it."""
        return blake2b(text.encode(), key=self._blinding_key, digest_size=BLIND_SIZE).digest()

    def open(self, label: str, sealed: bytes) -> bytes:
        """The plain bytes. Raises StoreCorruptError when they were altered or moved to another label."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], label.encode())
        except (InvalidTag, ValueError):
            raise StoreCorruptError(
                f"record {label} does not authenticate", fix="restore the newest backup beside the store"
            ) from None


def _wrapping_cipher(password: str, salt: bytes, cost: Cost) -> ChaCha20Poly1305:
    key = hash_secret_raw(
        password.encode(), salt, cost.passes, cost.memory_kib, cost.lanes, hash_len=KEY_SIZE, type=Type.ID
    )
    return ChaCha20Poly1305(key)
