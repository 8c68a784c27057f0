"""A channel: one encoded frame for every link that subscribed.

A thousand links times a hundred frames a second are more writes than a core makes. So a channel writes in beats: what
comes after a quiet moment leaves at once, what comes in a rush leaves together, a beat after what left before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from twinlock.server.comms.link import Link

BEAT_S = 0.03
"""The least time between two writes to one subscriber; so much later it may learn of a change."""


class Channel:
    """The subscribers of one feed. A link that closes leaves by itself."""

    def __init__(self) -> None:
        self._links: dict[Link, None] = {}
        self._beat: asyncio.TimerHandle | None = None
        self._next_beat = 0.0

    def add(self, link: Link) -> None:
        """Subscribe; twice is the same as once."""
        if link.is_open:
            self._links[link] = None
            link.memberships.add(self)

    def discard(self, link: Link) -> None:
        """Unsubscribe if subscribed."""
        self._links.pop(link, None)
        link.memberships.discard(self)

    def __contains__(self, link: Link) -> bool:
        return link in self._links

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter(tuple(self._links))

    def publish(self, frame: bytes) -> None:
        """Queue the same bytes on every link, to be written within a beat."""
        for link in tuple(self._links):
            link.queue(frame)
        if self._beat is None and self._links:
            loop = asyncio.get_running_loop()
            self._beat = loop.call_at(max(loop.time(), self._next_beat), self._write)

    def _write(self) -> None:
        self._beat = None
        for link in tuple(self._links):
            link.flush()
        # From the end of the writing on: however many subscribers there are, the loop has time for others.
        self._next_beat = asyncio.get_running_loop().time() + BEAT_S
