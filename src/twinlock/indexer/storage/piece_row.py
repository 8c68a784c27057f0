"""A row of pieces, oldest first, as wallets ask about it: newer ones take away from older ones."""

from __future__ import annotations

from bisect import bisect_right

from twinlock.indexer.storage.piece import Piece, Snapshot
from twinlock.indexer.storage.seam import Output, Place, Spot, Unspent
from twinlock.kernels import index as kernel
from twinlock.kernels.scan import sha256d


class PieceRow:
    """Implements `Index`. Whoever changes `_pieces` calls `_renew`."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._firsts: list[int] = []
        self.segments: tuple[kernel.Segment, ...] = ()

    def _renew(self) -> None:
        self._firsts = [piece.first_height for piece in self._pieces]
        self.segments = tuple(piece.segment for piece in self._pieces)

    def _push(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._renew()

    # -- the chain

    @property
    def height(self) -> int:
        return self._pieces[-1].last_height if self._pieces else -1

    @property
    def tx_count(self) -> int:
        """Transactions in the chain."""
        return self._pieces[-1].first_tx + self._pieces[-1].txs if self._pieces else 0

    def _piece(self, height: int) -> Piece:
        return self._pieces[bisect_right(self._firsts, height) - 1]

    def block_hash(self, height: int) -> bytes:
        return sha256d(self.header(height)[:80])

    def header(self, height: int) -> bytes:
        return self._piece(height).header(height)

    def headers(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            piece = self._piece(start)
            until = min(end, piece.last_height + 1)
            parts.append(piece.headers(start, until))
            start = until
        return b"".join(parts)

    def spot(self, height: int) -> Spot | None:
        return self._piece(height).spot(height)

    def tx_hashes(self, height: int) -> bytes:
        return self._piece(height).tx_hashes(height)

    def tx_span(self, height: int, position: int) -> tuple[int, int]:
        return self._piece(height).tx_span(height, position)

    def find(self, tx_hash: bytes) -> Place | None:
        found = kernel.find(self.segments, tx_hash)
        return Place(*found) if found else None

    # -- scripts

    def history(self, hashx: bytes, start: int = 0, end: int = -1, most: int = 0) -> list[tuple[bytes, int]]:
        return list(kernel.HISTORY_ROW.iter_unpack(kernel.history(self.segments, hashx, start, end, most)))

    def unspent(self, hashx: bytes) -> list[Unspent]:
        return [Unspent(*row) for row in kernel.UNSPENT_ROW.iter_unpack(kernel.unspent(self.segments, hashx, b""))]

    def balance(self, hashx: bytes) -> int:
        return kernel.balance(self.segments, hashx)

    def status(self, hashx: bytes, tail: bytes, progress: bytes = b"") -> tuple[str | None, bytes]:
        return kernel.status(self.segments, hashx, tail, progress)

    def history_size(self, hashx: bytes, start: int = 0, end: int = -1) -> int:
        return kernel.history_size(self.segments, hashx, start, end)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.segments)

    def history_json(self, hashx: bytes, start: int = 0, end: int = -1) -> bytes:
        return kernel.history_json(self.segments, hashx, start, end)

    def unspent_json(self, hashx: bytes, excluded: bytes) -> bytes:
        return kernel.unspent_json(self.segments, hashx, excluded)

    def output(self, tx_hash: bytes, vout: int) -> Output | None:
        found = kernel.output(self.segments, tx_hash, vout)
        return Output(*found) if found else None
