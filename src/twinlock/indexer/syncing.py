"""Syncing: a whole first sync. Says what it will take, shows how far it is, and goes on where it was broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from twinlock.chain.coins import Coin
from twinlock.indexer.block_files import BlockFiles, LocalSource
from twinlock.indexer.block_source import BlockSource, NodeSource
from twinlock.indexer.daemon import Daemon, DaemonError, DaemonGoneError
from twinlock.indexer.first_sync import first_sync
from twinlock.indexer.progress import Progress, Show, forecast
from twinlock.indexer.storage.bulk import BulkError
from twinlock.indexer.storage.manifest import DamagedError
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.seams import Clock, Entropy

log = structlog.get_logger("indexer")

_SHOW_SECONDS = 1.0

Trouble = Callable[[Exception], Awaitable[None]]
"""Tells of what went wrong, and returns when it may be tried again."""


class Syncing:
    """memory: bytes that the program may hold; rows: those of them that rows may take. show: shows the progress."""

    def __init__(
        self,
        daemon: Daemon,
        storage: SegmentStorage,
        files: BlockFiles,
        coin: Coin,
        reorg_limit: int,
        clock: Clock,
        entropy: Entropy,
        *,
        memory: int,
        rows: int,
        show: Show,
        trouble: Trouble,
    ) -> None:
        self._daemon, self._storage, self._files = daemon, storage, files
        self._coin, self._reorg_limit = coin, reorg_limit
        self._clock, self._entropy = clock, entropy
        self._memory, self._rows = memory, rows
        self._show, self._trouble = show, trouble
        self._from_files = True  # whether the node's block files are read

    async def run(self) -> None:
        """Build the index of a chain that is new to us. What the node breaks off, it is asked for again."""
        while True:
            progress = Progress(clock=self._clock)
            watching = asyncio.create_task(self._watch(progress))
            try:
                if self._storage.height < 0:
                    await self._tell_cost(progress)
                await first_sync(
                    self._daemon,
                    self._storage,
                    self._source,
                    self._reorg_limit,
                    self._clock,
                    self._entropy,
                    memory=self._rows,
                    auxpow=self._coin.auxpow,
                    progress=progress,
                )
                return
            except (DaemonGoneError, DaemonError, BulkError, DamagedError, ValueError, OSError) as error:
                self._files.start_over()
                self._from_files = not isinstance(error, BulkError | ValueError)  # they may be what is wrong
                await self._trouble(error)
            finally:
                watching.cancel()
                self._show(progress)

    async def _tell_cost(self, progress: Progress) -> None:
        """Say what it will take before it begins."""
        chain = await self._daemon.call("getblockchaininfo")
        stats: dict[str, Any] = {}
        with suppress(DaemonError):
            stats = await self._daemon.call("getchaintxstats")
        cost = forecast(chain, stats, self._memory, self._reorg_limit)
        progress.total_bytes, progress.sorting = cost.chain_bytes, cost.sorting
        log.info("what a first sync takes", cost=str(cost))

    async def _watch(self, progress: Progress) -> None:
        while True:
            await self._clock.sleep(_SHOW_SECONDS)
            if progress.phase:
                self._show(progress)

    def _source(self) -> BlockSource:
        node = NodeSource(self._daemon.node.url)
        return LocalSource(self._files, node) if self._files.usable and self._from_files else node
