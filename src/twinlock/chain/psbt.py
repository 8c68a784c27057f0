"""Partially signed transactions, version 0 (BIP 174, with BIP 371's fields for Taproot key paths).

A PSBT is an unsigned transaction and one map of fields for the whole, for each input and for each output. Fields that
are not known here are kept as they came. What a signer does with it stands in `psbt_sign`.

>>> from twinlock.chain.tx import TxIn, TxOut
>>> psbt = Psbt.of(Tx(2, (TxIn(bytes(32), 0),), (TxOut(5_000, bytes.fromhex("0014") + bytes(20)),)))
>>> Psbt.parse(psbt.text) == psbt
True
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

import msgspec

from twinlock.chain.errors import ChainError
from twinlock.chain.tx import MAX_MONEY, Tx, TxIn, TxOut
from twinlock.chain.wire import Reader, compact, var_bytes

MAGIC = b"psbt\xff"
MAX_SIZE = 4_000_000
"""Bytes: more than any transaction that nodes relay needs."""

Fields = Mapping[bytes, bytes]
"""From key (its type, then its data) to value."""

UNSIGNED_TX = b"\x00"
VERSION = b"\xfb"


class PsbtError(ChainError):
    """A PSBT breaks its rules, or does not hold what is needed."""

    code = "chain.psbt"


class In(IntEnum):
    """Types of an input's fields."""

    WHOLE_TX = 0x00
    SPENT_OUTPUT = 0x01
    SIGNATURE = 0x02
    HASH_TYPE = 0x03
    REDEEM_SCRIPT = 0x04
    WITNESS_SCRIPT = 0x05
    DERIVATION = 0x06
    FINAL_SCRIPT = 0x07
    FINAL_WITNESS = 0x08
    TAP_SIGNATURE = 0x13
    TAP_DERIVATION = 0x16
    TAP_KEY = 0x17


class Out(IntEnum):
    """Types of an output's fields."""

    REDEEM_SCRIPT = 0x00
    WITNESS_SCRIPT = 0x01
    DERIVATION = 0x02
    TAP_KEY = 0x05
    TAP_DERIVATION = 0x07


_KEY_SIZES: dict[int, tuple[int, ...]] = {In.SIGNATURE: (33, 65), In.DERIVATION: (33, 65), In.TAP_DERIVATION: (32,)}
"""Bytes of data behind the type of a key; types that are known and not here have none."""

_OUT_KEY_SIZES: dict[int, tuple[int, ...]] = {Out.DERIVATION: (33, 65), Out.TAP_DERIVATION: (32,)}


class Origin(msgspec.Struct, frozen=True):
    """Where a key comes from. fingerprint: of its root, 4 bytes; path: indices, with the hardened bit."""

    fingerprint: bytes
    path: tuple[int, ...]

    def serialize(self) -> bytes:
        return self.fingerprint + b"".join(step.to_bytes(4, "little") for step in self.path)

    @classmethod
    def parse(cls, raw: bytes) -> Origin:
        """Raises PsbtError."""
        if len(raw) < 4 or len(raw) % 4:
            raise PsbtError("a key's origin has four bytes for its root and four for each step")
        return cls(raw[:4], tuple(int.from_bytes(raw[i : i + 4], "little") for i in range(4, len(raw), 4)))


