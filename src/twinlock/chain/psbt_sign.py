"""What signers and finalizers do with a PSBT (BIP 174): add signatures, close inputs, take the transaction out.

Kinds of outputs: P2PK, P2PKH, P2WPKH and multisig, bare, inside P2SH, P2WSH or both; Taproot by its key.
Signatures cover the whole transaction, and a PSBT that asks for anything else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from twinlock.chain import keys, script, sighash, taproot
from twinlock.chain.bip32 import HDKey
from twinlock.chain.errors import ChainError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.psbt import In, Psbt, PsbtError, field, witness_stack, witness_value
from twinlock.chain.script import Kind
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.kernels.ripemd160 import hash160


class Lock(msgspec.Struct, frozen=True):
    """How an input is unlocked. inner: the script that the signatures satisfy; segwit: they stand in the witness."""

    out: TxOut
    inner: bytes
    segwit: bool
    redeem: bytes = b""
    witness: bytes = b""


def lock_of(psbt: Psbt, index: int) -> Lock:
    """Reads the scripts of an input. Raises PsbtError if one is missing or not the output's."""
    out = psbt.spent(index)
    if out is None:
        raise PsbtError("the PSBT does not tell what an input spends", numbers={"input": index})
    inner, segwit, redeem, witness = out.script, False, b"", b""
    if script.kind(inner) is Kind.P2SH:
        redeem = psbt.get(index, In.REDEEM_SCRIPT) or b""
        _require(script.p2sh_of(redeem) == inner, "the redeem script is not the output's", index)
        inner = redeem
    if script.kind(inner) is Kind.P2WSH:
        witness = psbt.get(index, In.WITNESS_SCRIPT) or b""
        _require(script.p2wsh(witness) == inner, "the witness script is not the output's", index)
        inner, segwit = witness, True
    elif script.kind(inner) is Kind.P2WPKH:
        inner, segwit = script.p2pkh(inner[2:]), True
    if not segwit and script.kind(inner) is not Kind.P2TR and psbt.get(index, In.WHOLE_TX) is None:
        # Its signature does not cover the amount, so only the transaction itself is proof of it.
        raise PsbtError("an old input comes without its transaction", numbers={"input": index})
    return Lock(out, inner, segwit, redeem, witness)


def digest(psbt: Psbt, index: int, lock: Lock) -> bytes:
    """What a signature of the input covers: everything."""
    if script.kind(lock.inner) is Kind.P2TR:
        spent = [psbt.spent(i) for i in range(len(psbt.inputs))]
        known = [out for out in spent if out is not None]
        _require(len(known) == len(spent), "a Taproot signature covers what every input spends", index)
        return taproot.digest(psbt.tx, index, known)
    if lock.segwit:
        return sighash.segwit_v0_digest(psbt.tx, index, lock.inner, lock.out.value)
    return sighash.legacy_digest(psbt.tx, index, lock.inner)


def sign(psbt: Psbt, index: int, key: PrivateKey) -> Psbt:
    """Add the signature of a key (for Taproot: of the internal key). Raises PsbtError if the key is not the input's."""
    lock = lock_of(psbt, index)
    if script.kind(lock.inner) is Kind.P2TR:
        _require(taproot.output_script(key.public) == lock.inner, "the key is not this input's", index)
        _check_hash_type(psbt, index, (taproot.DEFAULT, sighash.ALL))
        signature = taproot.sign_schnorr(taproot.tweaked(key), digest(psbt, index, lock))
        return psbt.with_input(index, {field(In.TAP_SIGNATURE): signature})
    _require(key.public in _wanted(lock.inner, [key.public]), "the key is not this input's", index)
    _check_hash_type(psbt, index, (sighash.ALL,))
    signature = key.sign(digest(psbt, index, lock)) + bytes((sighash.ALL,))
    return psbt.with_input(index, {field(In.SIGNATURE, key.public): signature})


def sign_with(psbt: Psbt, root: HDKey) -> Psbt:
    """Add every signature that the PSBT asks of keys below `root`, as a signer away from any network does."""
    for index in range(len(psbt.inputs)):
        for public, origin in psbt.origins(index).items():
            if origin.fingerprint == root.fingerprint and not is_final(psbt, index):
                key = root.derive(origin.path).secret_key
                _require(key.public[-len(public) :] == public, "a key is not where the PSBT says", index)
                psbt = sign(psbt, index, key)
    return psbt


def finalize(psbt: Psbt) -> Psbt:
    """Close every input: check its signatures and put them into place. Raises PsbtError where one is missing."""
    for index in range(len(psbt.inputs)):
        if not is_final(psbt, index):
            psbt = _finalize(psbt, index)
    return psbt


