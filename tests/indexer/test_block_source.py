"""Where a first sync gets its blocks: read ahead within a number of bytes, and found in files in few bytes each."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from twinlock.indexer.block_files import Spots
from twinlock.indexer.block_source import RawBlock, read_ahead
from twinlock.indexer.storage.seam import Spot


class Source:
    """Blocks of a megabyte each; `given` counts them. `fails_at`: instead of that one, an error."""

    def __init__(self, fails_at: int = -1) -> None:
        self.given = 0
        self.fails_at = fails_at
        self.full = threading.Event()

    def blocks(self, hashes: Iterable[str]) -> Iterator[RawBlock]:
        for number, _ in enumerate(hashes):
            if number == self.fails_at:
                raise OSError("gone")
            self.given += 1
            if self.given > 16:
                self.full.set()
            yield RawBlock(number.to_bytes(1 << 20, "little"))


def test_blocks_come_in_order_and_not_too_many_are_read_ahead() -> None:
    source = Source()
    blocks = read_ahead(source, map(str, range(60)))
    first = next(blocks)
    assert source.full.wait(30)
    assert source.given < 20
    rest = [int.from_bytes(block.raw, "little") for block in blocks]
    assert [int.from_bytes(first.raw, "little"), *rest] == list(range(60))


def test_what_goes_wrong_comes_after_the_blocks_before_it() -> None:
    blocks = read_ahead(Source(fails_at=3), map(str, range(9)))
    for _ in range(3):
        next(blocks)
    with pytest.raises(OSError, match="gone"):
        next(blocks)


def test_who_takes_no_more_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    blocks = read_ahead(Source(), map(str, range(1000)))
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_places_are_found_by_hash_until_they_are_taken() -> None:
    rnd = random.Random(4)
    spots, truth = Spots(), {}
    for number in range(5000):
        truth[rnd.randbytes(32)] = Spot(number, rnd.getrandbits(32), rnd.getrandbits(20))
    for block_hash, spot in truth.items():
        spots.add(block_hash, spot)
    again = next(iter(truth))
    truth[again] = Spot(7, 7, 7)
    spots.add(again, truth[again])
    assert len(spots) == len(truth)
    assert all(spots.find(block_hash) == spot for block_hash, spot in truth.items())
    assert all(spots.take(block_hash) == spot for block_hash, spot in list(truth.items())[::2])
    assert [spots.find(block_hash) for block_hash in list(truth)[:2]] == [None, list(truth.values())[1]]
    assert (spots.find(bytes(32)), spots.take(bytes(32))) == (None, None)
    spots.clear()
    assert len(spots) == 0


def test_a_key_that_shows_across_rows_is_not_taken_for_one() -> None:
    spots = Spots()
    key = bytes(2) + b"\x01" * 8
    spots.add(key + bytes(22), Spot(0x01010101, 0x01010101, 0x01010101))
    spots.add(bytes(2) + b"\x01\x01\x01\x01\x02\x02\x02\x02" + bytes(22), Spot(1, 2, 3))
    assert spots.find(key + bytes(22)) == Spot(0x01010101, 0x01010101, 0x01010101)
    assert spots.find(bytes(2) + b"\x01\x01\x01\x01\x02\x02\x02\x02" + bytes(22)) == Spot(1, 2, 3)


def test_a_million_places_take_few_bytes() -> None:
    rnd = random.Random(5)
    tracemalloc.start()
    try:
        spots = Spots()
        for number in range(50_000):
            spots.add(rnd.randbytes(32), Spot(number, number, number))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 50_000 * 30 + 4096 * 300