class Psbt(msgspec.Struct, frozen=True):
    """tx: without any signature. whole: fields of the transaction besides it. inputs, outputs: one map for each."""

    tx: Tx
    whole: Fields
    inputs: tuple[Fields, ...]
    outputs: tuple[Fields, ...]

    @classmethod
    def of(cls, tx: Tx) -> Psbt:
        """Empty maps around a transaction, whose signatures are left out."""
        bare = tuple(TxIn(txin.prev_hash, txin.prev_index, b"", txin.sequence) for txin in tx.inputs)
        unsigned = Tx(tx.version, bare, tx.outputs, tx.lock_time)
        return cls(unsigned, {}, tuple({} for _ in tx.inputs), tuple({} for _ in tx.outputs))

    @classmethod
    def parse(cls, data: bytes | str) -> Psbt:
        """From bytes, or from Base64 text. Raises PsbtError, MalformedError."""
        reader = Reader(_decoded(data))
        if reader.left < len(MAGIC) or reader.take(len(MAGIC)) != MAGIC:
            raise PsbtError("this is no PSBT: it does not begin as one does")
        whole = _read_map(reader)
        raw = whole.pop(UNSIGNED_TX, None)
        version = whole.get(VERSION, bytes(4))
        if raw is None or int.from_bytes(version, "little"):
            raise PsbtError("only PSBTs of version 0 are understood", code="chain.psbt.version")
        tx = _parse_unsigned(raw)
        inputs = tuple(_checked(_read_map(reader), In, _KEY_SIZES) for _ in tx.inputs)
        outputs = tuple(_checked(_read_map(reader), Out, _OUT_KEY_SIZES) for _ in tx.outputs)
        reader.done()
        psbt = cls(tx, whole, inputs, outputs)
        for index in range(len(inputs)):
            psbt.spent(index)
            psbt.origins(index)
        return psbt

    def serialize(self) -> bytes:
        """The bytes; keys stand in rising order."""
        whole = {UNSIGNED_TX: self.tx.serialize(witness=False), **self.whole}
        return MAGIC + b"".join(_write_map(fields) for fields in (whole, *self.inputs, *self.outputs))

    @property
    def text(self) -> str:
        """Base64, as people pass it on."""
        return base64.b64encode(self.serialize()).decode()

    def get(self, index: int, kind: In) -> bytes | None:
        """A field of an input."""
        return self.inputs[index].get(bytes((kind,)))

    def keyed(self, index: int, kind: In) -> dict[bytes, bytes]:
        """The fields of one type of an input by the data of their keys, such as signatures by public key."""
        return {key[1:]: value for key, value in self.inputs[index].items() if key[0] == kind}

    def origins(self, index: int) -> dict[bytes, Origin]:
        """Public keys of an input (33 bytes, or 32 for Taproot) and where they come from. Raises PsbtError."""
        found = {key: Origin.parse(value) for key, value in self.keyed(index, In.DERIVATION).items()}
        for key, value in self.keyed(index, In.TAP_DERIVATION).items():
            reader = Reader(value)
            reader.take(32 * reader.count(32))  # leaves that the key may sign for: none of ours
            found[key] = Origin.parse(reader.take(reader.left))
        return found

    def spent(self, index: int) -> TxOut | None:
        """The output that an input spends, if the PSBT tells. Raises PsbtError where it contradicts itself."""
        txin, told = self.tx.inputs[index], self.get(index, In.SPENT_OUTPUT)
        out = _parse_output(told) if told is not None else None
        whole = self.get(index, In.WHOLE_TX)
        if whole is not None:
            tx = Tx.parse(whole)
            if tx.hash != txin.prev_hash or txin.prev_index >= len(tx.outputs):
                raise PsbtError("a transaction in the PSBT is not the one that its input spends")
            if out is not None and out != tx.outputs[txin.prev_index]:
                raise PsbtError("an input's output is told in two ways")
            out = tx.outputs[txin.prev_index]
        if out is not None and out.value > MAX_MONEY:
            raise PsbtError("no coin has that much money", numbers={"value": out.value})
        return out

    @property
    def fee(self) -> int | None:
        """Atoms; None while it is not told what every input spends."""
        spent = [self.spent(index) for index in range(len(self.inputs))]
        if any(out is None for out in spent):
            return None
        return sum(out.value for out in spent if out is not None) - self.tx.total_out

    def with_input(self, index: int, fields: Fields, *, without: Iterable[bytes] = ()) -> Psbt:
        """The same with these fields of an input added, and others taken away."""
        gone = set(without)
        kept = {key: value for key, value in self.inputs[index].items() if key not in gone}
        changed = {**kept, **fields}
        return msgspec.structs.replace(self, inputs=(*self.inputs[:index], changed, *self.inputs[index + 1 :]))

    def with_output(self, index: int, fields: Fields) -> Psbt:
        """The same with these fields of an output added."""
        changed = {**self.outputs[index], **fields}
        return msgspec.structs.replace(self, outputs=(*self.outputs[:index], changed, *self.outputs[index + 1 :]))

    def combined(self, other: Psbt) -> Psbt:
        """What two signers made of the same transaction, together. Raises PsbtError if it is not the same."""
        if self.tx != other.tx:
            raise PsbtError("the PSBTs are of two transactions", fault="user")
        return Psbt(
            self.tx,
            {**self.whole, **other.whole},
            tuple({**mine, **theirs} for mine, theirs in zip(self.inputs, other.inputs, strict=True)),
            tuple({**mine, **theirs} for mine, theirs in zip(self.outputs, other.outputs, strict=True)),
        )


