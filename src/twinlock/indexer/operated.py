"""Operated: an indexer as its operator sees it, through LocalRPC and the metrics."""

from __future__ import annotations

import asyncio
from typing import Protocol

from twinlock.chain.coins import Coin
from twinlock.indexer.bans import Bans
from twinlock.indexer.block_processor import BlockProcessor
from twinlock.indexer.daemon import Daemon
from twinlock.indexer.mempool import Mempool
from twinlock.indexer.news import News
from twinlock.indexer.node_home import NodeAddress
from twinlock.indexer.peers import PeerManager
from twinlock.indexer.sessions import SessionManager
from twinlock.indexer.shared import Shared
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.indexer.trouble import Troubles
from twinlock.indexer.upkeep import Upkeep
from twinlock.indexer.view import View
from twinlock.seams import Clock


class Operated(Protocol):
    """One indexer of one chain. ready: whether wallets are served. started: seconds of the clock. stop: ends it."""

    coin: Coin
    clock: Clock
    started: float
    ready: bool
    stop: asyncio.Event
    daemon: Daemon
    news: News
    storage: SegmentStorage
    mempool: Mempool
    view: View
    processor: BlockProcessor
    upkeep: Upkeep
    troubles: Troubles
    sessions: SessionManager
    shared: Shared
    bans: Bans
    peers: PeerManager

    def nodes(self, urls: tuple[str, ...]) -> list[NodeAddress]:
        """How to call the nodes at these addresses."""
        ...

    async def undo(self, count: int) -> int:
        """Drop blocks, as many as can be undone, and take them in again as the node has them now; how many."""
        ...
