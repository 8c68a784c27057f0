"""A channel: one encoded frame for every link that subscribed.

A thousand links times a hundred frames a second are more writes than a core makes. So a channel writes in beats: what
comes after a quiet moment leaves at once, what comes in a rush leaves together. After each beat the channel rests for
as long as the writing took, so that feeds never take more than half of the loop, and few subscribers wait for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from twinlock.server.comms.link import Link

REST_MIN_S, REST_MAX_S = 0.005, 0.05
"""The least and the most time between two beats; so much later a subscriber may learn of a change."""


class Channel:
    """The subscribers of one feed. A link that closes leaves by itself."""

    def __init__(self) -> None:
        self._links: dict[Link, None] = {}
        self._unwritten = False
        self._beating = False
        self._rested = 0.0

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
        """Queue the same bytes on every link, to be written with the next beat."""
        for link in tuple(self._links):
            link.queue(frame)
        self._unwritten = bool(self._links)
        if self._unwritten and not self._beating:
            self._start()

    def _start(self) -> None:
        self._beating = True
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, self._rested - loop.time()), self._write)

    def _write(self) -> None:
        self._unwritten = False
        for link in tuple(self._links):
            link.flush()
        loop = asyncio.get_running_loop()
        # What was flushed goes to the sockets between this turn of the loop and the next one.
        loop.call_soon(self._rest, loop.time())

    def _rest(self, began: float) -> None:
        now = asyncio.get_running_loop().time()
        self._rested = now + min(REST_MAX_S, max(REST_MIN_S, now - began))
        self._beating = False
        if self._unwritten:
            self._start()
