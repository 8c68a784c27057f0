"""A small merged-mined chain: Dogecoin's own first block of regtest, then crafted blocks that carry another's work."""

from __future__ import annotations

import struct

from tests.indexer.chains import Block, transaction

from twinlock.kernels.scan import sha256d

AUXPOW = 0x100
_KEY = (
    "040184710fa689ad5023690c80f3a49c8f13f8d45b8c857fbcbc8bc4a8e4d3eb4b10f4d4604fa08dce601aaf0f470216fe1b51850b4acf21b1"
    "79c45070ac7b03a9"
)


def genesis() -> Block:
    """The first block of Dogecoin's regtest."""
    script = b"\x04\xff\xff\x00\x1d\x01\x04\x08Nintondo"
    paid = b"\x41" + bytes.fromhex(_KEY) + b"\xac"
    coinbase = (
        struct.pack("<IB32sI", 1, 1, bytes(32), 0xFFFFFFFF)
        + bytes([len(script)])
        + script
        + struct.pack("<IBQB", 0xFFFFFFFF, 1, 88 * 10**8, len(paid))
        + paid
        + bytes(4)
    )
    header = struct.pack("<I32s32sIII", 1, bytes(32), sha256d(coinbase), 1296688602, 0x207FFFFF, 2)
    return Block(sha256d(header), header + b"\x01" + coinbase)


def merkle_root(txids: list[bytes]) -> bytes:
    while len(txids) > 1:
        txids = [sha256d(left + right) for left, right in zip(txids[::2], txids[1::2] + txids[-1:], strict=False)]
    return txids[0]


def proof(salt: int, depth: int) -> bytes:
    """Another chain's coinbase, its block's hash, two branches of `depth` hashes, and its header."""
    coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(50, b"\x51")], struct.pack("<I", salt))
    branch = bytes([depth]) + b"\x07" * 32 * depth + bytes(4)
    return coinbase + bytes(32) + branch + branch + struct.pack("<I32s32sIII", 2, bytes(32), bytes(32), salt, 0, 0)


def merged(parent: bytes, height: int, transactions: list[bytes], salt: int = 0) -> Block:
    """A block; every third one was mined for itself, as before merged mining began."""
    extended = height % 3 != 0
    root = merkle_root([sha256d(raw) for raw in transactions])
    header = struct.pack("<I32s32sIII", 0x620002 | AUXPOW * extended, parent, root, 1296688602 + height * 60, 0, salt)
    body = bytes([len(transactions)]) + b"".join(transactions)
    return Block(sha256d(header), header + (proof(height, height % 5) if extended else b"") + body)


def chain(blocks: int, script: bytes) -> list[Block]:
    """That many blocks, each of which pays the script and, from the third on, moves a coin of the one before."""
    made = [genesis()]
    last: bytes | None = None
    for height in range(1, blocks):
        coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(10_000 * 10**8, script)], struct.pack("<I", height))
        moving = [transaction([(last, 0)], [(10_000 * 10**8, b"\x52" + bytes([height % 7]))])] if last else []
        made.append(merged(made[-1].hash, height, [coinbase, *moving]))
        last = sha256d(coinbase)
    return made
