"""Small random chains as raw blocks: what the index is fed in tests."""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

from twinlock.kernels.index import merkle_root
from twinlock.kernels.scan import hashx, sha256d


class Block(NamedTuple):
    """A raw block and its hash in internal order."""

    hash: bytes
    raw: bytes


class Coin(NamedTuple):
    """An output that can still be spent."""

    tx_hash: bytes
    vout: int
    value: int


def output(value: int, script: bytes) -> bytes:
    """A serialized output."""
    return struct.pack("<Q", value) + bytes([len(script)]) + script


def transaction(inputs: list[tuple[bytes, int]], outputs: list[tuple[int, bytes]], note: bytes = b"") -> bytes:
    """A serialized transaction without witness; `note` goes into the first input's script."""
    parts = [b"\x02\0\0\0", bytes([len(inputs)])]
    for number, (tx_hash, vout) in enumerate(inputs):
        script = note if number == 0 else b""
        parts += [tx_hash, struct.pack("<I", vout), bytes([len(script)]), script, b"\xff" * 4]
    parts.append(bytes([len(outputs)]))
    parts += [output(value, script) for value, script in outputs]
    return b"".join([*parts, bytes(4)])


def block(parent: bytes, height: int, transactions: list[bytes], salt: int = 0) -> Block:
    """A block without proof of work."""
    root = merkle_root(b"".join(map(sha256d, transactions)))
    header = struct.pack("<I32s32sIII", 1, parent, root, height, salt, 0)
    count = bytes([len(transactions)]) if len(transactions) < 0xFD else b"\xfd" + struct.pack("<H", len(transactions))
    return Block(sha256d(header), header + count + b"".join(transactions))


def scripts_of(size: int) -> list[bytes]:
    """That many scripts, one of them empty and one that no server indexes."""
    return [b"", b"\x6a\x01x", *(b"\x51" + n.to_bytes(2, "big") for n in range(size - 2))]


def extend(rnd: random.Random, blocks: list[Block], coins: list[Coin], per_block: int, salt: int = 0) -> Block:
    """A next block that spends some of `coins` (also ones of its own) and adds its own to them."""
    height = len(blocks)
    names = scripts_of(12)
    transactions = []
    for number in range(rnd.randint(1, per_block)):
        wanted = min(len(coins), rnd.randint(1, 3)) if number else 0
        spent = [coins.pop(rnd.randrange(len(coins))) for _ in range(wanted)]
        points = [(coin.tx_hash, coin.vout) for coin in spent] or [(bytes(32), 0xFFFFFFFF)]
        if number and not spent:
            break
        paid = [(rnd.randrange(1, 10**9), rnd.choice(names)) for _ in range(rnd.randint(1, 4))]
        raw = transaction(points, paid, struct.pack("<III", height, number, salt))
        tx_hash = sha256d(raw)
        if height:
            coins += [Coin(tx_hash, vout, value) for vout, (value, script) in enumerate(paid) if script[:1] != b"\x6a"]
        transactions.append(raw)
    parent = blocks[-1].hash if blocks else bytes(32)
    return block(parent, height, transactions, salt)


def random_chain(rnd: random.Random, size: int, per_block: int) -> tuple[list[Block], set[bytes]]:
    """`size` blocks and the names of all scripts in them."""
    blocks: list[Block] = []
    coins: list[Coin] = []
    for _ in range(size):
        blocks.append(extend(rnd, blocks, coins, per_block))
    return blocks, {hashx(script) for script in scripts_of(12)}


SCRIPTS = [b"\x51" + bytes([n]) for n in range(4)]
"""Whom the blocks of `branch` pay in turn."""


def branch(blocks: list[bytes], undone: int, count: int, salt: int) -> list[bytes]:
    """Another end of the chain."""
    made = blocks[: len(blocks) - undone]
    for _ in range(count):
        height = len(made)
        note = height.to_bytes(4, "big") + bytes([salt])
        coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(height, SCRIPTS[(height + salt) % 4])], note)
        made.append(block(sha256d(made[-1][:80]), height, [coinbase], salt).raw)
    return made
