"""Transactions of Bitcoin-like chains, with witnesses (BIP 144) and Litecoin's MWEB flag.

>>> tx = Tx(version=2, inputs=(TxIn(bytes(32), 0),), outputs=(TxOut(5_000, b"\\x51"),))
>>> Tx.parse(tx.serialize()) == tx, tx.vsize
(True, 61)
"""

from __future__ import annotations

import msgspec

from twinlock.chain.errors import MalformedError
from twinlock.chain.terms import CoinPoint
from twinlock.chain.wire import Reader, compact, compact_len, var_bytes
from twinlock.kernels.sha256d import sha256d

FINAL = 0xFFFFFFFF
"""The sequence of an input that neither lock times nor replacement concern."""

MAX_MONEY = 10_000_000_000 * 100_000_000
"""Upper bound of any amount on any built-in chain (Dogecoin's), in atoms."""

_WITNESS = 1
_MWEB = 8
_MIN_INPUT = 41
_MIN_OUTPUT = 9


class TxIn(msgspec.Struct, frozen=True):
    """prev_hash: 32 bytes, internal order. witness: its stack, bottom first."""

    prev_hash: bytes
    prev_index: int
    script: bytes = b""
    sequence: int = FINAL
    witness: tuple[bytes, ...] = ()

    @property
    def point(self) -> CoinPoint:
        """The output that this input spends."""
        return CoinPoint(self.prev_hash, self.prev_index)


class TxOut(msgspec.Struct, frozen=True):
    """value: atoms."""

    value: int
    script: bytes

    def serialize(self) -> bytes:
        return self.value.to_bytes(8, "little") + var_bytes(self.script)


class Tx(msgspec.Struct, frozen=True):
    """A transaction. `mweb` holds the bytes between witnesses and lock time where flag 8 is set.

    One zero byte there marks the HogEx, with which each Litecoin block's transactions end; anything
    else is a transaction of the extension block, kept unread.
    """

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int = 0
    mweb: bytes | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Tx:
        """Exactly one transaction. Raises MalformedError."""
        reader = Reader(raw)
        tx = cls.read(reader, alone=True)
        reader.done()
        return tx

    @classmethod
    def read(cls, reader: Reader, *, alone: bool = False) -> Tx:
        """The transaction at the reader's place; `alone` says that the data ends with it.

        Inside a block an MWEB part can only be the HogEx's zero byte; alone it may have any length.
        Raises MalformedError.
        """
        version = reader.uint(4)
        flags = 0
        count = reader.count(_MIN_INPUT)
        if count == 0:
            flags = _check_flags(reader.uint(1))
            if flags:
                count = reader.count(_MIN_INPUT)
        inputs = [_read_input(reader) for _ in range(count)]
        # A zero where the flags would stand is an empty list of outputs behind an empty list of inputs.
        outputs = [_read_output(reader) for _ in range(reader.count(_MIN_OUTPUT))] if inputs or flags else []
        if flags & _WITNESS:
            inputs = _read_witnesses(reader, inputs)
        mweb = _read_mweb(reader, alone) if flags & _MWEB else None
        return cls(version, tuple(inputs), tuple(outputs), reader.uint(4), mweb)

    def serialize(self, *, witness: bool = True) -> bytes:
        """The bytes; with `witness=False` those that the transaction ID covers."""
        flags = self._flags() if witness else 0
        parts = [self.version.to_bytes(4, "little")]
        if flags:
            parts.append(bytes((0, flags)))
        parts.append(compact(len(self.inputs)))
        parts += [
            _outpoint(txin) + var_bytes(txin.script) + txin.sequence.to_bytes(4, "little") for txin in self.inputs
        ]
        parts.append(compact(len(self.outputs)))
        parts += [txout.serialize() for txout in self.outputs]
        if flags & _WITNESS:
            parts += [
                compact(len(txin.witness)) + b"".join(var_bytes(item) for item in txin.witness) for txin in self.inputs
            ]
        if flags & _MWEB:
            parts.append(self.mweb or b"\0")
        parts.append(self.lock_time.to_bytes(4, "little"))
        return b"".join(parts)

    @property
    def hash(self) -> bytes:
        """sha256d without witness, internal order."""
        return sha256d(self.serialize(witness=False))

    @property
    def txid(self) -> str:
        """`hash` as people write it: reversed hex."""
        return self.hash[::-1].hex()

    @property
    def wtxid(self) -> str:
        """Reversed hex of sha256d of all bytes."""
        return sha256d(self.serialize())[::-1].hex()

    @property
    def weight(self) -> int:
        """Three times the size without witness plus the whole size (BIP 141); MWEB bytes do not count."""
        base = len(self.serialize(witness=False))
        if not self._flags() & _WITNESS:
            return 4 * base
        return 4 * base + 2 + sum(_witness_size(txin) for txin in self.inputs)

    @property
    def vsize(self) -> int:
        """ceil(weight / 4)."""
        return (self.weight + 3) // 4

    @property
    def is_coinbase(self) -> bool:
        """The one input spends nothing."""
        return len(self.inputs) == 1 and self.inputs[0].prev_index == FINAL and not any(self.inputs[0].prev_hash)

    @property
    def is_hogex(self) -> bool:
        """The transaction that carries MWEB's pegs in a Litecoin block."""
        return self.mweb == b"\0"

    @property
    def total_out(self) -> int:
        """Sum of the outputs in atoms."""
        return sum(txout.value for txout in self.outputs)

    def _flags(self) -> int:
        witness = _WITNESS if any(txin.witness for txin in self.inputs) else 0
        return witness | (_MWEB if self.mweb is not None else 0)


def _check_flags(flags: int) -> int:
    if flags & ~(_WITNESS | _MWEB):
        raise MalformedError("unknown transaction flag", numbers={"flags": flags}, code="chain.malformed.tx_flag")
    return flags


def _outpoint(txin: TxIn) -> bytes:
    return txin.prev_hash + txin.prev_index.to_bytes(4, "little")


def _witness_size(txin: TxIn) -> int:
    items = txin.witness
    return compact_len(len(items)) + sum(compact_len(len(item)) + len(item) for item in items)


def _read_input(reader: Reader) -> TxIn:
    outpoint = reader.take(36)
    return TxIn(outpoint[:32], int.from_bytes(outpoint[32:], "little"), reader.var_bytes(), reader.uint(4))


def _read_output(reader: Reader) -> TxOut:
    return TxOut(reader.uint(8), reader.var_bytes())


def _read_witnesses(reader: Reader, inputs: list[TxIn]) -> list[TxIn]:
    stacks = [tuple(reader.var_bytes() for _ in range(reader.count(1))) for _ in inputs]
    if not any(stacks):
        raise MalformedError("the witness flag is set without a witness", code="chain.malformed.superfluous_witness")
    return [
        TxIn(txin.prev_hash, txin.prev_index, txin.script, txin.sequence, stack)
        for txin, stack in zip(inputs, stacks, strict=True)
    ]


def _read_mweb(reader: Reader, alone: bool) -> bytes:
    size = max(reader.left - 4, 1) if alone else 1
    mweb = reader.take(size)
    if mweb[0] > 1 or (mweb[0] == 0) != (size == 1):
        raise MalformedError("the MWEB part is not one", code="chain.malformed.mweb")
    return mweb
