"""Caches: what was computed once and stays true until the chain or the mempool touches it. All are bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

_PER_STATUS, _PER_PROGRESS, _PER_TREE = 330, 400, 200
"""Bytes that an entry takes, about; a tree's nodes come on top."""


class StatusCache:
    """Status hashes by script, the most recently asked ones, and how far the hash over the chain's part has come."""

    def __init__(self, room: int) -> None:
        """room: bytes; of these, a quarter is for what statuses go on from."""
        self._limit = max(1, room * 3 // 4 // _PER_STATUS)
        self._progress_limit = max(1, room // 4 // _PER_PROGRESS)
        self._kept: OrderedDict[bytes, str | None] = OrderedDict()
        self._progress: OrderedDict[bytes, bytes] = OrderedDict()

    def __contains__(self, script: bytes) -> bool:
        return script in self._kept

    def get(self, script: bytes) -> str | None:
        """The status of a script that is in the cache."""
        self._kept.move_to_end(script)
        return self._kept[script]

    def put(self, script: bytes, status: str | None) -> None:
        """Keep a status; the one that was not asked for longest may have to go."""
        self._kept[script] = status
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def progress(self, script: bytes) -> bytes:
        """What a status of the script can go on from."""
        return self._progress.get(script, b"")

    def put_progress(self, script: bytes, progress: bytes) -> None:
        """Keep what the next status can go on from."""
        if progress:
            self._progress[script] = progress
            self._progress.move_to_end(script)
            if len(self._progress) > self._progress_limit:
                self._progress.popitem(last=False)

    def touch(self, scripts: Iterable[bytes]) -> None:
        """Forget the statuses of these: something was added."""
        for script in scripts:
            self._kept.pop(script, None)

    def undo(self, scripts: Iterable[bytes]) -> None:
        """Forget all about these: something was taken away."""
        for script in scripts:
            self._kept.pop(script, None)
            self._progress.pop(script, None)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._progress.clear()


class TreeCache:
    """Merkle trees of blocks (what `merkle_tree` gives), by height, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def get(self, height: int) -> bytes | None:
        """The tree over the block's transactions, if it is kept."""
        tree = self._kept.get(height)
        if tree is not None:
            self._kept.move_to_end(height)
        return tree

    def put(self, height: int, tree: bytes) -> None:
        """Keep a tree."""
        self._kept[height] = tree
        self._size += len(tree) + _PER_TREE
        while self._size > self._limit and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1]) + _PER_TREE

    def clear(self) -> None:
        """Forget all: blocks were replaced."""
        self._kept.clear()
        self._size = 0
