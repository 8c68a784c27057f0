"""What one wallet keeps in the client's store: cursors, locks, stakes, signed transactions, labels."""

from __future__ import annotations

from typing import TypeVar

from twinlock.client.store.base import Record, Store, changing
from twinlock.client.wallet.keys import CHANGE, RECEIVE
from twinlock.client.wallet.records import (
    BirthdayRecord,
    CursorRecord,
    LabelRecord,
    LockRecord,
    SignedRecord,
    StakeRecord,
    label_key,
)
from twinlock.client.wallet.types import StakeKind

R = TypeVar("R", LabelRecord, LockRecord, SignedRecord, StakeRecord)

TX_LOCK = "tx:"
"""Begins the reference of a coin that a signed transaction spends."""


class Journal:
    """The records of the wallet of that name. Writes inside `store.transaction()` happen together or not at all."""

    def __init__(self, store: Store, wallet: str) -> None:
        self.store = store
        self._wallet = wallet

    def handed_out(self) -> dict[int, int]:
        """By branch, the lowest index never handed out."""
        cursor = self._cursor()
        return {**cursor.others, RECEIVE: cursor.receive, CHANGE: cursor.change}

    def hand_out(self, branch: int, index: int) -> None:
        """This address is taken."""
        cursor = self._cursor()
        if branch == RECEIVE:
            cursor.receive = max(cursor.receive, index + 1)
        elif branch == CHANGE:
            cursor.change = max(cursor.change, index + 1)
        else:
            cursor.others[branch] = max(cursor.others.get(branch, 0), index + 1)
        self.store.put(cursor)

    def birthday(self, configured: int) -> int:
        """The height from which to look: the configured one, unless `look_from` changed it since."""
        record = self.store.get(BirthdayRecord, self._wallet)
        return record.height if record is not None and record.configured == configured else configured

    def look_from(self, height: int, configured: int) -> None:
        """Look from that height, until the configuration says something else than it does now."""
        self.store.put(BirthdayRecord(wallet=self._wallet, height=height, configured=configured))

    def locks(self) -> list[LockRecord]:
        return self._all(LockRecord)

    def lock(self, coin_id: bytes, reference: str) -> None:
        self.store.put(LockRecord(wallet=self._wallet, coin_id=coin_id, reference=reference))

    def unlock(self, coin_id: bytes) -> None:
        self._delete(LockRecord, coin_id.hex())

    def stakes(self) -> list[StakeRecord]:
        return self._all(StakeRecord)

    def stake(self, coin_id: bytes, kind: StakeKind, script: bytes, lock_time: int, reference: str) -> StakeRecord:
        record = StakeRecord(
            wallet=self._wallet, coin_id=coin_id, stake=kind, script=script, lock_time=lock_time, reference=reference
        )
        self.store.put(record)
        return record

    def close(self, stake: StakeRecord) -> None:
        """It was spent for good."""
        with changing(self.store, stake):
            stake.closed = True

    def drop_stake(self, coin_id: bytes) -> None:
        self._delete(StakeRecord, coin_id.hex())

    def signed(self) -> list[SignedRecord]:
        return self._all(SignedRecord)

    def keep(self, txid: str, raw: bytes, purpose: str, created: int, fee: int) -> SignedRecord:
        """created: ms."""
        record = SignedRecord(wallet=self._wallet, txid=txid, raw=raw, purpose=purpose, created=created, fee=fee)
        self.store.put(record)
        return record

    def sent(self, record: SignedRecord) -> None:
        """It was broadcast."""
        if not record.sent:
            with changing(self.store, record):
                record.sent = True

    def drop_signed(self, txid: str) -> None:
        self._delete(SignedRecord, txid)

    def labels(self) -> dict[str, str]:
        """Of transactions, by txid."""
        return {record.txid: record.label for record in self.all_labels() if record.subject == "tx"}

    def all_labels(self) -> list[LabelRecord]:
        """Those of addresses, outputs and the like too."""
        return self._all(LabelRecord)

    def label(self, ref: str, label: str, subject: str = "tx") -> None:
        """An empty label takes the old one away."""
        if label:
            self.store.put(LabelRecord(wallet=self._wallet, txid=ref, label=label, subject=subject))
        else:
            self._delete(LabelRecord, label_key(subject, ref))

    def _cursor(self) -> CursorRecord:
        return self.store.get(CursorRecord, self._wallet) or CursorRecord(wallet=self._wallet)

    def _all(self, record_type: type[R]) -> list[R]:
        return [record for record in self.store.all(record_type) if record.wallet == self._wallet]

    def _delete(self, record_type: type[Record], key: str) -> None:
        self.store.delete(record_type, f"{self._wallet}:{key}")
