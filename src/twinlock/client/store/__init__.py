"""What the client must not lose: accounts, bonds, orders, swaps, wallet state and evidence.

`Store` is the seam; `SqliteStore` keeps it on disk, encrypted and durable, and `MemoryStore` is its
twin that passes the same tests.

Invariants
- A `put` that returned survives kill -9 and power loss.
- No record is on disk in the clear; a record that was altered, or moved to another key, does not open.
- What a record is found by beside its key is on disk as a keyed hash only; its time is in the clear.
- Orders, swaps and conditions that are over are in the store only (`living`); nothing in memory grows with them.
- A failed write leaves the store usable, and what `changing` changed in memory as it was.
- One process at a time; a second one is told which process holds the store.

>>> from twinlock.client.store import MemoryStore
>>> from twinlock.client.store.records import MetaRecord
>>> store = MemoryStore()
>>> store.put(MetaRecord(name="seed", value=b"word salad"))
>>> store.get(MetaRecord, "seed").value
b'word salad'
"""

from twinlock.client.store.base import Record, Store, changing
from twinlock.client.store.memory import MemoryStore
from twinlock.client.store.sqlite import SqliteStore

__all__ = ["MemoryStore", "Record", "SqliteStore", "Store", "changing"]
