"""The plain twin of the block scanner: slow, short, and what the compiled one is tested against."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

from twinlock.kernels.sha256d import sha256d

HASHX = 11
"""Bytes of sha256(script) that name a script in the index."""

OUTPUT = struct.Struct("<IIQ11s5x")
"""An output row, 32 bytes: index of the transaction in its block, output number, value in atoms, hashX."""

INPUT = struct.Struct("<32sII")
"""An input row, 40 bytes: hash (internal order) and output number that it spends, index of the spender in its block."""

AUXPOW = 0x100
_WITNESS, _MWEB = 1, 8
_NULL = bytes(32)


class ScanError(ValueError):
    """The bytes are not a block (or a transaction): cut short, or counts that cannot be."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a block says about scripts and coins, as packed rows in block order.

    header: the block's header with its proof of work where that is part of it (AuxPoW), else 80 bytes.
    txids: 32 bytes a transaction, internal order.
    offsets: little-endian uint32, where each transaction begins in the block, and where the last one ends.
    outputs, inputs: rows of `OUTPUT` and `INPUT`; outputs that nobody can spend and coinbase inputs are left out.
    """

    header: bytes
    txids: bytes
    offsets: bytes
    outputs: bytes
    inputs: bytes

    @property
    def tx_count(self) -> int:
        """Transactions in the block."""
        return len(self.txids) // 32


def unspendable(script: bytes) -> bool:
    """Scripts that Electrum servers leave out: OP_RETURN first, or behind an OP_0."""
    return script[:1] == b"\x6a" or script[:2] == b"\x00\x6a"


def hashx(script: bytes) -> bytes:
    """The name of a script in the index: the first 11 bytes of its SHA-256."""
    return sha256(script).digest()[:HASHX]


class _Reader:
    """Reads the transaction format; every length is checked against what is left."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.raw):
            raise ScanError(f"{size} bytes wanted at {self.at} of {len(self.raw)}")
        piece = self.raw[self.at : end]
        self.at = end
        return piece

    def varint(self) -> int:
        first = self.take(1)[0]
        if first < 0xFD:
            return first
        return int.from_bytes(self.take(1 << (first - 0xFC)), "little")

    def count(self, least: int) -> int:
        """A count of things that take at least that many bytes each."""
        value = self.varint()
        if value * least > len(self.raw) - self.at:
            raise ScanError(f"{value} things announced with {len(self.raw) - self.at} bytes left")
        return value

    def text(self) -> bytes:
        return self.take(self.varint())


@dataclass(frozen=True, slots=True)
class ScannedTx:
    """One transaction: hash (internal order), outpoints spent, outputs as (value in atoms, script), sizes in bytes."""

    hash: bytes
    inputs: tuple[tuple[bytes, int], ...]
    outputs: tuple[tuple[int, bytes], ...]
    size: int
    vsize: int
    mweb: bool

    @property
    def sealed(self) -> bool:
        """Whether it stays inside the MWEB extension: it touches no script, and its ID hashes something else."""
        return self.mweb and not self.inputs and not self.outputs


def _read_tx(reader: _Reader, alone: bool) -> ScannedTx:
    """One transaction at the reader's position; `alone` when nothing follows it in the buffer.

    Alone, a transaction may carry a whole MWEB part, whose length only its own format tells: everything
    between the witness and the lock time (the last 4 bytes) is skipped.
    """
    start = reader.at
    version = reader.take(4)
    flag = 0
    if reader.raw[reader.at : reader.at + 1] == b"\0" and reader.raw[reader.at + 1 : reader.at + 2] not in (b"", b"\0"):
        flag = reader.take(2)[1]
    body = reader.at
    inputs = []
    for _ in range(reader.count(41)):
        prev = reader.take(32)
        inputs.append((prev, int.from_bytes(reader.take(4), "little")))
        reader.text()
        reader.take(4)
    outputs = []
    for _ in range(reader.count(9)):
        value = int.from_bytes(reader.take(8), "little")
        outputs.append((value, reader.text()))
    core = reader.raw[body : reader.at]
    if flag & _WITNESS:
        for _ in inputs:
            for _ in range(reader.count(1)):
                reader.text()
    if flag & ~(_WITNESS | _MWEB):
        raise ScanError(f"unknown transaction flag {flag}")
    if flag & _MWEB:
        if alone and len(reader.raw) - reader.at > 4:
            reader.at = len(reader.raw) - 4
        elif reader.take(1) != b"\0":
            raise ScanError("a whole MWEB transaction inside a block")
    lock = reader.take(4)
    base, size = 8 + len(core), reader.at - start
    plain = version + core + lock
    vsize = (3 * base + size + 3) // 4
    return ScannedTx(sha256d(plain), tuple(inputs), tuple(outputs), size, vsize, bool(flag & _MWEB))


def scan_tx(raw: bytes) -> ScannedTx:
    """One transaction as nodes send it."""
    reader = _Reader(raw)
    tx = _read_tx(reader, alone=True)
    if reader.at != len(raw):
        raise ScanError(f"{len(raw) - reader.at} bytes behind the transaction")
    return tx


def tx_hash(raw: bytes, /) -> bytes:
    """The hash (internal order) of one transaction. Raises ScanError (ValueError).

    That of one wholly inside the MWEB extension is another thing, which its part that we can read does not tell.
    """
    return scan_tx(raw).hash


def unmask(data: bytes | memoryview, key: bytes, offset: int, /) -> bytes:
    """Bytes of a node's block file from `offset` on without their mask: its 8-byte key, repeated from the file's start.

    Raises ValueError for a key of another size.

    >>> unmask(unmask(b"block", b"12345678", 3), b"12345678", 3)
    b'block'
    """
    if len(key) != 8:
        raise ValueError("the key has 8 bytes")
    turned = key[offset % 8 :] + key[: offset % 8]
    mask = turned * (len(data) // 8 + 1)
    size = len(data)
    number = int.from_bytes(data, "little") ^ int.from_bytes(mask[:size], "little")
    return number.to_bytes(size, "little")


def _read_header(reader: _Reader, auxpow: bool) -> bytes:
    """The header; with `auxpow`, and bit 0x100 of its version set, the parent's proof that follows it too."""
    header = reader.take(80)
    if auxpow and int.from_bytes(header[:4], "little") & AUXPOW:
        _read_tx(reader, alone=False)
        reader.take(32)
        for _ in range(2):
            reader.take(32 * reader.count(32) + 4)
        reader.take(80)
    return reader.raw[: reader.at]


def scan_block(raw: bytes, auxpow: bool = False) -> Scan:
    """Read a raw block once. What follows the transactions (an MWEB extension) is not looked at."""
    reader = _Reader(raw)
    header = _read_header(reader, auxpow)
    txids, offsets, outputs, inputs = [], [], [], []
    for index in range(reader.count(10)):
        offsets.append(reader.at)
        tx = _read_tx(reader, alone=False)
        txids.append(tx.hash)
        inputs += [INPUT.pack(prev, number, index) for prev, number in tx.inputs if prev != _NULL]
        outputs += [
            OUTPUT.pack(index, number, value, hashx(script))
            for number, (value, script) in enumerate(tx.outputs)
            if not unspendable(script)
        ]
    offsets.append(reader.at)
    packed = struct.pack(f"<{len(offsets)}I", *offsets)
    return Scan(header, b"".join(txids), packed, b"".join(outputs), b"".join(inputs))
