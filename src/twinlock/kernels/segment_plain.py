"""A segment of the index: its sections, their rows, and what the plain twin reads out of them.

A segment covers consecutive blocks and holds, in rows of fixed size (little-endian, numbers counted from its first
transaction):

    blocks     BLOCK     first transaction (absolute), offset of the header, file, position in it, size
    txids      32 bytes  in chain order
    lookup     uint64    first 4 bytes of the hash as a big-endian number << 32 | transaction; sorted
    scripts    SCRIPT    hashX, first entry in `history`, first row in `coins`; sorted; a closing row gives the ends
    history    uint32    transactions that touch the script, ascending
    coins      COIN      outputs that the segment itself does not spend: transaction, vout, value
    outpoints  OUTPOINT  the same sorted by transaction and vout: transaction, vout, row in `scripts`
    spends     SPEND     what it spends of older segments: hashX, vout, transaction (absolute), value, spender; sorted

An index is a tuple of segments, oldest first: newer ones take away from older ones.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from twinlock.kernels.scan_plain import HASHX

BLOCK = struct.Struct("<QIIIIQ")
SCRIPT = struct.Struct("<11sIBI")
COIN = struct.Struct("<IIQ")
LOOKUP = struct.Struct("<Q")
OUTPOINT = struct.Struct("<III")
SPEND = struct.Struct("<11sxIQQII")
HISTORY_ROW = struct.Struct("<32sI")
UNSPENT_ROW = struct.Struct("<32sIII4xQ")
POINT = struct.Struct("<32sI")

PARTS = 256
"""Into how many parts a build is divided, by the first byte of the names."""

LAST = b"\xff" * HASHX
"""The name of the closing row in `scripts`."""

Buffer = bytes | bytearray | memoryview
Sections = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
"""lookup, scripts, history, coins, outpoints, spends"""


class Coin(NamedTuple):
    """A row of `coins`, with its script's name."""

    hashx: bytes
    tx: int
    vout: int
    value: int


class Spend(NamedTuple):
    """A row of `spends`."""

    hashx: bytes
    funding: int
    vout: int
    value: int
    spender: int


class Segment:
    """One immutable piece of the index."""

    def __init__(
        self,
        first_height: int,
        first_tx: int,
        blocks: Buffer,
        txids: Buffer,
        lookup: Buffer,
        scripts: Buffer,
        history: Buffer,
        coins: Buffer,
        outpoints: Buffer,
        spends: Buffer,
        /,
    ) -> None:
        self.first_height = first_height
        self.first_tx = first_tx
        self.starts = [row[0] - first_tx for row in BLOCK.iter_unpack(blocks)]
        self.txids = [bytes(txids[at : at + 32]) for at in range(0, len(txids), 32)]
        self.numbers = {tx_hash: number for number, tx_hash in enumerate(self.txids)}
        entries = [row[0] for row in struct.iter_unpack("<I", history)]
        rows = list(COIN.iter_unpack(coins))
        if len(lookup) % 8 or len(outpoints) % OUTPOINT.size or len(txids) % 32 or not scripts:
            raise ValueError("a section is not made of whole rows")
        if txids and not blocks:
            raise ValueError("there are transactions, but no block")
        names = [(row[0], row[1] + (row[2] << 32), row[3]) for row in SCRIPT.iter_unpack(scripts)]
        self.history: dict[bytes, list[int]] = {}
        self.coins: dict[bytes, list[Coin]] = {}
        self.owners: dict[tuple[int, int], Coin] = {}
        for (name, first, coin), (_, end, coin_end) in pairwise(names):
            self.history[name] = entries[first:end]
            self.coins[name] = [Coin(name, *row) for row in rows[coin:coin_end]]
            self.owners |= {(row.tx, row.vout): row for row in self.coins[name]}
        self.spends = [Spend(n, tx, vout, value, by) for n, vout, tx, value, by, _ in SPEND.iter_unpack(spends)]

    def block_of(self, tx: int) -> int:
        """The block, counted from the segment's first, that holds a transaction."""
        return bisect_right(self.starts, tx) - 1


Segments = tuple[Segment, ...]
