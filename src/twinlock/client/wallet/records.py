"""What a light wallet stores; the chain and the seed give back all the rest.

Keys begin with the wallet's name, such as ``btc.regtest``, so that one store serves all coins.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from twinlock.client.store.base import Record


class CursorRecord(Record):
    """The lowest index of each branch that was never handed out."""

    kind: ClassVar[str] = "wallet.cursor"
    wallet: str
    receive: int = 0
    change: int = 0
    others: dict[int, int] = msgspec.field(default_factory=dict)
    """The branches beside these two."""

    @property
    def key(self) -> str:
        return self.wallet


class BirthdayRecord(Record):
    """The height from which the chain is looked at. configured: what the configuration said when that was decided."""

    kind: ClassVar[str] = "wallet.birthday"
    wallet: str
    height: int
    configured: int

    @property
    def key(self) -> str:
        return self.wallet


class LockRecord(Record):
    """A coin that is set aside. reference: an order, or ``tx:`` and the ID of a signed transaction."""

    kind: ClassVar[str] = "wallet.lock"
    wallet: str
    coin_id: bytes
    reference: str

    @property
    def key(self) -> str:
        return f"{self.wallet}:{self.coin_id.hex()}"


class StakeRecord(Record):
    """A contract or bond that holds our money. script: the inner script, whose hash the output carries."""

    kind: ClassVar[str] = "wallet.stake"
    wallet: str
    coin_id: bytes
    stake: Literal["swap", "bond"]
    script: bytes
    lock_time: int
    reference: str
    closed: bool = False
    """Spent so deep in the chain that nobody needs to watch it any more."""

    @property
    def key(self) -> str:
        return f"{self.wallet}:{self.coin_id.hex()}"


class SignedRecord(Record):
    """A transaction that we signed, stored before anybody could broadcast it. created: ms.

    sent: it was broadcast once, so it is broadcast again should the network forget it.
    """

    kind: ClassVar[str] = "wallet.signed"
    wallet: str
    txid: str
    raw: bytes
    purpose: str
    created: int
    fee: int
    sent: bool = False

    @property
    def key(self) -> str:
        return f"{self.wallet}:{self.txid}"


class LabelRecord(Record):
    """What the owner calls a transaction, an address, an output or an input.

    txid: the ID of a transaction, or whatever else names the subject. subject: as in BIP 329.
    """

    kind: ClassVar[str] = "wallet.label"
    wallet: str
    txid: str
    label: str
    subject: str = "tx"

    @property
    def key(self) -> str:
        return f"{self.wallet}:{label_key(self.subject, self.txid)}"


def label_key(subject: str, ref: str) -> str:
    """The part of the key behind the wallet's name."""
    return ref if subject == "tx" else f"{subject}:{ref}"
