"""A server that broke the rules is named, and what proves it is kept."""

from __future__ import annotations

from twinlock.client.desk import Desk
from twinlock.client.events import ServerAccused
from twinlock.client.store.records import EvidenceRecord

KEPT = 100
"""Accusations of a market that are kept."""


def accuse(desk: Desk, market: str, what: str, accusation: str, body: bytes) -> None:
    """Store the evidence (JSON) as ``host/market/what``, and tell of it. Accusing twice of the same changes nothing.

    Of each market the newest `KEPT` are kept: a server that cheats in every epoch must not fill the disk.
    """
    name = f"{desk.host}/{market}/{what}"
    if desk.store.get(EvidenceRecord, name) is not None:
        return
    record = EvidenceRecord(name=name, host=desk.host, at=desk.clock.now_ms(), accusation=accusation, body=body)
    with desk.store.transaction():
        older = sorted(desk.store.all(EvidenceRecord, f"{desk.host}/{market}/"), key=lambda each: each.at)
        for each in older[: max(0, len(older) + 1 - KEPT)]:
            desk.store.delete(EvidenceRecord, each.key)
        desk.store.put(record)
    desk.emit(ServerAccused, accusation=f"{market}: {accusation}", evidence=name)
