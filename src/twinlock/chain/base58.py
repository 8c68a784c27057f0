"""Base58 and base58check, as Bitcoin writes addresses and keys.

>>> encode_check(b"\\x00" + bytes(20))
'1111111111111111111114oLvT2'
"""

from __future__ import annotations

from collections.abc import Callable

from twinlock.chain.errors import EncodingError
from twinlock.kernels.sha256d import sha256d

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

MAX_LENGTH = 128
"""Longest text that is decoded: an extended key has 111 characters, and the work grows with the square."""

_VALUE = {char: value for value, char in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Big-endian base 58; each leading zero byte becomes a leading '1'."""
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """The inverse of `encode`. Raises EncodingError."""
    if len(text) > MAX_LENGTH:
        raise EncodingError("base58 text is too long", numbers={"length": len(text), "limit": MAX_LENGTH})
    number = 0
    for char in text:
        digit = _VALUE.get(char)
        if digit is None:
            raise EncodingError("a character is not of the base58 alphabet", code="chain.encoding.base58")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_check(payload: bytes, checksum: Callable[[bytes], bytes] = sha256d) -> str:
    """Base58 of the payload and the first 4 bytes of its checksum."""
    return encode(payload + checksum(payload)[:4])


def decode_check(text: str, checksum: Callable[[bytes], bytes] = sha256d) -> bytes:
    """The payload, checksum verified and removed. Raises EncodingError."""
    raw = decode(text)
    if len(raw) < 4 or checksum(raw[:-4])[:4] != raw[-4:]:
        raise EncodingError("base58 checksum does not match", code="chain.encoding.checksum")
    return raw[:-4]
