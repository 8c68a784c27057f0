"""The index in plain dictionaries: the fake that tests use, and the slow oracle that the real one is compared with."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import NamedTuple

import msgspec

from twinlock.indexer.storage.seam import Output, Place, Spot, Unspent
from twinlock.kernels.index import POINT
from twinlock.kernels.scan import INPUT, OUTPUT, Scan

Outpoint = tuple[bytes, int]


class TouchedSets(NamedTuple):
    """Implements `Touched`."""

    scripts: set[bytes]
    tx_hashes: list[bytes]
    spent: list[Outpoint]


class MemoryStorage:
    """Implements `Storage` with the most obvious data structures."""

    def __init__(self) -> None:
        self._blocks: list[tuple[bytes, Scan, list[tuple[Outpoint, Output]]]] = []
        self._spots: list[Spot | None] = []
        self._places: dict[bytes, list[Place]] = {}
        self._outputs: dict[Outpoint, Output] = {}
        self._history: dict[bytes, list[tuple[int, int, bytes]]] = {}
        self._unspent: dict[bytes, dict[Outpoint, Unspent]] = {}

    @property
    def height(self) -> int:
        return len(self._blocks) - 1

    def block_hash(self, height: int) -> bytes:
        return self._blocks[height][0]

    def header(self, height: int) -> bytes:
        return self._blocks[height][1].header

    def headers(self, start: int, end: int) -> bytes:
        return b"".join(self.header(height) for height in range(start, end))

    def spot(self, height: int) -> Spot | None:
        return self._spots[height]

    def history(self, hashx: bytes, start: int = 0, end: int = -1, most: int = 0) -> list[tuple[bytes, int]]:
        rows = [(tx_hash, height) for height, _, tx_hash in self._history.get(hashx, ())]
        rows = [row for row in rows if start <= row[1] and (end < 0 or row[1] < end)]
        return rows[: most or None]

    def unspent(self, hashx: bytes) -> list[Unspent]:
        return sorted(self._unspent.get(hashx, {}).values(), key=lambda u: (u.height, u.position, u.vout))

    def balance(self, hashx: bytes) -> int:
        return sum(u.value for u in self._unspent.get(hashx, {}).values())

    def output(self, tx_hash: bytes, vout: int) -> Output | None:
        return self._outputs.get((tx_hash, vout))

    def status(self, hashx: bytes, tail: bytes, progress: bytes = b"") -> tuple[str | None, bytes]:
        text = "".join(f"{tx[::-1].hex()}:{height}:" for tx, height in self.history(hashx)).encode() + tail
        return (sha256(text).hexdigest() if text else None), progress

    def snapshot(self) -> MemoryStorage:
        return self

    def history_size(self, hashx: bytes, start: int = 0, end: int = -1) -> int:
        return len(self.history(hashx, start, end))

    def history_json(self, hashx: bytes, start: int = 0, end: int = -1) -> bytes:
        rows = [{"height": height, "tx_hash": tx[::-1].hex()} for tx, height in self.history(hashx, start, end)]
        return msgspec.json.encode(rows)

    def unspent_json(self, hashx: bytes, excluded: bytes) -> bytes:
        gone = set(POINT.iter_unpack(excluded))
        rows = [
            {"height": u.height, "tx_hash": u.tx_hash[::-1].hex(), "tx_pos": u.vout, "value": u.value}
            for u in self.unspent(hashx)
            if (u.tx_hash, u.vout) not in gone
        ]
        return msgspec.json.encode(rows)

    def find(self, tx_hash: bytes) -> Place | None:
        places = self._places.get(tx_hash)
        return places[-1] if places else None

    def tx_hashes(self, height: int) -> bytes:
        return self._blocks[height][1].txids

    def tx_span(self, height: int, position: int) -> tuple[int, int]:
        start, end = struct.unpack_from("<2I", self._blocks[height][1].offsets, 4 * position)
        return start, end - start

    def append(self, block_hash: bytes, scan: Scan, spot: Spot | None = None) -> TouchedSets:
        height = len(self._blocks)
        hashes = [scan.txids[i : i + 32] for i in range(0, len(scan.txids), 32)]
        for position, tx_hash in enumerate(hashes):
            self._places.setdefault(tx_hash, []).append(Place(height, position))
        touches: set[tuple[int, bytes]] = set()
        if height:  # nobody can spend the first block's coinbase, and no server shows it
            for position, vout, value, hashx in OUTPUT.iter_unpack(scan.outputs):
                point = hashes[position], vout
                self._outputs[point] = Output(hashx, value)
                self._unspent.setdefault(hashx, {})[point] = Unspent(*point, height, position, value)
                touches.add((position, hashx))
        spent = []
        for prev, vout, position in INPUT.iter_unpack(scan.inputs):
            point = prev, vout
            output = self._outputs.pop(point)
            del self._unspent[output.hashx][point]
            spent.append((point, output))
            touches.add((position, output.hashx))
        for position, hashx in sorted(touches):
            self._history.setdefault(hashx, []).append((height, position, hashes[position]))
        self._blocks.append((block_hash, scan, spent))
        self._spots.append(spot)
        return TouchedSets({hashx for _, hashx in touches}, hashes, [point for point, _ in spent])

    def undo(self) -> TouchedSets:
        height = self.height
        _, scan, spent = self._blocks.pop()
        self._spots.pop()
        hashes = [scan.txids[i : i + 32] for i in range(0, len(scan.txids), 32)]
        scripts = {output.hashx for _, output in spent}
        for (tx_hash, vout), output in spent:
            place = self.find(tx_hash)
            assert place is not None
            self._outputs[tx_hash, vout] = output
            self._unspent[output.hashx][tx_hash, vout] = Unspent(tx_hash, vout, *place, output.value)
        for position, vout, _, hashx in OUTPUT.iter_unpack(scan.outputs if height else b""):
            del self._outputs[hashes[position], vout]
            del self._unspent[hashx][hashes[position], vout]
            scripts.add(hashx)
        for tx_hash in hashes:
            self._places[tx_hash].pop()
        for hashx in scripts:
            self._history[hashx] = [row for row in self._history[hashx] if row[0] < height]
        return TouchedSets(scripts, hashes, [point for point, _ in spent])

    def close(self) -> None:
        """Nothing to let go."""
