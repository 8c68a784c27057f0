"""The book manager: one for each market, it keeps the book's public side.

The orders themselves rest in the market core's `twinlock.protocol.book.Book`; here are the sequence numbers, the
notes to subscribers, snapshots, recent matches, and depth for charts.

Invariants: the sequence of a market grows by one for each note that changes what a subscriber sees (protocol
section 3.6); a note is encoded once, whatever the number of subscribers; a snapshot and the notes after its
sequence number together give the book.
"""

from twinlock.server.book.manager import BookManager

__all__ = ["BookManager"]
