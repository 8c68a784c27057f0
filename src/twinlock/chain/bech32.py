"""Bech32 (BIP 173) and bech32m (BIP 350), and the segwit addresses made of them.

>>> encode_segwit("bc", 0, bytes(20))
'bc1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq9e75rs'
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, reduce
from operator import xor

from twinlock.chain.errors import EncodingError

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32 = 1
BECH32M = 0x2BC830A3
MAX_LENGTH = 90

_NONE = 255
_VALUES = bytes(CHARSET.find(chr(code)) % 256 for code in range(256))
"""The value of each character's code; _NONE for those that bech32 does not use."""
_DIGITS = b"0123456789abcdefghijklmnopqrstuv".ljust(256)
"""The digit of each 5-bit value, as `int` reads them."""
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_STEPS = tuple(reduce(xor, (row for i, row in enumerate(_GENERATOR) if top >> i & 1), 0) for top in range(32))
"""What each value of the five bits that leave the residue adds to it."""


def encode(hrp: str, values: Iterable[int], constant: int) -> str:
    """Text of 5-bit values behind a lower-case prefix; `constant` is BECH32 or BECH32M."""
    data = list(values)
    residue = _polymod([*data, 0, 0, 0, 0, 0, 0], _start(hrp)) ^ constant
    checksum = [residue >> 5 * (5 - i) & 31 for i in range(6)]
    return hrp + "1" + "".join(CHARSET[value] for value in data + checksum)


def decode(text: str) -> tuple[str, bytes, int]:
    """(prefix, 5-bit values without checksum, constant). Raises EncodingError."""
    if len(text) > MAX_LENGTH or not text.isascii() or not text.isprintable():
        raise EncodingError("not bech32 text", code="chain.encoding.bech32", numbers={"length": len(text)})
    if text.lower() != text and text.upper() != text:
        raise EncodingError("bech32 text mixes upper and lower case", code="chain.encoding.bech32")
    hrp, _, tail = text.lower().rpartition("1")
    values = tail.encode().translate(_VALUES)
    if not hrp or len(tail) < 6 or _NONE in values or " " in hrp:
        raise EncodingError("not bech32 text", code="chain.encoding.bech32")
    constant = _polymod(values, _start(hrp))
    if constant not in (BECH32, BECH32M):
        raise EncodingError("bech32 checksum does not match", code="chain.encoding.checksum")
    return hrp, values[:-6], constant


def encode_segwit(hrp: str, version: int, program: bytes) -> str:
    """The address of a witness program: bech32 for version 0, bech32m for 1 to 16."""
    _check_program(version, program)
    return encode(hrp, [version, *_grouped(program)], BECH32M if version else BECH32)


def decode_segwit(hrp: str, text: str) -> tuple[int, bytes]:
    """(witness version, program) of an address with that prefix. Raises EncodingError."""
    found, values, constant = decode(text)
    if found != hrp or not values:
        raise EncodingError("the address has another prefix", code="chain.encoding.prefix", numbers={"prefix": found})
    version = values[0]
    program = _ungrouped(values[1:])
    _check_program(version, program)
    if constant != (BECH32M if version else BECH32):
        raise EncodingError("bech32 and bech32m are mixed up", code="chain.encoding.checksum")
    return version, program


def _grouped(data: bytes) -> list[int]:
    """The bits in groups of five, most significant first; zeros fill the last."""
    size = 8 * len(data)
    filled = size + -size % 5
    bits = int.from_bytes(data) << filled - size
    return [bits >> shift & 31 for shift in range(filled - 5, -1, -5)]


def _ungrouped(values: bytes) -> bytes:
    """The bytes of such groups. What fills the last must be less than a group, of zeros. Raises EncodingError."""
    count, over = divmod(5 * len(values), 8)
    bits = int(values.translate(_DIGITS), 32) if values else 0
    if over >= 5 or bits & ((1 << over) - 1):
        raise EncodingError("bech32 padding is not zero or too long", code="chain.encoding.bech32")
    return (bits >> over).to_bytes(count)


def _check_program(version: int, program: bytes) -> None:
    if not 0 <= version <= 16 or not 2 <= len(program) <= 40 or (version == 0 and len(program) not in (20, 32)):
        raise EncodingError(
            "not a witness program", code="chain.encoding.program", numbers={"version": version, "size": len(program)}
        )


def _expand(hrp: str) -> list[int]:
    codes = [ord(char) for char in hrp]
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


@lru_cache(64)
def _start(hrp: str) -> int:
    """The residue once the prefix is through."""
    return _polymod(_expand(hrp), 1)


def _polymod(values: Iterable[int], residue: int) -> int:
    for value in values:
        residue = (residue & 0x1FFFFFF) << 5 ^ value ^ _STEPS[residue >> 25]
    return residue