def field(kind: In | Out, data: bytes = b"") -> bytes:
    """The key of a field."""
    return bytes((kind,)) + data


def _decoded(data: bytes | str) -> bytes:
    if isinstance(data, str) or not data.startswith(MAGIC):
        try:
            data = base64.b64decode("".join(data.split()) if isinstance(data, str) else data.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise PsbtError("this is no PSBT, neither bytes nor Base64") from error
    if len(data) > MAX_SIZE:
        raise PsbtError("the PSBT is too large", numbers={"size": len(data), "limit": MAX_SIZE})
    return data


def _parse_unsigned(raw: bytes) -> Tx:
    # A transaction without inputs looks like one with witnesses; such a PSBT has nothing to sign and is refused.
    tx = Tx.parse(raw)
    if not tx.inputs or any(txin.script or txin.witness for txin in tx.inputs) or tx.mweb is not None:
        raise PsbtError("the transaction of a PSBT has inputs, and none of them is signed")
    return tx


def _parse_output(raw: bytes) -> TxOut:
    reader = Reader(raw)
    out = TxOut(reader.uint(8), reader.var_bytes())
    reader.done()
    return out


def _read_map(reader: Reader) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    while key := reader.var_bytes():
        if key in fields:
            raise PsbtError("a key stands twice in one map of the PSBT")
        fields[key] = reader.var_bytes()
    return fields


def _checked(fields: dict[bytes, bytes], kinds: Callable[[int], IntEnum], sizes: dict[int, tuple[int, ...]]) -> Fields:
    for key, value in fields.items():
        try:
            kind = kinds(key[0])
        except ValueError:
            continue  # of a later BIP, or somebody's own
        if len(key) - 1 not in sizes.get(kind, (0,)):
            raise PsbtError("a key of the PSBT has a wrong length", numbers={"type": key[0], "size": len(key)})
        if isinstance(kind, In):
            _check_value(kind, value)
    return fields


def _check_value(kind: In, value: bytes) -> None:
    sizes: dict[In, Iterable[int]] = {In.HASH_TYPE: (4,), In.TAP_KEY: (32,), In.TAP_SIGNATURE: (64, 65)}
    if kind in sizes and len(value) not in sizes[kind]:
        raise PsbtError("a value of the PSBT has a wrong length", numbers={"type": int(kind), "size": len(value)})
    if kind is In.FINAL_WITNESS:
        witness_stack(value)


def witness_stack(value: bytes) -> tuple[bytes, ...]:
    """The elements of a finished input's witness. Raises MalformedError."""
    reader = Reader(value)
    stack = tuple(reader.var_bytes() for _ in range(reader.count(1)))
    reader.done()
    return stack


def witness_value(stack: Iterable[bytes]) -> bytes:
    """The same as a field's value."""
    elements = tuple(stack)
    return compact(len(elements)) + b"".join(map(var_bytes, elements))


def _write_map(fields: Fields) -> bytes:
    return b"".join(var_bytes(key) + var_bytes(value) for key, value in sorted(fields.items())) + b"\0"
