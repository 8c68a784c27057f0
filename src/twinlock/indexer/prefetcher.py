"""Prefetcher: fetches the blocks that the block processor will want next, several in flight, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from twinlock.indexer.block_files import BlockFiles
from twinlock.indexer.daemon import Daemon

IN_FLIGHT = 8
HASHES_AT_ONCE = 2000


class Prefetcher:
    """Gives raw blocks of the active chain in order while the following ones are on their way."""

    def __init__(self, daemon: Daemon, files: BlockFiles) -> None:
        self._daemon = daemon
        self._files = files

    async def _block(self, block_hash: str) -> bytes:
        spot = self._files.find(bytes.fromhex(block_hash)[::-1])
        raw = self._files.read(spot) if spot else None
        return raw if raw is not None else await self._daemon.block(block_hash)

    async def blocks(self, hashes: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """(hash, raw block) for each of the hashes, in their order."""
        waiting: deque[tuple[str, asyncio.Task[bytes]]] = deque()
        rest = iter(hashes)
        try:
            while True:
                while len(waiting) < IN_FLIGHT and (block_hash := next(rest, None)):
                    waiting.append((block_hash, asyncio.create_task(self._block(block_hash))))
                if not waiting:
                    return
                block_hash, task = waiting.popleft()
                yield block_hash, await task
        finally:
            for _, task in waiting:
                task.cancel()
