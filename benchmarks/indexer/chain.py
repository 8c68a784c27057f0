"""Makes a dense regtest chain, the same one for the same arguments, without a wallet and without a signature.

Outputs that are spent again are of kinds that consensus lets anyone spend: witness programs of versions yet unused (as
long as P2WPKH and P2TR), and scripts that push a nonce, drop it and succeed, bare (as P2PKH) or behind a hash (P2SH,
P2WSH). Half of the outputs pay a script of their own, the others one of a population used by Zipf's law.
"""

from __future__ import annotations

import random
import struct
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import new, scrypt, sha256
from itertools import accumulate

from twinlock.kernels.index import merkle_root
from twinlock.kernels.sha256d import sha256d

BITS = 0x207FFFFF
TARGET = 0x7FFFFF << 232
MATURITY, HALVING, SUBSIDY = 100, 150, 50 * 10**8
START = 1_700_000_000
PEOPLE = 20_000

Hash = Callable[[bytes], bytes]

SIGNATURE = b"\x47" + bytes(71) + b"\x21" + bytes(33)
"""As long as a signature with its key; pushed, and left where it is."""

INPUTS = ((0.64, 1), (0.83, 2), (0.89, 3), (0.94, 5), (0.99, 8), (1.0, 20))
OUTPUTS = ((0.16, 1), (0.86, 2), (0.91, 3), (0.95, 5), (0.99, 12), (1.0, 30))


def scrypt_of(header: bytes) -> bytes:
    """What Litecoin's proofs of work are looked for with."""
    return scrypt(header, salt=header, n=1024, r=1, p=1, dklen=32)


def size_text(value: int) -> bytes:
    """A compact size."""
    return bytes([value]) if value < 0xFD else b"\xfd" + struct.pack("<H", value)


@dataclass(frozen=True, slots=True)
class Payee:
    """An output script, and what input script and witness spend it."""

    script: bytes
    script_sig: bytes
    witness: bytes


@dataclass(slots=True)
class Coin:
    """An output that can be spent."""

    point: bytes
    value: int
    payee: Payee


@dataclass
class Facts:
    """What a benchmark wants to know of a chain: how many transactions touch each script, and some txids."""

    touches: dict[bytes, int] = field(default_factory=dict)
    sample: list[tuple[str, int]] = field(default_factory=list)
    txs: int = 0
    size: int = 0


