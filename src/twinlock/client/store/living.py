"""Records that come and go, as orders and swaps do: in memory those that are not over, all others in the store only.

So what a client keeps in memory, and reads when it starts, follows from what is under way and not from what ever was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, Literal
from weakref import WeakValueDictionary

import msgspec

from twinlock.client.store.base import LIVE, Place, R, Store

PAST = 100
"""How many of those that are over are shown with the others."""


class Look(msgspec.Struct, frozen=True):
    """Which records are wanted: all that are open, and of those that are over the newest `past` before `before`.

    market: of that one only. Whoever asks for what was before something has seen what is open.
    """

    state: Literal["any", "open", "over"] = "any"
    market: str = ""
    past: int = PAST
    before: Place | None = None

    @property
    def at_open(self) -> bool:
        return self.state != "over" and self.before is None

    @property
    def at_past(self) -> bool:
        return self.state != "open"


RECENT, OPEN = Look(), Look(state="open")


class Living(Generic[R]):
    """The records of one type at one server; of each there is never more than one object.

    A record belongs here if it bears the host as a mark, and `host/market` as another.
    """

    def __init__(self, store: Store, record_type: type[R], host: str) -> None:
        self._store = store
        self._type = record_type
        self._host = host
        self._held: dict[str, R] = {}
        self._known: WeakValueDictionary[str, R] = WeakValueDictionary()
        for record in store.marked(record_type, LIVE):
            if host in record.marks:
                self.hold(record)

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._held)

    def all(self) -> list[R]:
        """Every record in memory, oldest first."""
        return sorted(self._held.values(), key=lambda record: record.place)

    def get(self, key: str) -> R | None:
        """The record with that key, be it over or not."""
        known = self._known.get(key)
        if known is not None:
            return known
        found = self._store.get(self._type, key)
        return None if found is None or self._host not in found.marks else self._one(found)

    def marked(self, mark: str) -> R | None:
        """The newest record that is stored with that mark."""
        found = self._store.marked(self._type, mark, most=1)
        return self._one(found[0]) if found else None

    def look(self, look: Look) -> list[R]:
        """Oldest first."""
        mark = f"{self._host}/{look.market}" if look.market else self._host
        now = [record for record in self.all() if mark in record.marks and LIVE in record.marks]
        past = (record for record in self.backwards(mark, look.before) if LIVE not in record.marks)
        found = (list(islice(past, look.past)) if look.at_past else []) + (now if look.at_open else [])
        return sorted(found, key=lambda record: record.place)

    def backwards(self, mark: str = "", before: Place | None = None) -> Iterator[R]:
        """Every record that is stored with that mark, or of the server at all, the newest first."""
        while page := self._store.marked(self._type, mark or self._host, before=before, most=PAST):
            yield from map(self._one, page)
            before = page[-1].place

    def hold(self, record: R) -> None:
        """Keep it in memory until it is over."""
        self._held[record.key] = self._known[record.key] = record

    def forget(self, record: R) -> None:
        """It was never stored."""
        self._held.pop(record.key, None)
        self._known.pop(record.key, None)

    def let_go(self) -> None:
        """Those that are over leave the memory."""
        for key in [key for key, record in self._held.items() if LIVE not in record.marks]:
            del self._held[key]

    def _one(self, stored: R) -> R:
        return self._known.setdefault(stored.key, stored)


def merged(parts: Iterable[Sequence[R]], look: Look) -> list[R]:
    """What several servers' records show at one look, oldest first."""
    records = sorted((record for part in parts for record in part), key=lambda record: record.place)
    past = [record for record in records if LIVE not in record.marks]
    left_out = {id(record) for record in past[: max(0, len(past) - look.past)]}
    return [record for record in records if id(record) not in left_out]
