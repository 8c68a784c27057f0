"""What a first sync will cost, said before it begins, and how far it is, said while it runs.

The forecast comes from the node's own figures and from what the benchmark's chain of a million transactions took on an
ordinary machine (`benchmarks/results`, part "stages"); once blocks are being read, the rate of this machine takes their
place, so the time told becomes right by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from twinlock.indexer.memory import shares
from twinlock.seams import Clock

READING, SORTING, DONE = "reading blocks", "sorting", "done"

_SECONDS_PER_TX = 1.0e-6
"""One core's work while blocks are read."""

_BYTES_PER_SECOND = 200e6
"""What a disk gives of block files that are not in memory yet, while others use it too."""

_DISK_PER_TX, _LOGGED_PER_TX = 110, 430
"""Bytes of the index: of a transaction, and of one in the newest blocks, which stand in the log and beside it."""

_ROWS_PER_TX = 150
"""Bytes of memory that a transaction's rows take while blocks are read."""

_SPILLED_PER_TX = 250
"""Bytes that a transaction's rows take in files while a build does not fit into memory."""

_SORTING, _SORTING_SPILLED = 0.5, 1.0
"""Sorting takes this part of the time that reading took; more where rows went to files."""

_LOG_SECONDS = 30.0


class Forecast(NamedTuple):
    """What a first sync costs: seconds, bytes on disk in the end and at most, bytes of memory.

    sorting: the time of sorting as a part of that of reading.
    """

    blocks: int
    transactions: int
    chain_bytes: int
    seconds: int
    disk: int
    disk_at_most: int
    memory: int
    sorting: float

    def __str__(self) -> str:
        return (
            f"{self.blocks:,} blocks with {self.transactions:,} transactions ({size_text(self.chain_bytes)}): about "
            f"{time_text(self.seconds)}, {size_text(self.disk)} of disk ({size_text(self.disk_at_most)} meanwhile), at "
            f"most {size_text(self.memory)} of memory"
        )


def forecast(chain: Mapping[str, Any], stats: Mapping[str, Any], memory: int, reorg_limit: int) -> Forecast:
    """From the node's `getblockchaininfo` and `getchaintxstats`.

    memory: what the program may hold, bytes. reorg_limit: blocks that can be undone, the newest ones.
    """
    txs, size = int(stats.get("txcount", 0)), int(chain.get("size_on_disk", 0))
    spills = txs * _ROWS_PER_TX > shares(memory).rows
    sorting = _SORTING_SPILLED if spills else _SORTING
    seconds = (txs * _SECONDS_PER_TX + size / _BYTES_PER_SECOND) * (1 + sorting)
    blocks = int(chain.get("blocks", 0))
    newest = txs * min(1.0, reorg_limit / max(1, blocks))
    disk = (txs - newest) * _DISK_PER_TX + newest * _LOGGED_PER_TX
    most = disk + (txs * _SPILLED_PER_TX if spills else 0)
    return Forecast(blocks, txs, size, round(seconds), round(disk), round(most), memory, sorting)


def size_text(size: float) -> str:
    """Bytes for people.

    >>> size_text(999), size_text(230_000_000), size_text(7.2e11)
    ('999 B', '230 MB', '720 GB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def time_text(seconds: float) -> str:
    """A length of time for people.

    >>> time_text(3), time_text(600), time_text(4000)
    ('3 s', '10 min', '1 h 7 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """How far a first sync is. The builder's thread counts, everybody else reads."""

    def __init__(self, total_bytes: int = 0, clock: Clock | None = None) -> None:
        self.total_bytes = total_bytes
        self.sorting = _SORTING
        self.blocks = self.first_block = self.all_blocks = 0
        self.bytes = 0
        self.phase = ""
        self._clock = clock
        self._began = 0.0

    def begin(self, first: int, blocks: int) -> None:
        """Blocks from `first` to `blocks` are to be read."""
        self.blocks = self.first_block = first
        self.all_blocks, self.bytes, self.phase = blocks, 0, READING
        self._began = self._clock.monotonic() if self._clock else 0.0

    def read(self, size: int) -> None:
        """One more block was taken in."""
        self.blocks += 1
        self.bytes += size

    @property
    def part(self) -> float:
        """How much of the reading is done, 0 to 1: by bytes, for old blocks are small; by blocks where unknown."""
        if not self.all_blocks:
            return 0.0
        by_blocks = self.blocks / self.all_blocks
        if self.first_block or not self.total_bytes:
            return by_blocks
        return by_blocks if self.blocks == self.all_blocks else min(0.999, self.bytes / self.total_bytes)

    def seconds_left(self) -> float | None:
        """At this machine's rate until now; None while that is not known, and while sorting."""
        if self._clock is None or self.phase != READING or self.part <= 0:
            return None
        done = self.part - (self.first_block / self.all_blocks if self.first_block else 0)
        elapsed = self._clock.monotonic() - self._began
        if done <= 0.001 or elapsed <= 0:
            return None
        reading = elapsed / done * (1 - self.part)
        return reading + self.sorting * (elapsed + reading)

    def text(self) -> str:
        """One line."""
        left = self.seconds_left()
        eta = f", {time_text(left)} left" if left is not None else ""
        return f"{self.phase}: block {self.blocks:,} of {self.all_blocks:,}, {100 * self.part:.1f} %{eta}"


Show = Callable[[Progress], None]
"""Shows progress to a person; called every second."""


class LogLines:
    """Implements `Show` where nobody watches: a line now and then."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        self._clock, self._say = clock, say
        self._said = clock.monotonic()
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now = self._clock.monotonic()
        if not progress.phase:
            return
        if progress.phase != self._phase or now - self._said >= _LOG_SECONDS:
            self._said, self._phase = now, progress.phase
            self._say(progress.text())
