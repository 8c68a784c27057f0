"""The 15 words that hold an application seed and its birthday (protocol section 4.2).

Not BIP-39, though the word list is: the bits are 144 of entropy, 16 of birthday and 5 of checksum, and the seed is
the bare 18 bytes of entropy.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from twinlock.chain.words import WORDS
from twinlock.errors import TwinlockError

ENTROPY_BYTES = 18
LEGACY_BYTES = 64
_WORDS = 15
_NUMBERS = {word: number for number, word in enumerate(WORDS)}


class MnemonicError(TwinlockError):
    """Words that are not a seed."""

    code = "seed.words"
    fault = "user"


class Seed(NamedTuple):
    """An application seed. birthday: days since 1970-01-01, 0 where unknown."""

    entropy: bytes
    birthday: int


def to_words(seed: Seed) -> str:
    """The 15 words, separated by single spaces. Raises ValueError unless 18 bytes and a 16-bit day."""
    if len(seed.entropy) != ENTROPY_BYTES:
        raise ValueError("the entropy is 18 bytes")
    data = seed.entropy + seed.birthday.to_bytes(2)
    bits = int.from_bytes(data) << 5 | _checksum(data)
    return " ".join(WORDS[bits >> 11 * (_WORDS - 1 - i) & 0x7FF] for i in range(_WORDS))


def from_words(text: str) -> Seed:
    """The seed of 15 words, or of the 128 hex digits of the legacy form. Raises `MnemonicError`."""
    words = text.lower().split()
    if len(words) == 1 and len(words[0]) == 2 * LEGACY_BYTES:
        return _legacy(words[0])
    if len(words) != _WORDS:
        raise MnemonicError(f"{len(words)} words", numbers={"words": len(words)}, fix="Enter all 15 words.")
    unknown = [place for place, word in enumerate(words, 1) if word not in _NUMBERS]
    if unknown:
        # Where, never which: a word of a seed must not reach a log.
        raise MnemonicError(
            f"word {unknown[0]} is not in the list", code="seed.word", numbers={"place": unknown[0]}, fix="Check it."
        )
    bits = 0
    for word in words:
        bits = bits << 11 | _NUMBERS[word]
    data = (bits >> 5).to_bytes(ENTROPY_BYTES + 2)
    if bits & 0x1F != _checksum(data):
        raise MnemonicError("the words do not fit together", code="seed.checksum", fix="Check order and spelling.")
    return Seed(data[:ENTROPY_BYTES], int.from_bytes(data[ENTROPY_BYTES:]))


def _legacy(digits: str) -> Seed:
    try:
        return Seed(bytes.fromhex(digits), 0)
    except ValueError:
        raise MnemonicError("not hexadecimal", code="seed.hex", fix="Enter 128 hexadecimal digits.") from None


def _checksum(data: bytes) -> int:
    return sha256(data).digest()[0] >> 3
