"""The first sync: everything but the newest blocks is built in bulk, in a thread, while the event loop stays free."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import structlog

from twinlock.indexer.block_source import BlockSource, read_ahead
from twinlock.indexer.daemon import Daemon, DaemonError
from twinlock.indexer.hash_list import HashList
from twinlock.indexer.progress import DONE, SORTING, Progress
from twinlock.indexer.storage.bulk import BulkError
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.kernels.scan import sha256d
from twinlock.seams import Clock, Entropy

log = structlog.get_logger("indexer.sync")

_HASHES_AT_ONCE = 20_000
_LEAST = 100
"""Fewer blocks than this are not worth a bulk build."""


async def first_sync(
    daemon: Daemon,
    storage: SegmentStorage,
    source: Callable[[], BlockSource],
    reorg_limit: int,
    clock: Clock,
    entropy: Entropy,
    *,
    memory: int,
    auxpow: bool = False,
    progress: Progress | None = None,
) -> None:
    """Build the index of all blocks deeper than `reorg_limit` when there is none yet. May be cancelled at any time.

    memory: bytes that rows may take. progress: is told how far the build is.
    """
    tip = await daemon.typed(int, "getblockcount")
    count = tip + 1 - reorg_limit
    if storage.height >= 0 or count < _LEAST:
        return
    started = clock.monotonic()
    hashes = HashList()
    while len(hashes) < count:
        more = await daemon.block_hashes(len(hashes), min(_HASHES_AT_ONCE, count - len(hashes)))
        if not more:
            raise DaemonError(-1, "the chain became shorter meanwhile")
        hashes.add(more)
    if hashes[0] != storage.chain:
        raise BulkError("the node is on another chain than the index", fix="give the indexer a node of its chain")
    log.info("first sync begins", blocks=count)
    stop = threading.Event()
    build = asyncio.get_running_loop().run_in_executor(
        None, _build, storage, source(), hashes, entropy, auxpow, memory, stop, progress or Progress()
    )
    try:
        await asyncio.shield(build)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([build])
        raise
    log.info("first sync done", blocks=count, seconds=round(clock.monotonic() - started, 2))


def _build(
    storage: SegmentStorage,
    source: BlockSource,
    hashes: HashList,
    entropy: Entropy,
    auxpow: bool,
    memory: int,
    stop: threading.Event,
    progress: Progress,
) -> None:
    bulk = storage.bulk(entropy, auxpow, memory)
    if bulk.blocks and (bulk.blocks > len(hashes) or hashes[bulk.blocks - 1] != bulk.tip):
        bulk.clean()  # the chain is another one now
        bulk = storage.bulk(entropy, auxpow, memory)
    if bulk.blocks:
        log.info("first sync goes on", height=bulk.blocks)
    first = bulk.blocks
    progress.begin(first, len(hashes))
    for block_hash, block in zip(hashes.since(first), read_ahead(source, hashes.since(first)), strict=True):
        if stop.is_set():
            return
        if sha256d(block.raw[:80])[::-1].hex() != block_hash:
            raise BulkError(f"the node sent another block than {block_hash}")
        bulk.add(*block)
        progress.read(len(block.raw))
    progress.phase = SORTING
    storage.adopt(bulk)
    progress.phase = DONE
