"""Many signatures at once: checked and made by a compiled kernel that lets other threads run meanwhile.

Where the kernel was not compiled, one after the other; the answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from twinlock.chain.errors import KeyFormatError
from twinlock.chain.keys import PrivateKey, verify


class Claim(NamedTuple):
    """That the holder of a public key (33 or 65 bytes) signed a 32-byte digest; signature: DER."""

    public_key: bytes
    digest: bytes
    signature: bytes


_FUNCTIONS = (
    "secp256k1_ec_pubkey_parse",
    "secp256k1_ecdsa_signature_parse_compact",
    "secp256k1_ecdsa_signature_normalize",
    "secp256k1_ecdsa_verify",
    "secp256k1_ecdsa_sign",
    "secp256k1_ecdsa_signature_serialize_der",
)


def _addresses() -> tuple[int, ...]:
    """The library's context and its functions, in the order in which the kernel takes them."""
    pointers = (GLOBAL_CONTEXT.ctx, *(ffi.addressof(lib, name) for name in _FUNCTIONS))
    return tuple(int(ffi.cast("uintptr_t", pointer)) for pointer in pointers)


def check_plain(claims: Sequence[Claim]) -> list[bool]:
    """Which of the claims are true, one after the other."""
    return [_holds(claim) for claim in claims]


def sign_plain(key: PrivateKey, digests: Sequence[bytes]) -> list[bytes]:
    """A signature of each 32-byte digest, one after the other."""
    return [key.sign(digest) for digest in digests]


def _holds(claim: Claim) -> bool:
    try:
        return verify(*claim)
    except KeyFormatError:
        return False


check_many: Callable[[Sequence[Claim]], list[bool]] = check_plain
"""Which of the claims are true; a broken key is a no."""
sign_many: Callable[[PrivateKey, Sequence[bytes]], list[bytes]] = sign_plain
"""A DER signature of each 32-byte digest."""

try:
    from twinlock.kernels import _signatures as _kernel
except ImportError:
    pass
else:
    _LIBRARY, _RIGHT = _addresses(), 1

    def _check_compiled(claims: Sequence[Claim]) -> list[bool]:
        return [verdict == _RIGHT for verdict in _kernel.verify_many(_LIBRARY, list(claims))]

    def _sign_compiled(key: PrivateKey, digests: Sequence[bytes]) -> list[bytes]:
        return _kernel.sign_many(_LIBRARY, key.secret, list(digests))

    check_many, sign_many = _check_compiled, _sign_compiled
