"""The exchange server's power, for all stories of a module at once: it goes and comes back when all are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from twinlock.simnet.services import Service


class Power:
    """Of `server`, which so many stories share."""

    def __init__(self, stories: int) -> None:
        self._stories = stories
        self._ready = 0
        self._change = asyncio.Condition()

    async def cut(self, server: Service) -> None:
        """kill -9, once every story is ready for it."""
        await self._all_ready(server.kill)

    async def back(self, server: Service) -> None:
        """The server is started again, once every story is ready for it."""
        await self._all_ready(server.start)

    async def _all_ready(self, then: Callable[[], Awaitable[None]]) -> None:
        async with self._change:
            turn, self._ready = self._ready // self._stories, self._ready + 1
            if self._ready % self._stories == 0:
                await then()
                self._change.notify_all()
            else:
                await self._change.wait_for(lambda: self._ready // self._stories > turn)
