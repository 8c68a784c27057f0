"""Memory: how what `--memory` allows is divided, and what gives way before all of it is used.

What grows with use has a share of its own, and its keeper stays within it: caches forget, answers wait, subscriptions
are refused, and of sessions that do not read or finish their requests the greediest is ended. What is mapped from the
index's files counts as well while it is in memory, and is let go when the whole comes near the ceiling.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

DEFAULT_MEMORY = 600 << 20
LEAST_MEMORY = 300 << 20

_PROGRAM = 100 << 20
"""Bytes that the program takes by itself, with its libraries and an ordinary number of sessions."""

_LEAST_ROOM = 64 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Shares(NamedTuple):
    """Bytes for each thing that grows with use.

    rows: of a first sync, when the others are empty yet. chores: merging parts of the index. statuses, trees: caches.
    watches: subscriptions. unread: answers that sessions have not read. unheard: requests that are not complete or not
    answered.
    """

    rows: int
    chores: int
    statuses: int
    trees: int
    watches: int
    unread: int
    unheard: int


def shares(memory: int) -> Shares:
    """Divide what the whole program may hold.

    >>> sum(shares(300 << 20)[1:]) < (300 << 20) - _PROGRAM, shares(600 << 20).rows >> 20
    (True, 350)
    """
    room = max(memory - _PROGRAM, _LEAST_ROOM)
    return Shares(
        rows=room * 7 // 10,
        chores=room // 16,
        statuses=room // 10,
        trees=room // 32,
        watches=room * 3 // 16,
        unread=room // 5,
        unheard=room // 16,
    )


def resident() -> int:
    """Bytes of this process that are in memory, mapped files included; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _libc() -> ctypes.CDLL | None:
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        if libc.mallopt and libc.malloc_trim:
            return libc
    return None


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BLOCK = 1 << 17


def give_back_early() -> None:
    """Let the allocator of glibc return to the system what is freed, large blocks at once."""
    if libc := _libc():
        libc.mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
        libc.mallopt(_TRIM_THRESHOLD, 8 * _LARGE_BLOCK)
        libc.mallopt(_ARENA_MAX, 2)


def trim() -> None:
    """Give back what is free inside the program."""
    if libc := _libc():
        libc.malloc_trim(0)


Step = tuple[float, Callable[[], None]]


class Ceiling:
    """Looks at what the program holds, and lets go of what can be had again before it is too much.

    steps: from which part of the memory on what is let go; what costs least comes first.
    """

    def __init__(self, memory: int, steps: Sequence[Step], held: Callable[[], int] = resident) -> None:
        self._steps = [(int(memory * part), let_go) for part, let_go in steps]
        self._held = held

    def look(self) -> None:
        """To be called many times a second."""
        for limit, let_go in self._steps:
            if self._held() < limit:
                return
            let_go()


Key = TypeVar("Key", bound=Hashable)


class Hoard(Generic[Key]):
    """Bytes that wait for sessions, with a limit on all together. end: ends the session that holds most when there are
    more."""

    def __init__(self, limit: int, end: Callable[[Key], None]) -> None:
        self.limit = limit
        self.total = 0
        self._end = end
        self._sizes: dict[Key, int] = {}

    def note(self, key: Key, size: int) -> None:
        """So much waits for this one now."""
        self.total += size - self._sizes.pop(key, 0)
        if size:
            self._sizes[key] = size
            while self.total > self.limit:
                self.end_greediest()

    def fits(self, size: int) -> bool:
        """Whether so much more may be made. One thing always may, however large it is."""
        return not self.total or self.total + size <= self.limit

    def end_greediest(self) -> None:
        """Make room."""
        if self._sizes:
            greediest = max(self._sizes, key=self._sizes.__getitem__)
            self.total -= self._sizes.pop(greediest)
            self._end(greediest)

    def measure(self, size: Callable[[Key], int]) -> None:
        """Look again how much waits for each."""
        for key in list(self._sizes):
            self.note(key, size(key))
