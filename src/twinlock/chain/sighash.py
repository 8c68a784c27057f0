"""What a signature of an input signs: the original digest, and that of witness version 0 (BIP 143)."""

from __future__ import annotations

from twinlock.chain.errors import ScriptError
from twinlock.chain.script import Op, elements
from twinlock.chain.tx import Tx
from twinlock.chain.wire import compact, var_bytes
from twinlock.kernels.sha256d import sha256d

ALL = 1
NONE = 2
SINGLE = 3
ANYONECANPAY = 0x80

_ONE = (1).to_bytes(32, "little")
_NO_HASH = bytes(32)


def legacy_digest(tx: Tx, index: int, script_code: bytes, hash_type: int = ALL) -> bytes:
    """The 32 bytes that a signature in a signature script covers.

    script_code: the output script being spent, or for P2SH the redeem script. hash_type: any 32-bit
    number; its odd values behave as in consensus. Raises ScriptError if there is no such input.
    """
    _check_index(tx, index)
    base = hash_type & 0x1F
    if base == SINGLE and index >= len(tx.outputs):
        # The oldest nodes signed the number one here, so everybody still does.
        return _ONE
    code = var_bytes(_without_separators(script_code))
    single_input = bool(hash_type & ANYONECANPAY)
    parts = [tx.version.to_bytes(4, "little"), compact(1 if single_input else len(tx.inputs))]
    for i, txin in enumerate(tx.inputs):
        if single_input and i != index:
            continue
        sequence = txin.sequence if i == index or base not in (NONE, SINGLE) else 0
        parts += [
            txin.prev_hash,
            txin.prev_index.to_bytes(4, "little"),
            code if i == index else b"\0",
            sequence.to_bytes(4, "little"),
        ]
    parts += [_legacy_outputs(tx, index, base), tx.lock_time.to_bytes(4, "little"), _type_bytes(hash_type)]
    return sha256d(b"".join(parts))


def segwit_v0_digest(tx: Tx, index: int, script_code: bytes, value: int, hash_type: int = ALL) -> bytes:
    """The 32 bytes that a signature in a version 0 witness covers (BIP 143).

    script_code: the witness script, or for P2WPKH the P2PKH script of its hash. value: atoms of the
    output being spent. Raises ScriptError if there is no such input.
    """
    _check_index(tx, index)
    base = hash_type & 0x1F
    anyone = bool(hash_type & ANYONECANPAY)
    txin = tx.inputs[index]
    outpoints = sequences = outputs = _NO_HASH
    if not anyone:
        outpoints = sha256d(b"".join(i.prev_hash + i.prev_index.to_bytes(4, "little") for i in tx.inputs))
        if base not in (NONE, SINGLE):
            sequences = sha256d(b"".join(i.sequence.to_bytes(4, "little") for i in tx.inputs))
    if base not in (NONE, SINGLE):
        outputs = sha256d(b"".join(out.serialize() for out in tx.outputs))
    elif base == SINGLE and index < len(tx.outputs):
        outputs = sha256d(tx.outputs[index].serialize())
    return sha256d(
        b"".join(
            (
                tx.version.to_bytes(4, "little"),
                outpoints,
                sequences,
                txin.prev_hash,
                txin.prev_index.to_bytes(4, "little"),
                var_bytes(script_code),
                value.to_bytes(8, "little"),
                txin.sequence.to_bytes(4, "little"),
                outputs,
                tx.lock_time.to_bytes(4, "little"),
                _type_bytes(hash_type),
            )
        )
    )


def _legacy_outputs(tx: Tx, index: int, base: int) -> bytes:
    if base == NONE:
        return compact(0)
    if base == SINGLE:
        blank = (b"\xff" * 8 + b"\0") * index
        return compact(index + 1) + blank + tx.outputs[index].serialize()
    return compact(len(tx.outputs)) + b"".join(out.serialize() for out in tx.outputs)


def _without_separators(code: bytes) -> bytes:
    if Op.CODESEPARATOR not in code:
        return code
    kept, start = [], 0
    try:
        for element in elements(code):
            if element.opcode != Op.CODESEPARATOR:
                kept.append(code[start : element.end])
            start = element.end
    except ScriptError:
        # What follows the last readable instruction is signed as it stands.
        pass
    kept.append(code[start:])
    return b"".join(kept)


def _type_bytes(hash_type: int) -> bytes:
    return (hash_type & 0xFFFFFFFF).to_bytes(4, "little")


def _check_index(tx: Tx, index: int) -> None:
    if not 0 <= index < len(tx.inputs):
        raise ScriptError("there is no such input", numbers={"index": index, "inputs": len(tx.inputs)})
