"""Message signatures: ECDSA on secp256k1 over SHA-256 of the signed bytes, DER, low S (protocol section 2)."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeVar

import msgspec

from twinlock.chain.errors import KeyFormatError
from twinlock.chain.keys import PrivateKey, verify
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.wire import Hex, Signed

S = TypeVar("S", bound=Signed)


def sign(key: PrivateKey, message: bytes) -> Hex:
    """The signature of a byte string."""
    return Hex(key.sign(sha256(message).digest()))


def signed(key: PrivateKey, message: S) -> S:
    """The message with its signature in place."""
    return msgspec.structs.replace(message, sig=sign(key, message.signed_bytes()))


def check(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a 33-byte key signed the byte string. A high S is tolerated, a broken key is a no."""
    try:
        return verify(public_key, sha256(message).digest(), signature)
    except KeyFormatError:
        return False


def require(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `RpcError` with code 22 unless `check` holds."""
    if not check(public_key, message, signature):
        raise unsigned()


def unsigned() -> RpcError:
    """The refusal of a message that its account did not sign."""
    return RpcError(ErrorCode.SIGNATURE, "signature missing or not valid", fix="Sign with the account's key.")
