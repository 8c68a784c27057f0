"""Piece: a segment of the index with what the kernel does not need: headers, and where transactions lie in blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from twinlock.indexer.storage.seam import Spot
from twinlock.kernels import index as kernel
from twinlock.kernels.index import BLOCK, Buffer, Sections
from twinlock.kernels.scan import INPUT, Scan

SECTIONS = ("heads", "blocks", "offsets", "txids", "lookup", "scripts", "history", "coins", "outpoints", "spends")
"""The parts of a piece, in the order in which they are stored."""

NO_FILE = 0xFFFFFFFF
"""A block whose place in the node's block files is not known."""

REPLACED = frozenset(
    bytes.fromhex(block)[::-1]
    for block in (
        "00000000000271a2dc26e7667f8419f2e15416dc6955e5a6c6cdf3f2574dd08e",
        "00000000000af0aed4792b1acee3d966af36cf5def14935db8de83d6f9306f2f",
    )
)
"""Bitcoin's blocks 91722 and 91812: their only transactions were made again, and took the place of these, in 91880 and
91842 (BIP 30). Wallets refuse a history that has a transaction twice."""

_HEAD = struct.Struct("<IIQ10I")


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks `first_height` to `last_height`, whose first transaction has the number `first_tx`.

    file: the file that it is mapped from, where that is to go with it.
    """

    first_height: int
    first_tx: int
    parts: tuple[Buffer, ...]
    segment: kernel.Segment
    file: str = ""

    @classmethod
    def of(cls, first_height: int, first_tx: int, parts: Sequence[Buffer]) -> Piece:
        """A piece of its stored parts. Raises ValueError when they cannot be that."""
        return cls(first_height, first_tx, tuple(parts), kernel.Segment(first_height, first_tx, parts[1], *parts[3:]))

    @property
    def size(self) -> int:
        """Blocks in it."""
        return len(self.parts[1]) // BLOCK.size

    @property
    def txs(self) -> int:
        """Transactions in it."""
        return len(self.parts[3]) // 32

    @property
    def last_height(self) -> int:
        return self.first_height + self.size - 1

    def _block(self, height: int) -> tuple[int, int, int]:
        """(number of the first transaction in the piece, offset of the header, row in the piece)."""
        row = height - self.first_height
        start, head_at, *_ = BLOCK.unpack_from(self.parts[1], row * BLOCK.size)
        return start - self.first_tx, head_at, row

    def header(self, height: int) -> bytes:
        """A block's header, with its proof of work where that is part of it."""
        return self.headers(height, height + 1)

    def headers(self, start: int, end: int) -> bytes:
        """The headers of heights `start` to `end` (excluded), joined."""
        last = self._block(end)[1] if end <= self.last_height else len(self.parts[0])
        return bytes(self.parts[0][self._block(start)[1] : last])

    def block_rows(self, shift: int) -> bytes:
        """The section `blocks`, for headers that stand `shift` bytes later."""
        if not shift:
            return bytes(self.parts[1])
        rows = BLOCK.iter_unpack(self.parts[1])
        return b"".join(BLOCK.pack(row[0], row[1] + shift, *row[2:]) for row in rows)

    def spot(self, height: int) -> Spot | None:
        """Where the node keeps the block, if known."""
        _, _, file, position, size, _ = BLOCK.unpack_from(self.parts[1], (height - self.first_height) * BLOCK.size)
        return None if file == NO_FILE else Spot(file, position, size)

    def tx_hashes(self, height: int) -> bytes:
        """The block's transaction hashes, 32 bytes each."""
        start, _, _ = self._block(height)
        end = self._block(height + 1)[0] if height < self.last_height else self.txs
        return bytes(self.parts[3][32 * start : 32 * end])

    def tx_span(self, height: int, position: int) -> tuple[int, int]:
        """(offset, size) of a transaction in its raw block. Each block has one offset more than transactions."""
        start, _, row = self._block(height)
        begin, end = struct.unpack_from("<2I", self.parts[2], 4 * (start + row + position))
        return begin, end - begin

    def pack(self) -> bytes:
        """The piece as one run of bytes; `unpack` is its inverse."""
        head = _HEAD.pack(self.first_height, 0, self.first_tx, *(len(part) for part in self.parts))
        return b"".join([head, *self.parts])

    @classmethod
    def unpack(cls, data: Buffer) -> Piece:
        """Raises ValueError (or struct.error) when the bytes are not a piece."""
        first_height, _, first_tx, *sizes = _HEAD.unpack_from(data)
        if _HEAD.size + sum(sizes) != len(data):
            raise ValueError("the parts do not add up")
        parts, at = [], _HEAD.size
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        return cls.of(first_height, first_tx, parts)


def block_piece(
    segments: tuple[kernel.Segment, ...],
    height: int,
    first_tx: int,
    scan: Scan,
    spot: Spot | None,
    coinless: bool = False,
) -> Piece:
    """The piece of one block on top of segments. Raises KeyError when it spends what they do not hold.

    coinless: what it pays does not count. Nor does what the first block pays: it cannot be spent, no server shows it.
    """
    outputs = scan.outputs if height and not coinless else b""
    sections: Sections = kernel.connect(segments, scan.txids, outputs, scan.inputs)
    row = BLOCK.pack(first_tx, 0, *(spot or (NO_FILE, 0, 0)), 0)
    return Piece.of(height, first_tx, (scan.header, row, scan.offsets, scan.txids, *sections))


def merge_pieces(pieces: Sequence[Piece]) -> Piece:
    """Adjacent pieces as one."""
    rows = []
    shift = 0
    for piece in pieces:
        rows.append(piece.block_rows(shift))
        shift += len(piece.parts[0])
    heads, offsets, txids = (b"".join(piece.parts[n] for piece in pieces) for n in (0, 2, 3))
    sections = kernel.merge(tuple(piece.segment for piece in pieces), txids)
    parts = (heads, b"".join(rows), offsets, txids, *sections)
    return Piece.of(pieces[0].first_height, pieces[0].first_tx, parts)


class Snapshot(NamedTuple):
    """Implements `Answers` for the segments of a moment."""

    segments: tuple[kernel.Segment, ...]

    def status(self, hashx: bytes, tail: bytes, progress: bytes = b"") -> tuple[str | None, bytes]:
        return kernel.status(self.segments, hashx, tail, progress)

    def history_json(self, hashx: bytes, start: int = 0, end: int = -1) -> bytes:
        return kernel.history_json(self.segments, hashx, start, end)

    def unspent_json(self, hashx: bytes, excluded: bytes) -> bytes:
        return kernel.unspent_json(self.segments, hashx, excluded)


class TouchedPiece:
    """Implements `Touched` for the piece of one block."""

    def __init__(self, piece: Piece, inputs: bytes) -> None:
        self._piece = piece
        self._inputs = inputs

    @cached_property
    def scripts(self) -> set[bytes]:
        return kernel.names(self._piece.parts[5])

    @property
    def tx_hashes(self) -> list[bytes]:
        txids = bytes(self._piece.parts[3])
        return [txids[at : at + 32] for at in range(0, len(txids), 32)]

    @property
    def spent(self) -> list[tuple[bytes, int]]:
        return [(prev, vout) for prev, vout, _ in INPUT.iter_unpack(self._inputs)]
