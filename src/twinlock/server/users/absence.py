"""Absence: who is gone for a broadcast timeout loses its place on the books (protocol section 4.10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twinlock.seams import Clock
from twinlock.server.comms.hub import Hub


class AbsenceWatch:
    """Gives every account that leaves one broadcast timeout to return, then calls `on_absent` with its ID."""

    def __init__(self, hub: Hub, clock: Clock, timeout_ms: int, on_absent: Callable[[bytes], Awaitable[None]]) -> None:
        self._hub = hub
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._on_absent = on_absent
        self._deadlines: dict[bytes, float] = {}
        hub.on_away.append(self.left)

    def left(self, account_id: bytes) -> None:
        """An account's last link is gone, or the server has just started without it."""
        watched = account_id in self._deadlines
        self._deadlines[account_id] = self._clock.monotonic() + self._timeout_ms / 1000
        if not watched:  # one task an account, however often it comes and goes
            self._hub.start(self._wait(account_id))

    async def _wait(self, account_id: bytes) -> None:
        while (left := self._deadlines[account_id] - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)
        del self._deadlines[account_id]
        if self._hub.link_of(account_id) is None:
            await self._on_absent(account_id)
