"""BlockProcessor: takes blocks from the node, checks that they link, and moves the index along the best chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import structlog

from twinlock.chain.coins import Coin
from twinlock.errors import TwinlockError
from twinlock.indexer.block_files import BlockFiles
from twinlock.indexer.daemon import Daemon, DaemonError
from twinlock.indexer.prefetcher import HASHES_AT_ONCE, Prefetcher
from twinlock.indexer.storage.manifest import StorageError, TooDeepError
from twinlock.indexer.storage.seam import Storage, Touched
from twinlock.kernels.index import merkle_root
from twinlock.kernels.scan import Scan, scan_block, sha256d

log = structlog.get_logger("indexer.blocks")


class ChainError(TwinlockError):
    """What the node sent does not fit together."""

    code = "indexer.chain"
    fault = "node"


class _Head(msgspec.Struct):
    """What we read of the node's description of a header."""

    height: int
    confirmations: int
    previousblockhash: str = ""


class _State(msgspec.Struct):
    initialblockdownload: bool


class Plan(NamedTuple):
    """How many of our blocks to drop, and the hashes (display hex) of the blocks to add."""

    undo: int
    hashes: list[str]


class Step(NamedTuple):
    """The index moved by one block of the new branch, after dropping `undone` of the old one.

    lost: the scripts that the old ones touched. block: what the new block changed; None when there is none.
    """

    undone: int
    lost: set[bytes]
    block: Touched | None

    @property
    def scripts(self) -> set[bytes]:
        """All whose history or coins changed."""
        return self.lost | self.block.scripts if self.block else self.lost


@dataclass(slots=True)
class _Lost:
    """Blocks that were undone so far, and the scripts that they touched."""

    blocks: int = 0
    scripts: set[bytes] = field(default_factory=set)

    def step(self, block: Touched | None = None) -> Step:
        return Step(self.blocks, self.scripts, block)


class BlockProcessor:
    """Follows the node's best chain: `plan`, then `advance`, again and again until the tips agree."""

    def __init__(
        self,
        daemon: Daemon,
        storage: Storage,
        prefetcher: Prefetcher,
        files: BlockFiles,
        coin: Coin,
        reorg_limit: int,
    ) -> None:
        self._daemon = daemon
        self._storage = storage
        self._prefetcher = prefetcher
        self._files = files
        self._coin = coin
        self._reorg_limit = reorg_limit

    @property
    def tip(self) -> str:
        """Display hex of the indexed tip; empty before the first block."""
        height = self._storage.height
        return self._storage.block_hash(height)[::-1].hex() if height >= 0 else ""

    async def plan(self, best: str) -> Plan:
        """The way to the node's tip, or a first part of it. Raises ChainError where there is none that we may go."""
        header = await self._daemon.typed(_Head, "getblockheader", best)
        if self.tip and header.previousblockhash == self.tip:
            return Plan(0, [best])
        undo = await self._undoable()
        start = self._storage.height - undo + 1
        hashes = await self._daemon.block_hashes(start, min(header.height + 1 - start, HASHES_AT_ONCE))
        if start == 0 and hashes[:1] != [self._coin.genesis_hash]:
            raise ChainError("the node is on another chain than the index", fix="give the indexer a node of its chain")
        if not undo and not hashes:
            raise ChainError(f"the node calls {best} its tip, but shows no way to it")
        if undo > self._reorg_limit and (await self._daemon.typed(_State, "getblockchaininfo")).initialblockdownload:
            raise ChainError("the node is still loading its chain; what the index has stays", fix="wait for the node")
        return Plan(undo, hashes)

    async def _undoable(self) -> int:
        """How many of our blocks the node no longer has in its best chain."""
        count, height = 0, self._storage.height
        while height - count >= 0:
            block_hash = self._storage.block_hash(height - count)[::-1].hex()
            try:
                if (await self._daemon.typed(_Head, "getblockheader", block_hash)).confirmations >= 0:
                    break
            except DaemonError:
                pass  # the node never had it, or has forgotten it
            count += 1
        return count

    async def advance(self, plan: Plan) -> AsyncIterator[Step]:
        """Carry out a plan. Nothing is undone before the first block that replaces it is at hand and fits.

        What was undone is told before anything that went wrong is raised.
        """
        undo = plan.undo
        self._files.catch_up()
        async for block_hash, raw in self._prefetcher.blocks(plan.hashes):
            internal = bytes.fromhex(block_hash)[::-1]
            spot = self._files.take(internal)  # should the file be damaged, the node itself is asked the next time
            scan = self._check(block_hash, raw, undo)
            lost = _Lost()
            try:
                self._undo(undo, lost)
                undo = 0
                touched = self._storage.append(internal, scan, spot)
            except (KeyError, OSError, StorageError) as error:
                if lost.blocks:
                    yield lost.step()
                if isinstance(error, KeyError):
                    raise ChainError(f"block {block_hash} is not valid: {error}") from error
                raise
            yield lost.step(touched)
        if undo:  # the chain became shorter, and nothing takes the place of what is gone
            lost = _Lost()
            try:
                self._undo(undo, lost)
            except (OSError, StorageError):
                yield lost.step()
                raise
            yield lost.step()

    def drop(self, count: int) -> Step:
        """Undo blocks on the operator's order; fewer where they lie deeper than what can be undone."""
        lost = _Lost()
        with suppress(TooDeepError):
            self._undo(count, lost)
        return lost.step()

    def _undo(self, count: int, lost: _Lost) -> None:
        """Raises TooDeepError."""
        for _ in range(count):
            lost.scripts |= self._storage.undo().scripts
            lost.blocks += 1

    def _check(self, block_hash: str, raw: bytes, undo: int) -> Scan:
        if sha256d(raw[:80])[::-1].hex() != block_hash:
            raise ChainError(f"the node sent another block than {block_hash}")
        try:
            scan = scan_block(raw, self._coin.auxpow)
            whole = merkle_root(scan.txids) == scan.header[36:68]
        except ValueError:
            whole = False
        if not whole:
            raise ChainError(f"the node sent block {block_hash} with other transactions than its own")
        parent = self._storage.height - undo
        linked = self._storage.block_hash(parent) if parent >= 0 else bytes(32)
        if scan.header[4:36] != linked:
            raise ChainError(f"block {block_hash} does not follow ours at height {parent}; the chain moved meanwhile")
        return scan
