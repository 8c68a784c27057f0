"""RIPEMD-160, which the machine's OpenSSL may lack, and HASH160 = RIPEMD-160(SHA-256)."""

from __future__ import annotations

import struct
from hashlib import sha256

__all__ = ["hash160", "ripemd160", "ripemd160_plain"]

_MASK = 0xFFFFFFFF
_IV: tuple[int, ...] = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)


def _digits(*rows: str) -> tuple[int, ...]:
    return tuple(int(digit, 16) for row in rows for digit in row)


# The two lines of 80 steps: which word of the block each step adds, by how much it rotates, and the
# constant that each 16 steps add.
_LEFT = (
    _digits("0123456789abcdef", "74d1a6f3c0952eb8", "3ae49f812706db5c", "19ba08c4d37fe562", "40597c2ae138b6fd"),
    _digits("befc5879bdef6798", "768db97f7cf9b7dc", "bd67e9dfe8d65c75", "bcefef989e56865c", "9f5b68dc5cdeb856"),
    (0x00000000, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E),
)
_RIGHT = (
    _digits("5e7092b4d6f81a3c", "6b370d5aef8c4912", "f5137e69b8c2a04d", "86413bf05c2d97ae", "cfa4158762de039b"),
    _digits("899bdff5778beec6", "9df7c89b77c76fdb", "97fb866ecd5edd75", "f58bee6e69c9c5f8", "85c9c5e68d65fdbb"),
    (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0x00000000),
)


def ripemd160_plain(data: bytes) -> bytes:
    """The 20-byte digest, computed in Python."""
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + (len(data) * 8).to_bytes(8, "little")
    chain = _IV
    for start in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, start)
        left = _line(chain, words, _LEFT, reverse=False)
        right = _line(chain, words, _RIGHT, reverse=True)
        chain = tuple((chain[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5))
    return struct.pack("<5I", *chain)


def _line(
    chain: tuple[int, ...],
    words: tuple[int, ...],
    table: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    *,
    reverse: bool,
) -> tuple[int, ...]:
    order, rotations, constants = table
    a, b, c, d, e = chain
    for step in range(80):
        turn = step // 16
        mixed = a + _mix(4 - turn if reverse else turn, b, c, d) + words[order[step]] + constants[turn]
        a, e, d, c, b = e, d, _rotate(c, 10), b, (_rotate(mixed & _MASK, rotations[step]) + e) & _MASK
    return a, b, c, d, e


def _mix(function: int, x: int, y: int, z: int) -> int:
    if function == 0:
        return x ^ y ^ z
    if function == 1:
        return x & y | ~x & z & _MASK
    if function == 2:
        return (x | ~y & _MASK) ^ z
    if function == 3:
        return x & z | y & ~z & _MASK
    return x ^ (y | ~z & _MASK)


def _rotate(word: int, count: int) -> int:
    return (word << count | word >> (32 - count)) & _MASK


try:
    from twinlock.kernels._hashes import ripemd160
except ImportError:
    ripemd160 = ripemd160_plain


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256: what scripts call a public key by. 20 bytes."""
    return ripemd160(sha256(data).digest())
