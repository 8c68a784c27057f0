"""The top of a header chain: linked, bounded, and able to fork. Pure; `twinlock.electrum.sync` feeds it.

Only the last `WINDOW` headers are kept. For older blocks one walks down in runs of headers, each proven by the
run above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from twinlock.chain import auxpow
from twinlock.chain import header as chain_header
from twinlock.chain.coins import Coin, Network
from twinlock.chain.errors import ChainError, InclusionError
from twinlock.chain.header import Header
from twinlock.chain.wire import Reader

from .errors import LyingServerError

WINDOW = 2016
"""Headers kept: as many as one answer of `blockchain.block.headers` holds, two weeks of Bitcoin.

Also of wallets that were born yesterday: it is the work in all of them that makes a made-up chain dear."""

STEP_MAX = 4
"""Most by which one change may ease the target (consensus)."""


DIFFICULTY_1 = 0xFFFF << 208
"""The target that difficulties are counted in."""

EASIEST: Mapping[str, int] = MappingProxyType(
    {"btc": DIFFICULTY_1 // 10**12, "ltc": DIFFICULTY_1 // 10**5, "doge": DIFFICULTY_1 // 10**5}
)
"""By coin, a target that its mainnet has not seen for years (in 2026 a hundred times harder, and more): a server that
begins with an easier chain has made one up."""


def read_headers(coin: Coin, raw: bytes) -> list[Header]:
    """Headers as servers send them, each with the proof of its work where it was mined with another chain's.

    Raises LyingServerError (``type``, ``work``). Proofs are looked at on mainnet only, as all work is.
    """
    reader, found = Reader(raw), []
    try:
        while reader.left:
            header, work = auxpow.read_header(coin, reader)
            if work is not None and coin.network is Network.MAINNET:
                auxpow.check_work(coin, header, work)
            found.append(header)
    except InclusionError as error:
        raise LyingServerError("work", f"the work of a header is not proven: {error}") from error
    except ChainError as error:
        raise LyingServerError("type", f"headers that are none: {error}") from error
    return found


def check_run(coin: Coin, headers: Sequence[Header], start: int) -> None:
    """Each header names the one before it and has the work that it should; start is the first one's height.

    Raises LyingServerError (``headers``, ``genesis``, ``work``). Work is looked at on mainnet only: test chains let
    anybody mine.
    """
    if start == 0 and headers and headers[0].hash_hex != coin.genesis_hash:
        raise LyingServerError("genesis", "the first block is another chain's")
    try:
        chain_header.check_links(headers)
    except ChainError as error:
        raise LyingServerError("headers", f"the headers from height {start} on do not link", height=start) from error
    if coin.network is Network.MAINNET:
        _check_work(coin, headers, start)


def _check_work(coin: Coin, headers: Sequence[Header], start: int) -> None:
    try:
        for header in headers:
            if not auxpow.is_merged(coin, header):  # whose work was looked at when it was read
                chain_header.check_proof_of_work(coin, header)
        for height, (before, header) in enumerate(pairwise(headers), start + 1):
            eased = chain_header.target(header.bits) > STEP_MAX * chain_header.target(before.bits)
            if eased or (height % coin.retarget and header.bits != before.bits):
                raise LyingServerError("work", f"the difficulty at height {height} cannot be", height=height)
    except ChainError as error:
        raise LyingServerError("work", f"work is missing from height {start} on: {error}", height=start) from error


def _total_work(headers: Sequence[Header]) -> int:
    return sum(chain_header.work(header.bits) for header in headers)


class HeaderChain:
    """The last headers of the best chain that was shown to us."""

    def __init__(self, coin: Coin) -> None:
        self._coin = coin
        self._base = 0
        self._headers: list[Header] = []
        self._hashes: list[bytes] = []

    def __len__(self) -> int:
        return len(self._headers)

    @property
    def base(self) -> int:
        """Height of the lowest header kept."""
        return self._base

    @property
    def height(self) -> int:
        """Of the tip; -1 while nothing is known."""
        return self._base + len(self._headers) - 1

    def header(self, height: int) -> Header | None:
        """None outside the window."""
        return self._headers[height - self._base] if self._base <= height <= self.height else None

    def hash(self, height: int) -> bytes | None:
        """Internal order, or None outside the window."""
        return self._hashes[height - self._base] if self._base <= height <= self.height else None

    def median_time(self) -> int:
        """Of the last 11 blocks, seconds (BIP 113)."""
        return chain_header.median_time_past(header.time for header in self._headers[-chain_header.MEDIAN_SPAN :])

    def replace(self, start: int, headers: Sequence[Header]) -> None:
        """Forget all and begin with this run, which ends at the tip. Raises LyingServerError."""
        easiest = EASIEST.get(self._coin.symbol) if self._coin.network is Network.MAINNET else None
        if easiest is not None and chain_header.target(headers[-1].bits) > easiest:
            raise LyingServerError("work", "the server's chain is far too easy to be the real one", height=start)
        check_run(self._coin, headers, start)
        self._base, self._headers = start, list(headers)
        self._hashes = [header.hash for header in headers]
        self._trim()

    def links(self, start: int, header: Header) -> bool:
        """Would a header at this height stand on one that we keep, or be the lowest possible?"""
        return start == 0 or self.hash(start - 1) == header.prev_hash

    def extend(self, start: int, headers: Sequence[Header]) -> int:
        """Put a run that `links` in place of all from `start` on; returns the height up to which nothing changed.

        Raises LyingServerError (``headers``, ``work``); where work counts, a branch with less of it than the one that
        it replaces is refused.
        """
        below = self._headers[start - 1 - self._base :][:1] if start > self._base else []
        check_run(self._coin, [*below, *headers], start - len(below))
        replaced = self._headers[max(0, start - self._base) :]
        if self._coin.network is Network.MAINNET and _total_work(headers) < _total_work(replaced):
            raise LyingServerError("work", "the server offers a chain with less work than the one known", height=start)
        same = start
        for header in headers:
            if self.header(same) != header:
                break
            same += 1
        del self._headers[max(0, start - self._base) :], self._hashes[max(0, start - self._base) :]
        if not self._headers:
            self._base = start
        self._headers += headers
        self._hashes += [header.hash for header in headers]
        self._trim()
        return same - 1

    def fork(self, other: HeaderChain) -> int | None:
        """The highest block that both chains have; None if they share none in their windows."""
        for height in range(min(self.height, other.height), max(self.base, other.base) - 1, -1):
            if self.hash(height) == other.hash(height):
                return height
        return None

    def work_above(self, height: int) -> int:
        """Expected hashes behind the blocks above a height; where anybody may mine, each block counts one."""
        headers = self._headers[max(0, height + 1 - self._base) :]
        return _total_work(headers) if self._coin.network is Network.MAINNET else len(headers)

    def _trim(self) -> None:
        surplus = len(self._headers) - WINDOW
        if surplus > 0:
            del self._headers[:surplus], self._hashes[:surplus]
            self._base += surplus
