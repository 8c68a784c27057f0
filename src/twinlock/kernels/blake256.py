"""BLAKE-256 with 14 rounds, the SHA-3 finalist: order IDs, commitments, account IDs, and all of Decred.

Not BLAKE2 and not BLAKE3. Protocol appendix C.1.
"""

from __future__ import annotations

import struct

__all__ = ["blake256", "blake256_plain"]

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)

# The first 64 bytes of the fraction of pi.
_C = (
    *(0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89),
    *(0x452821E6, 0x38D01377, 0xBE5466CF, 0x34E90C6C, 0xC0AC29B7, 0xC97C50DD, 0x3F84D5B5, 0xB5470917),
)

# The order in which each round takes the message words; rounds 10 to 13 repeat 0 to 3.
_ORDER = tuple(
    tuple(int(digit, 16) for digit in row)
    for row in (
        "0123456789abcdef",
        "ea489fd61c02b753",
        "b8c052fdae367194",
        "7931dcbe265a40f8",
        "905724afe1bc683d",
        "2c6a0b834d75fe19",
        "c51fed4a0763928b",
        "db7ec13950f4862a",
        "6fe9b308c2d714a5",
        "a2847615fb9e3cd0",
    )
)

# Which four words of the state each of a round's eight steps mixes: columns, then diagonals.
_STEPS = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)

_MASK = 0xFFFFFFFF


def blake256_plain(data: bytes) -> bytes:
    """The 32-byte digest, computed in Python."""
    bits = len(data) * 8
    chain = list(_IV)
    padded = _pad(data)
    for start in range(0, len(padded), 64):
        # The counter is of message bits up to this block, and 0 in a block that holds only padding.
        counter = min(bits, (start + 64) * 8) if start * 8 < bits else 0
        _compress(chain, struct.unpack_from(">16I", padded, start), counter)
    return struct.pack(">8I", *chain)


def _pad(data: bytes) -> bytes:
    zeros = (55 - len(data)) % 64
    padding = bytearray(zeros + 1)
    padding[0] |= 0x80
    padding[-1] |= 0x01
    return data + padding + (len(data) * 8).to_bytes(8, "big")


def _compress(chain: list[int], words: tuple[int, ...], counter: int) -> None:
    low, high = counter & _MASK, counter >> 32 & _MASK
    state = [*chain, *_C[:4], low ^ _C[4], low ^ _C[5], high ^ _C[6], high ^ _C[7]]
    for turn in range(14):
        order = _ORDER[turn % 10]
        for i, (a, b, c, d) in enumerate(_STEPS):
            j, k = order[2 * i], order[2 * i + 1]
            state[a] = (state[a] + state[b] + (words[j] ^ _C[k])) & _MASK
            state[d] = _rotate(state[d] ^ state[a], 16)
            state[c] = (state[c] + state[d]) & _MASK
            state[b] = _rotate(state[b] ^ state[c], 12)
            state[a] = (state[a] + state[b] + (words[k] ^ _C[j])) & _MASK
            state[d] = _rotate(state[d] ^ state[a], 8)
            state[c] = (state[c] + state[d]) & _MASK
            state[b] = _rotate(state[b] ^ state[c], 7)
    for i in range(8):
        chain[i] ^= state[i] ^ state[i + 8]


def _rotate(word: int, count: int) -> int:
    return (word >> count | word << (32 - count)) & _MASK


try:
    from twinlock.kernels._hashes import blake256
except ImportError:
    blake256 = blake256_plain