class ChainMaker:
    """Makes the blocks of a chain one by one; `facts` fills up meanwhile, `touched` is what the last block touches."""

    def __init__(self, genesis_hash: str, blocks: int, txs: int, seed: int = 1, work: Hash = sha256d) -> None:
        """work: what a header's proof of work is looked for with."""
        self._work = work
        self.facts = Facts()
        self._random = random.Random(seed)
        self._parent = bytes.fromhex(genesis_hash)[::-1]
        self._blocks, self._txs = blocks, txs
        self._height = 0
        self.touched: set[bytes] = set()
        self._pool: list[Coin] = []
        self._young: list[Coin] = []
        self._people = [self._payee() for _ in range(PEOPLE)]
        self._zipf = list(accumulate(1 / (rank + 1) for rank in range(PEOPLE)))

    def _payee(self) -> Payee:
        rnd = self._random
        pick = rnd.random()
        if pick < 0.40:
            return Payee(b"\x52\x14" + rnd.randbytes(20), b"", b"\x02\x47" + bytes(71) + b"\x21" + bytes(33))
        if pick < 0.60:
            return Payee(b"\x60\x20" + rnd.randbytes(32), b"", b"\x01\x40" + bytes(64))
        if pick < 0.80:
            return Payee(b"\x14" + rnd.randbytes(20) + b"\x75\x51", SIGNATURE, b"\0")
        hidden = b"\x08" + rnd.randbytes(8) + b"\x75\x51"
        if pick < 0.92:
            hashed = new("ripemd160", sha256(hidden).digest()).digest()
            return Payee(b"\xa9\x14" + hashed + b"\x87", SIGNATURE + size_text(len(hidden)) + hidden, b"\0")
        long = b"\x4c\xb4" + rnd.randbytes(180) + b"\x75\x51"  # as long as the keys and signatures of several people
        return Payee(b"\0\x20" + sha256(long).digest(), b"", b"\x01" + size_text(len(long)) + long)

    def _next_payee(self) -> Payee:
        if self._random.random() < 0.5:
            return self._payee()
        return self._people[bisect(self._zipf, self._random.random() * self._zipf[-1])]

    def _draw(self, table: tuple[tuple[float, int], ...]) -> int:
        pick = self._random.random()
        return next(count for chance, count in table if pick < chance)

    def _take(self) -> Coin:
        """Half of the time a young coin, else any."""
        pool, rnd = self._pool, self._random
        reach = min(len(pool), 3000) if rnd.random() < 0.5 else len(pool)
        at = len(pool) - 1 - rnd.randrange(reach)
        pool[at], pool[-1] = pool[-1], pool[at]
        return pool.pop()

    def _transaction(self, fan_out: bool, height: int) -> tuple[bytes, bytes]:
        """(hash, raw) of a transaction that spends from the pool."""
        spent = [self._take() for _ in range(1 if fan_out else min(len(self._pool), self._draw(INPUTS)))]
        paid = [self._next_payee() for _ in range(40 if fan_out else self._draw(OUTPUTS))]
        share = max(0, sum(coin.value for coin in spent) - 300 * len(paid)) // len(paid)
        outputs = [struct.pack("<Q", share) + size_text(len(p.script)) + p.script for p in paid]
        inputs = [
            coin.point + size_text(len(coin.payee.script_sig)) + coin.payee.script_sig + b"\xfd\xff\xff\xff"
            for coin in spent
        ]
        core = size_text(len(inputs)) + b"".join(inputs) + size_text(len(outputs)) + b"".join(outputs)
        tx_hash = sha256d(b"\x02\0\0\0" + core + bytes(4))
        witness = b"".join(coin.payee.witness for coin in spent)
        raw = b"\x02\0\0\0" + core + bytes(4)
        if any(witness):
            raw = b"\x02\0\0\0\0\x01" + core + witness + bytes(4)
        self._pool += [Coin(tx_hash + struct.pack("<I", n), share, p) for n, p in enumerate(paid)]
        touched = {p.script for p in paid} | {coin.payee.script for coin in spent}
        self.touched |= touched
        for script in touched:
            self.facts.touches[script] = self.facts.touches.get(script, 0) + 1
        if self._random.random() < 0.02:
            self.facts.sample.append((tx_hash[::-1].hex(), height))
        return tx_hash, raw

    def blocks(self) -> Iterator[bytes]:
        """Raw blocks of heights 1 and up, with all the transactions."""
        for height in range(1, self._blocks + 1):
            left = self._blocks + 1 - height
            block = self.next_block((self._txs - self.facts.txs) // left if height > MATURITY else 0)
            self.facts.size += len(block)
            yield block

    def next_block(self, txs: int) -> bytes:
        """A raw block with so many transactions."""
        self.touched = set()
        height = self._height + 1
        if height > MATURITY:
            self._pool.append(self._young.pop(0))
        made = [self._transaction(len(self._pool) < 3000, height) for _ in range(txs)]
        self.facts.txs += txs
        return self.close(made)

    def pay(self, payee: Payee) -> tuple[bytes, bytes]:
        """(hash, raw) of a transaction that a mempool takes as well: it spends a bare script with nothing."""
        at = next(n for n, c in enumerate(self._pool) if c.payee.script[:1] == b"\x14" and c.value > 100_000)
        coin = self._pool.pop(at)
        core = b"\x01" + coin.point + b"\0\xfd\xff\xff\xff\x01"
        core += struct.pack("<Q", coin.value - 50_000) + size_text(len(payee.script)) + payee.script
        raw = b"\x02\0\0\0" + core + bytes(4)
        return sha256d(raw), raw

    def close(self, made: list[tuple[bytes, bytes]]) -> bytes:
        """The next raw block, of a coinbase and these transactions (hash, raw)."""
        self._height = height = self._height + 1
        wids = bytes(32) + b"".join(sha256d(raw) for _, raw in made)
        payee = self._payee()
        self.facts.touches[payee.script] = 1
        commitment = sha256d(merkle_root(wids) + bytes(32))
        number = height.to_bytes((height.bit_length() + 8) // 8, "little")
        script = (bytes([0x50 + height]) if height < 17 else bytes([len(number)]) + number) + b"\x04twin"
        value = SUBSIDY >> (height // HALVING)
        core = b"\x01" + bytes(32) + b"\xff" * 4 + size_text(len(script)) + script + b"\xff" * 4
        core += b"\x02" + struct.pack("<Q", value) + size_text(len(payee.script)) + payee.script
        core += bytes(8) + b"\x26\x6a\x24\xaa\x21\xa9\xed" + commitment
        coinbase = sha256d(b"\x02\0\0\0" + core + bytes(4))
        raw = b"\x02\0\0\0\0\x01" + core + b"\x01\x20" + bytes(32) + bytes(4)
        self._young.append(Coin(coinbase + bytes(4), value, payee))
        root = merkle_root(coinbase + b"".join(tx_hash for tx_hash, _ in made))
        header = b"\0\0\0\x20" + self._parent + root + struct.pack("<II", START + 600 * height, BITS)
        nonce = 0
        while int.from_bytes(self._work(header + struct.pack("<I", nonce)), "little") > TARGET:
            nonce += 1
        header += struct.pack("<I", nonce)
        self._parent = sha256d(header)
        return header + size_text(len(made) + 1) + raw + b"".join(raw for _, raw in made)
