"""Upkeep: the storage's chores, and the verification of what is too large to be verified before it is served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

import structlog

from twinlock.indexer.storage.manifest import DamagedError
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.indexer.trouble import Troubles
from twinlock.seams import Clock

log = structlog.get_logger("indexer.upkeep")

_TIDY_SECONDS = 0.2
_DISK_SECONDS = 1.0
_READS = 16
"""Pieces of a few megabytes that are verified between two pauses."""

_PAUSE_SECONDS = 0.05
_WORK = "upkeep"

Mend = Callable[[DamagedError], Awaitable[None]]
"""Takes the storage back to what is sound of it, and on from there."""


class Upkeep:
    """Runs beside the following of the node. `turn` is held by whoever changes the storage.

    verified: the part, 0 to 1, of the large runs that has been verified since the start.
    """

    def __init__(
        self, storage: SegmentStorage, clock: Clock, troubles: Troubles, turn: asyncio.Lock, mend: Mend
    ) -> None:
        self._storage, self._clock, self._troubles = storage, clock, troubles
        self._turn, self._mend = turn, mend
        self.verified = 1.0

    async def chores(self) -> None:
        """Do the storage's chores in a thread, so that nobody waits for them. Ends when cancelled."""
        while True:
            await self._clock.sleep(_TIDY_SECONDS)
            try:
                while chore := self._storage.chore():
                    result = await asyncio.to_thread(chore.work)
                    async with self._turn:
                        chore.settle(result)
                self._troubles.over(_WORK)
            except DamagedError as error:
                await self._mend(error)
            except Exception as error:
                self._troubles.tell(_WORK, error)
                await self._clock.sleep(_DISK_SECONDS)

    async def verify(self) -> None:
        """Compare the checksums of the large runs, a little at a time."""
        runs = self._storage.unverified()
        total, done = sum(size for run in runs for size, _ in run.files.values()), 0
        try:
            for run in runs:
                steps = self._storage.verification(run)
                while size := await asyncio.to_thread(_next, steps):
                    done += size
                    self.verified = done / total
                    await self._clock.sleep(_PAUSE_SECONDS)
        except DamagedError as error:
            await self._mend(error)
        except FileNotFoundError:
            log.info("the index was compacted before it was verified; what was written is known to be right")
        self.verified = 1.0


def _next(steps: Iterator[int]) -> int:
    return sum(islice(steps, _READS))
