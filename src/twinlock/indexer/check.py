"""Check: is the whole index what the node's chain says? It is built again beside itself, and everything is compared.

The new one is made by the first sync's way (in bulk), the old one may have grown block by block through years of
reorganisations; every header, transaction, history and coin has to be the same in both. Takes the disk and time of a
first sync. The index itself is only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from twinlock.chain.coins import Coin
from twinlock.errors import TwinlockError
from twinlock.indexer.block_source import BlockSource, read_ahead
from twinlock.indexer.daemon import Daemon
from twinlock.indexer.hash_list import HashList
from twinlock.indexer.lock import DirectoryLock
from twinlock.indexer.storage.disk import RealDisk
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.seams import Entropy

_FOLDER = "check"
_HASHES_AT_ONCE = 20_000
_ENDLESS = 1 << 30
_SHOWN = 20
_TELL_EVERY = 1000

Say = Callable[[str, int, int], None]
"""Receives what is being done, and how much of how much."""


class CheckError(TwinlockError):
    """The index cannot be compared."""

    code = "indexer.check"
    fault = "user"


async def hashes_of(daemon: Daemon, height: int) -> HashList:
    """The node's best chain up to a height, display hex. Raises CheckError when it is shorter."""
    hashes = HashList()
    while len(hashes) <= height:
        more = await daemon.block_hashes(len(hashes), min(_HASHES_AT_ONCE, height + 1 - len(hashes)))
        if not more:
            raise CheckError(f"the node's chain ends at {len(hashes) - 1}, the index at {height}")
        hashes.add(more)
    return hashes


class Checker:
    """Compares the index in a data directory with the node's chain. Use it in a thread; it works long."""

    def __init__(self, coin: Coin, data_dir: Path, entropy: Entropy, say: Say) -> None:
        self._coin, self._data_dir, self._entropy, self._say = coin, data_dir, entropy, say
        self._lock = DirectoryLock(data_dir)
        self.index = SegmentStorage(RealDisk(data_dir), coin.genesis_hash, _ENDLESS)
        if self.index.height < 0:
            self.close()
            raise CheckError(f"{data_dir} holds no index")

    def close(self) -> None:
        """Let go of the data directory."""
        self.index.close()
        self._lock.release()

    def run(self, hashes: HashList, source: BlockSource, memory: int) -> list[str]:
        """What differs, in words; at most some of it. Empty: all is well."""
        folder = self._data_dir / _FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        try:
            fresh = SegmentStorage(RealDisk(folder), self._coin.genesis_hash, _ENDLESS)
            bulk = fresh.bulk(self._entropy, self._coin.auxpow, memory)
            for number, block in enumerate(read_ahead(source, hashes.since(0))):
                bulk.add(*block)
                self._tell("reading blocks", number, len(hashes))
            fresh.adopt(bulk)
            found = chain(self._blocks(fresh), self._scripts(fresh))
            problems = [problem for problem, _ in zip(found, range(_SHOWN), strict=False)]
            fresh.close()
            return problems
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, what: str, done: int, total: int) -> None:
        if done % _TELL_EVERY == 0 or done + 1 == total:
            self._say(what, done + 1, total)

    def _blocks(self, fresh: SegmentStorage) -> Iterator[str]:
        """Headers, transactions, and where these are."""
        index = self.index
        for height in range(fresh.height + 1):
            self._tell("comparing blocks", height, fresh.height + 1)
            if index.header(height) != fresh.header(height):
                yield f"block {height}: another header"
                continue
            hashes = fresh.tx_hashes(height)
            if index.tx_hashes(height) != hashes:
                yield f"block {height}: other transactions"
                continue
            for position in range(len(hashes) // 32):
                if index.tx_span(height, position) != fresh.tx_span(height, position):
                    yield f"block {height}: transaction {position} lies elsewhere in it"
                tx_hash = hashes[32 * position : 32 * position + 32]
                if index.find(tx_hash) != fresh.find(tx_hash):
                    yield f"block {height}: transaction {tx_hash[::-1].hex()} is not found where it is"

    def _scripts(self, fresh: SegmentStorage) -> Iterator[str]:
        """Histories and coins of every script that either knows."""
        index = self.index
        total = sum(1 for _ in chain(fresh.names(), index.names()))
        for number, name in enumerate(chain(fresh.names(), index.names())):
            self._tell("comparing scripts", number, total)
            if index.history(name) != fresh.history(name):
                yield f"script {name.hex()}: another history"
            coins = fresh.unspent(name)
            if index.unspent(name) != coins:
                yield f"script {name.hex()}: other coins"
            for coin in coins:
                output = index.output(coin.tx_hash, coin.vout)
                if output is None or (output.hashx, output.value) != (name, coin.value):
                    yield f"coin {coin.tx_hash[::-1].hex()}:{coin.vout}: not found as it is"
