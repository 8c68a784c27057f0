"""Waiting room: who has not shown yet that anybody is there. When it is full, those who fill it make room.

One who comes is always let in, and the network that has most in the room loses its oldest: the silent ones of a few
networks outlast nobody else, those of many only whom they outrun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable


class WaitingRoom:
    """most: how many it holds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Hashable, tuple[str, Callable[[], object]]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, who: Hashable, network: str, end: Callable[[], object]) -> None:
        """Somebody comes, of that network; `end` is called if he has to go before he leaves by himself."""
        if len(self._waiting) >= self._most:
            count = Counter(network for network, _ in self._waiting.values())
            most = max(count.values())
            oldest = next(each for each, (network, _) in self._waiting.items() if count[network] == most)
            self._waiting.pop(oldest)[1]()
        self._waiting[who] = network, end

    def leave(self, who: Hashable) -> None:
        """He waits no more."""
        self._waiting.pop(who, None)
