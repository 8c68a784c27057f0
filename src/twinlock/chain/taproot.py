"""Taproot outputs that one key spends: Schnorr signatures (BIP 340), tweaked keys and the digest (BIP 341), BIP 86.

Only the key path is made and signed here: an output of ours commits to no scripts.

>>> from twinlock.chain.keys import PrivateKey
>>> key = PrivateKey(bytes(31) + b"\\x03")
>>> output_script(key.public).hex()
'5120418c46636d9e1a683f58e35b42336e776fdcc3b2d4e39e7a0bf1ab0716e3c5fa'
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import coincurve

from twinlock.chain.errors import KeyFormatError, ScriptError
from twinlock.chain.keys import ORDER, PrivateKey
from twinlock.chain.script import Op
from twinlock.chain.sighash import ANYONECANPAY, NONE, SINGLE
from twinlock.chain.tx import Tx, TxOut
from twinlock.chain.wire import var_bytes

DEFAULT = 0
"""The hash type that covers everything and is not written behind the signature."""

SIGNATURE = 64
"""Bytes of a signature without hash type."""

_HASH_TYPES = (0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83)
_NO_RANDOMNESS = bytes(32)


def tagged_hash(tag: str, data: bytes) -> bytes:
    """SHA-256 of `data` in a domain of its own (BIP 340)."""
    return sha256(_tag(tag) + data).digest()


def tweak(internal: bytes, merkle_root: bytes = b"") -> bytes:
    """What is added to an internal key (32 bytes, x only): a commitment to it and to its scripts, if there are any."""
    return tagged_hash("TapTweak", internal + merkle_root)


def output_key(pubkey: bytes, merkle_root: bytes = b"") -> bytes:
    """The 32 bytes in the output of a public key (33 bytes, or 32 x only). Raises KeyFormatError."""
    internal = pubkey[-32:]
    try:
        key = coincurve.PublicKeyXOnly(internal)
        key.tweak_add(tweak(internal, merkle_root))
    except ValueError as error:
        raise KeyFormatError("the public key is not on the curve", code="chain.key.public") from error
    return bytes(key.format())


def output_script(pubkey: bytes) -> bytes:
    """The output that the holder of a public key spends without any script (BIP 86)."""
    return bytes((Op.TRUE, 32)) + output_key(pubkey)


def tweaked(key: PrivateKey, merkle_root: bytes = b"") -> PrivateKey:
    """The private key of the output of `key`."""
    secret = int.from_bytes(key.secret, "big")
    even = secret if key.public[0] == 2 else ORDER - secret
    added = even + int.from_bytes(tweak(key.public[1:], merkle_root), "big")
    return PrivateKey((added % ORDER).to_bytes(32, "big"))


def sign_schnorr(key: PrivateKey, digest: bytes, randomness: bytes = _NO_RANDOMNESS) -> bytes:
    """64 bytes (BIP 340); always the same for the same arguments."""
    if len(digest) != 32 or len(randomness) != 32:
        raise KeyFormatError("only 32-byte digests are signed", fault="twinlock", numbers={"size": len(digest)})
    return bytes(coincurve.PrivateKey(key.secret).sign_schnorr(digest, randomness))


def verify_schnorr(pubkey: bytes, digest: bytes, signature: bytes) -> bool:
    """Did the holder of the x-only key (32 bytes) sign the digest? Bytes of any other size give False."""
    if (len(pubkey), len(digest), len(signature)) != (32, 32, SIGNATURE):
        return False
    try:
        return bool(coincurve.PublicKeyXOnly(pubkey).verify(signature, digest))
    except ValueError:
        return False


def digest(tx: Tx, index: int, spent: Sequence[TxOut], hash_type: int = DEFAULT) -> bytes:
    """The 32 bytes that a key path signature of an input covers (BIP 341), without an annex.

    spent: the outputs that all inputs spend, in their order. Raises ScriptError.
    """
    base, anyone = hash_type & 3, bool(hash_type & ANYONECANPAY)
    if hash_type not in _HASH_TYPES or not 0 <= index < len(tx.inputs) == len(spent):
        raise ScriptError("nothing to sign for", numbers={"index": index, "hash_type": hash_type})
    if base == SINGLE and index >= len(tx.outputs):
        raise ScriptError("the input has no output of its place", numbers={"index": index})
    txin = tx.inputs[index]
    points = [each.prev_hash + each.prev_index.to_bytes(4, "little") for each in tx.inputs]
    parts = [b"\0", bytes((hash_type,)), tx.version.to_bytes(4, "little"), tx.lock_time.to_bytes(4, "little")]
    if not anyone:
        parts += [
            _hash(points),
            _hash([out.value.to_bytes(8, "little") for out in spent]),
            _hash([var_bytes(out.script) for out in spent]),
            _hash([each.sequence.to_bytes(4, "little") for each in tx.inputs]),
        ]
    if base not in (NONE, SINGLE):
        parts.append(_hash([out.serialize() for out in tx.outputs]))
    parts.append(b"\0")  # key path, no annex
    if anyone:
        parts += [points[index], spent[index].serialize(), txin.sequence.to_bytes(4, "little")]
    else:
        parts.append(index.to_bytes(4, "little"))
    if base == SINGLE:
        parts.append(_hash([tx.outputs[index].serialize()]))
    return tagged_hash("TapSighash", b"".join(parts))


def _hash(parts: Sequence[bytes]) -> bytes:
    return sha256(b"".join(parts)).digest()


@cache
def _tag(tag: str) -> bytes:
    return sha256(tag.encode()).digest() * 2