def is_final(psbt: Psbt, index: int) -> bool:
    """Is the input closed?"""
    return bool(psbt.get(index, In.FINAL_SCRIPT) or psbt.get(index, In.FINAL_WITNESS))


def extract(psbt: Psbt) -> Tx:
    """The transaction that can be broadcast. Raises PsbtError unless every input is closed."""
    inputs = []
    for index, txin in enumerate(psbt.tx.inputs):
        _require(is_final(psbt, index), "an input is not signed", index)
        unlocking = psbt.get(index, In.FINAL_SCRIPT) or b""
        witness = witness_stack(psbt.get(index, In.FINAL_WITNESS) or b"\0")
        inputs.append(TxIn(txin.prev_hash, txin.prev_index, unlocking, txin.sequence, witness))
    return Tx(psbt.tx.version, tuple(inputs), psbt.tx.outputs, psbt.tx.lock_time)


def _finalize(psbt: Psbt, index: int) -> Psbt:
    lock = lock_of(psbt, index)
    hashed = digest(psbt, index, lock)
    if script.kind(lock.inner) is Kind.P2TR:
        signature = psbt.get(index, In.TAP_SIGNATURE) or b""
        good = len(signature) == taproot.SIGNATURE and taproot.verify_schnorr(lock.inner[2:], hashed, signature)
        _require(good, "the signature is missing or wrong", index)
        return _closed(psbt, index, (), (signature,))
    stack = _stack(psbt, index, lock.inner, hashed)
    if lock.segwit:
        unlocking = (lock.redeem,) if lock.redeem else ()
        return _closed(psbt, index, unlocking, (*stack, lock.witness) if lock.witness else stack)
    return _closed(psbt, index, (*stack, lock.redeem) if lock.redeem else stack, ())


def _stack(psbt: Psbt, index: int, inner: bytes, hashed: bytes) -> tuple[bytes, ...]:
    """The signatures, and keys where the script has only their hash."""
    given = psbt.keyed(index, In.SIGNATURE)
    wanted = _wanted(inner, given)
    good = {key: given[key] for key in wanted if key in given and _verifies(key, hashed, given[key])}
    multisig = script.parse_multisig(inner)
    required = multisig[0] if multisig else 1
    _require(len(good) >= required, "a signature is missing or wrong", index)
    signatures = tuple(good.values())[:required]
    if multisig:
        return (b"", *signatures)  # OP_CHECKMULTISIG takes one element in vain
    return (*signatures, next(iter(good))) if script.kind(inner) is Kind.P2PKH else signatures


def _wanted(inner: bytes, candidates: Sequence[bytes] | dict[bytes, bytes]) -> tuple[bytes, ...]:
    """The public keys that may sign, in the script's order; of a hash, those candidates that have it."""
    match script.kind(inner):
        case Kind.P2PKH:
            return tuple(key for key in candidates if hash160(key) == inner[3:23])
        case Kind.P2PK:
            return (inner[1:-1],)
        case Kind.MULTISIG if (parsed := script.parse_multisig(inner)) is not None:
            return parsed[1]
    raise PsbtError("outputs of this kind cannot be signed for", code="chain.psbt.kind")


def _verifies(key: bytes, hashed: bytes, signature: bytes) -> bool:
    try:
        return signature[-1:] == bytes((sighash.ALL,)) and keys.verify(key, hashed, signature[:-1])
    except ChainError:
        return False


def _check_hash_type(psbt: Psbt, index: int, allowed: tuple[int, ...]) -> None:
    told = psbt.get(index, In.HASH_TYPE)
    if told is not None and int.from_bytes(told, "little") not in allowed:
        raise PsbtError("the PSBT asks for a signature that leaves parts open", code="chain.psbt.hash_type")


def _closed(psbt: Psbt, index: int, unlocking: tuple[bytes, ...], witness: tuple[bytes, ...]) -> Psbt:
    """A closed input keeps nothing but what it spends and its signatures' final form."""
    keep = (In.WHOLE_TX, In.SPENT_OUTPUT)
    gone = [key for key in psbt.inputs[index] if key[0] in tuple(In) and key[0] not in keep]
    fields = {}
    if unlocking:
        fields[field(In.FINAL_SCRIPT)] = b"".join(map(script.push_shortest, unlocking))
    if witness:
        fields[field(In.FINAL_WITNESS)] = witness_value(witness)
    return psbt.with_input(index, fields, without=gone)


def _require(holds: bool, why: str, index: int) -> None:
    if not holds:
        raise PsbtError(why, numbers={"input": index})
