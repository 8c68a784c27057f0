"""The DEX DB backend: what must survive a restart, on SQLite (embedded, the default) or PostgreSQL.

Known directly only to the dex manager and the components it hands it to. Invariants:

* A write is acknowledged after its commit, with SQLite syncing its log (`synchronous=FULL`).
* All effects of one epoch are one `Work`, so they commit together or not at all.
* The same plain SQL runs on both engines.
"""

from twinlock.server.db.backend import Database, DatabaseError, Work, Write

__all__ = ["Database", "DatabaseError", "Work", "Write"]
