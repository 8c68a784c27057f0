"""Keys for programs that use the control interface: each with a name and scopes, stored as a digest only.

The token in `control.json` belongs to whoever runs the client and may do everything; a key may do what its scopes say.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from hashlib import sha256
from typing import ClassVar, Literal, get_args

from twinlock.client.errors import ClientError
from twinlock.client.store import Store
from twinlock.client.store.base import Record
from twinlock.seams import Clock, Entropy

Scope = Literal["read", "trade", "withdraw"]
"""read: look; trade: also place orders and post bonds; withdraw: pay out, where the configuration allows it."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
READ: tuple[Scope, ...] = ("read",)

PREFIX = "tlk_"
"""Begins every key, so that a leaked one is recognised."""


class ApiKeyRecord(Record, kw_only=True):
    """One key. digest: SHA-256 of the key's text, which is random enough not to need more. made: ms."""

    kind: ClassVar[str] = "api_key"
    name: str
    scopes: tuple[Scope, ...]
    digest: bytes
    made: int

    @property
    def key(self) -> str:
        return self.name


class Keyring:
    """The keys of one store."""

    def __init__(self, store: Store, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy

    def all(self) -> list[ApiKeyRecord]:
        """By name."""
        return self._store.all(ApiKeyRecord)

    def create(self, name: str, scopes: Collection[Scope] = READ) -> str:
        """A new key's text, which is shown this once. Raises ClientError for a name that is taken."""
        if not name or self._store.get(ApiKeyRecord, name) is not None:
            raise ClientError(
                f"there is a key {name!r} already" if name else "a key needs a name",
                code="control.key",
                fix="choose another name, or revoke that key first",
            )
        text = PREFIX + self._entropy.token(32).hex()
        chosen = tuple(scope for scope in SCOPES if scope in scopes)
        self._store.put(ApiKeyRecord(name=name, scopes=chosen, digest=_digest(text), made=self._clock.now_ms()))
        return text

    def revoke(self, name: str) -> None:
        """From now on the key opens nothing. Raises ClientError."""
        if self._store.get(ApiKeyRecord, name) is None:
            raise ClientError(f"there is no key {name!r}", code="control.key", fix="list the keys")
        self._store.delete(ApiKeyRecord, name)

    def scopes(self, text: str) -> frozenset[Scope]:
        """What a key allows; nothing for one that is unknown."""
        digest = _digest(text)
        for record in self.all():
            if hmac.compare_digest(record.digest, digest):
                return frozenset(record.scopes)
        return frozenset()


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
