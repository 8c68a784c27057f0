"""Block headers: identity, links, difficulty targets, proof of work, median time.

>>> hex(target(0x1D00FFFF))
'0xffff0000000000000000000000000000000000000000000000000000'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import scrypt
from struct import Struct
from types import MappingProxyType

import msgspec

from twinlock.chain.coin import Coin
from twinlock.chain.errors import InclusionError, MalformedError
from twinlock.kernels.sha256d import sha256d

HEADER_SIZE = 80
MEDIAN_SPAN = 11
"""Blocks whose times the median time past looks at (BIP 113)."""


_LAYOUT = Struct("<I32s32sIII")


class Header(msgspec.Struct, frozen=True):
    """prev_hash, merkle_root: 32 bytes, internal order. time: s. bits: compact target."""

    version: int
    prev_hash: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int

    @classmethod
    def parse(cls, raw: bytes) -> Header:
        """Exactly 80 bytes. Raises MalformedError."""
        if len(raw) != HEADER_SIZE:
            raise MalformedError("a header has 80 bytes", numbers={"size": len(raw)})
        return cls(*_LAYOUT.unpack(raw))

    def serialize(self) -> bytes:
        """The 80 bytes."""
        return _LAYOUT.pack(self.version, self.prev_hash, self.merkle_root, self.time, self.bits, self.nonce)

    @property
    def hash(self) -> bytes:
        """The block's identity: sha256d of the header, internal order."""
        return sha256d(self.serialize())

    @property
    def hash_hex(self) -> str:
        """`hash` as people write it: reversed hex."""
        return self.hash[::-1].hex()


def parse_headers(raw: bytes) -> list[Header]:
    """Headers without anything between them. Raises MalformedError."""
    if len(raw) % HEADER_SIZE:
        raise MalformedError("not a whole number of headers", numbers={"size": len(raw)})
    return [Header(*fields) for fields in _LAYOUT.iter_unpack(raw)]


def check_links(headers: Sequence[Header], previous: bytes | None = None) -> None:
    """Each header must name the hash of the one before it, the first one `previous`. Raises InclusionError."""
    for i, header in enumerate(headers):
        if previous is not None and header.prev_hash != previous:
            raise InclusionError("headers are not a chain", code="chain.inclusion.link", numbers={"position": i})
        previous = header.hash


def target(bits: int) -> int:
    """The number that a proof-of-work hash may not exceed. Raises MalformedError.

    bits: one byte of exponent, one sign bit, 23 bits of mantissa, in base 256. Negative, zero and
    overflowing targets can never be met and are refused.
    """
    exponent, mantissa = bits >> 24, bits & 0x7FFFFF
    value = 0
    if 0 <= exponent <= 0xFF:
        value = mantissa >> 8 * (3 - exponent) if exponent <= 3 else mantissa << 8 * (exponent - 3)
    if bits & 0x800000 or not 0 < value < 1 << 256:
        raise MalformedError("not a difficulty target", code="chain.malformed.bits", numbers={"bits": bits})
    return value


def work(bits: int) -> int:
    """Expected number of hashes that a block with this target stands for. Raises MalformedError."""
    return (1 << 256) // (target(bits) + 1)


def _scrypt_hash(raw: bytes) -> bytes:
    return scrypt(raw, salt=raw, n=1024, r=1, p=1, dklen=32)


PROOF_OF_WORK: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType({"sha256d": sha256d, "scrypt": _scrypt_hash})
"""By the name in a coin's row: from the 80 bytes to the hash that is compared with the target."""


def check_proof_of_work(coin: Coin, header: Header) -> None:
    """Raises InclusionError if the header's hash exceeds its own target.

    Whether that target is the right one for its height is for the caller to know.
    """
    digest = PROOF_OF_WORK[coin.proof_of_work](header.serialize())
    if int.from_bytes(digest, "little") > target(header.bits):
        raise InclusionError(
            "the header's hash exceeds its target", code="chain.inclusion.work", numbers={"block": header.hash_hex}
        )


def median_time_past(times: Iterable[int]) -> int:
    """The chain's own clock in s: the median of the last eleven block times, fewer near the start (BIP 113).

    A transaction with a lock time enters the next block when this value exceeds the lock time.
    Raises InclusionError for no times at all.
    """
    last = sorted(list(times)[-MEDIAN_SPAN:])
    if not last:
        raise InclusionError("there is no block to take the time from", fault="twinlock")
    return last[len(last) // 2]
