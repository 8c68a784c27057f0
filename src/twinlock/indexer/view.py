"""View: one consistent picture of chain and mempool, and the answers that wallets derive from it.

Every method runs without a pause between its reads, and chain and mempool change together between two of them,
so each answer describes a single state. What may be large is given as something to call, here or in a thread: it
answers from a snapshot of the moment at which it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from twinlock.indexer.block_files import BlockFiles
from twinlock.indexer.caches import StatusCache, TreeCache
from twinlock.indexer.memory import DEFAULT_MEMORY, Shares, shares
from twinlock.indexer.mempool import Mempool
from twinlock.indexer.merkle import HeaderTree
from twinlock.indexer.storage.seam import Index, Place
from twinlock.kernels.index import POINT, merkle_branch_json, merkle_tree

LARGE = 3000
"""Entries of a history from which on a thread works on it: a third of a millisecond's work."""

_HASHED_AT_ONCE = 1000
"""Headers hashed in one go, for proofs under a checkpoint: a few milliseconds' work."""

Answer = Callable[[], msgspec.Raw]
"""An answer that is yet to be worked out."""

Elsewhere = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Has something done in a thread."""


class View:
    """What is known of each script."""

    def __init__(self, index: Index, mempool: Mempool, files: BlockFiles, room: Shares | None = None) -> None:
        """room: what caches may hold; without it, what they may by default."""
        room = room or shares(DEFAULT_MEMORY)
        self._files = files
        self.index = index
        self.mempool = mempool
        self._statuses = StatusCache(room.statuses)
        self._headers = HeaderTree()
        self._trees = TreeCache(room.trees)
        self._undone = 0  # how often blocks were undone
        self.revision = 0
        """Grows whenever chain or mempool change."""

    def touch(self, scripts: set[bytes]) -> None:
        """Chain or mempool changed: forget what was computed for these."""
        self.revision += bool(scripts)
        self._statuses.touch(scripts)

    def chain_undone(self, height: int, scripts: set[bytes]) -> None:
        """The blocks above `height`, which touched these scripts, were replaced or dropped."""
        self._undone += 1
        self.revision += 1
        self._headers.cut(height + 1)
        self._trees.clear()
        self._statuses.undo(scripts)

    def started_anew(self) -> None:
        """Nothing is known any more."""
        self.chain_undone(-1, set())
        self._statuses.clear()

    def headers_ready(self, cp_height: int) -> bool:
        """Whether a proof under that height needs no more hashing than others may wait for."""
        return min(cp_height, self.index.height) - len(self._headers) < _HASHED_AT_ONCE

    async def prepare_headers(self, cp_height: int) -> None:
        """Hash the headers up to that height, in pieces between which others have their turn."""
        while len(self._headers) <= min(cp_height, self.index.height):
            self._hash_headers(min(len(self._headers) + _HASHED_AT_ONCE, cp_height + 1, self.index.height + 1))
            await asyncio.sleep(0)

    def _hash_headers(self, end: int) -> None:
        for missing in range(len(self._headers), end):
            self._headers.append(self.index.block_hash(missing))

    def header_branch(self, height: int, cp_height: int) -> tuple[list[bytes], bytes]:
        """The proof of a header under the tree over heights 0 to cp_height."""
        self._hash_headers(cp_height + 1)
        return self._headers.branch_and_root(height, cp_height + 1)

    def merkle_branch(self, height: int, position: int) -> msgspec.Raw:
        """The branch of a block's transaction, as JSON."""
        leaves = self.index.tx_hashes(height)
        tree = self._trees.get(height)
        if tree is None:
            tree = merkle_tree(leaves)
            self._trees.put(height, tree)
        return msgspec.Raw(merkle_branch_json(tree, leaves, position))

    def raw_transaction(self, place: Place) -> bytes | None:
        """A confirmed transaction from the node's block files; None when it is not to be had there."""
        spot = self.index.spot(place.height)
        return self._files.read(spot, *self.index.tx_span(*place)) if spot else None

    def status_known(self, script: bytes) -> bool:
        """Whether the status need not be worked out."""
        return script in self._statuses

    def status(self, script: bytes) -> str | None:
        """The status hash; None when nothing touches the script."""
        if script in self._statuses:
            return self._statuses.get(script)
        tail = b""
        if self.mempool.touches(script):
            tail = "".join(f"{txid}:{height}:" for txid, height, _ in self.mempool.history(script)).encode()
        status, progress = self.index.status(script, tail, self._statuses.progress(script))
        self._statuses.put(script, status)
        self._statuses.put_progress(script, progress)
        return status

    def large(self, script: bytes) -> bool:
        """Whether the script's history is so long that others would notice waiting for it."""
        return self.index.history_size(script) > LARGE

    def forget(self) -> None:
        """Let go of what can be worked out again."""
        self._statuses.clear()
        self._trees.clear()

    async def prepare_status(self, script: bytes, elsewhere: Elsewhere) -> None:
        """Have most of the work for a large script's status done elsewhere; `status` is quick then."""
        while not self._statuses.progress(script):
            undone = self._undone
            _, progress = await elsewhere(partial(self.index.snapshot().status, script, b""))
            if not progress:
                return
            if undone == self._undone:
                self._statuses.put_progress(script, progress)

    def history(self, script: bytes, start: int = 0, end: int = -1) -> Answer:
        """Gives confirmed entries in chain order, then the mempool's: as they are now, whenever it is called.

        Of heights `start` to `end` (excluded) only; -1: all that follow, and the mempool.
        """
        confirmed = partial(self.index.snapshot().history_json, script, start, end)
        return partial(_json_list, confirmed, self.unconfirmed(script) if end < 0 else [])

    def unspent(self, script: bytes) -> Answer:
        """Gives confirmed outputs not spent in the mempool, in chain order, then the mempool's own: as they are now."""
        if not self.mempool.touches(script):
            return partial(_json_list, partial(self.index.snapshot().unspent_json, script, b""), [])
        spent = b"".join(POINT.pack(*point) for point in self.mempool.spends(script))
        return partial(_json_list, partial(self.index.snapshot().unspent_json, script, spent), self._new_coins(script))

    def unconfirmed(self, script: bytes) -> list[dict[str, Any]]:
        """The mempool's part of the history."""
        rows = self.mempool.history(script)
        return [{"height": height, "tx_hash": txid, "fee": fee} for txid, height, fee in rows]

    def balance(self, script: bytes) -> dict[str, int]:
        """Confirmed ignores the mempool; unconfirmed is the mempool's difference. Atoms."""
        return {"confirmed": self.index.balance(script), "unconfirmed": self.mempool.delta(script)}

    def _new_coins(self, script: bytes) -> list[dict[str, Any]]:
        return [
            {"height": 0, "tx_hash": tx_hash[::-1].hex(), "tx_pos": vout, "value": value}
            for tx_hash, vout, value in self.mempool.unspent(script)
        ]


def _json_list(confirmed: Callable[[], bytes], unconfirmed: list[dict[str, Any]]) -> msgspec.Raw:
    """Both parts as one JSON list."""
    rows = confirmed()
    if not unconfirmed:
        return msgspec.Raw(rows)
    tail = msgspec.json.encode(unconfirmed)
    return msgspec.Raw(b"".join((memoryview(rows)[:-1], b",", tail[1:])) if len(rows) > 2 else tail)
