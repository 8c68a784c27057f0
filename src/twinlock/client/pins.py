"""What servers showed at the first visit and have to show again: certificates of Electrum servers, keys of exchanges.

A pin that does not match stops the conversation. Whether the operator really changed it is for a person to find out;
then the old one is forgotten, and what is shown next is pinned.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec

from twinlock.client.errors import ClientError
from twinlock.client.store import Store
from twinlock.client.store.records import AccountRecord, MetaRecord
from twinlock.electrum.transport import VOUCHED

_PREFIX = "pin/"


class Pin(msgspec.Struct, frozen=True):
    """server: host:port. shown: SHA-256 of the certificate, or `authority` where a known one vouches for it; of an
    exchange its public key. Both in hex.
    """

    server: str
    kind: Literal["electrum", "exchange"]
    shown: str


class StoredPins:
    """Certificates of Electrum servers as first seen."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, server: str) -> bytes | None:
        record = self._store.get(MetaRecord, _PREFIX + server)
        return None if record is None else record.value

    def put(self, server: str, certificate: bytes) -> None:
        self._store.put(MetaRecord(name=_PREFIX + server, value=certificate))


def pins(store: Store) -> list[Pin]:
    """All of them."""
    certificates = [record for record in store.all(MetaRecord) if record.name.startswith(_PREFIX)]
    return [
        *(Pin(each.name.removeprefix(_PREFIX), "electrum", _shown(each.value)) for each in certificates),
        *(Pin(each.host, "exchange", each.server_pubkey.hex()) for each in store.all(AccountRecord)),
    ]


def forget(store: Store, server: str) -> None:
    """What the server shows next is pinned in its place. Raises ClientError.

    An exchange's key is part of our account there: under another key we are somebody else, who needs bonds of its own.
    Those under the old key come back at their lock time.
    """
    known = {pin.server: pin.kind for pin in pins(store)}
    if server not in known:
        raise ClientError(f"nothing is pinned for {server!r}", code="pin.unknown", fix="list the pins")
    if known[server] == "electrum":
        store.delete(MetaRecord, _PREFIX + server)
    else:
        store.delete(AccountRecord, server)


def _shown(certificate: bytes) -> str:
    return "authority" if certificate == VOUCHED else sha256(certificate).hexdigest()
