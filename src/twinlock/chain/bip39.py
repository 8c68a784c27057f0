"""Mnemonics: words in place of entropy, and the seed that wallets stretch out of them (BIP 39, English).

>>> to_words(bytes(16)).split()[-1]
'about'
"""

from __future__ import annotations

import unicodedata
from hashlib import pbkdf2_hmac, sha256

from twinlock.chain.errors import KeyFormatError
from twinlock.chain.words import WORDS

SIZES = (16, 20, 24, 28, 32)
"""Bytes of entropy that BIP 39 allows: 12, 15, 18, 21 and 24 words."""

_INDEX = {word: i for i, word in enumerate(WORDS)}


def to_words(entropy: bytes) -> str:
    """The phrase of 16 to 32 bytes of entropy. Raises KeyFormatError."""
    if len(entropy) not in SIZES:
        raise KeyFormatError("entropy has 16, 20, 24, 28 or 32 bytes", numbers={"size": len(entropy)}, fault="user")
    checksum = len(entropy) // 4
    bits = int.from_bytes(entropy, "big") << checksum | sha256(entropy).digest()[0] >> (8 - checksum)
    count = checksum * 3
    return " ".join(WORDS[bits >> 11 * (count - 1 - i) & 2047] for i in range(count))


def to_entropy(phrase: str) -> bytes:
    """The entropy of a phrase in lower case, checksum verified. Raises KeyFormatError."""
    words = phrase.split()
    if len(words) * 4 // 3 not in SIZES or len(words) % 3:
        raise KeyFormatError("a phrase has 12, 15, 18, 21 or 24 words", numbers={"words": len(words)}, fault="user")
    bits = 0
    for position, word in enumerate(words, 1):
        if word not in _INDEX:
            raise KeyFormatError("a word is not in the list", numbers={"position": position}, fault="user", fix=_FIX)
        bits = bits << 11 | _INDEX[word]
    checksum = len(words) // 3
    entropy = (bits >> checksum).to_bytes(checksum * 4, "big")
    if to_words(entropy) != " ".join(words):
        raise KeyFormatError("the phrase's checksum is wrong", code="chain.key.checksum", fault="user", fix=_FIX)
    return entropy


def to_seed(phrase: str, passphrase: str = "") -> bytes:
    """The 64-byte seed: 2,048 rounds of PBKDF2-HMAC-SHA512. The phrase is not checked."""
    return pbkdf2_hmac("sha512", _normal(phrase), b"mnemonic" + _normal(passphrase), 2048)


_FIX = "compare the words and their order with what was written down"


def _normal(text: str) -> bytes:
    return unicodedata.normalize("NFKD", text).encode()
