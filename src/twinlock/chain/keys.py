"""secp256k1 keys and ECDSA signatures: low S, RFC 6979 nonces, strict DER (BIP 66).

>>> key = PrivateKey(bytes(31) + b"\\x01")
>>> verify(key.public, bytes(32), key.sign(bytes(32)))
True
"""

from __future__ import annotations

import coincurve

from twinlock.chain import base58
from twinlock.chain.coin import Coin
from twinlock.chain.errors import KeyFormatError, MalformedError

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""The order of the group; a private key is in 1 .. ORDER - 1."""

MAX_DER = 72
"""Longest DER signature without a hash type byte. Low S makes ours at most 71."""


class PrivateKey:
    """A secret 32-byte number. Its repr never shows it."""

    __slots__ = ("_key", "public")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise KeyFormatError("a private key is 32 bytes between 1 and the group order", fault="user")
        self._key = coincurve.PrivateKey(secret)
        self.public: bytes = self._key.public_key.format(compressed=True)
        """33 bytes, compressed."""

    @property
    def secret(self) -> bytes:
        """The 32 bytes, big-endian."""
        return bytes(self._key.secret)

    def sign(self, digest: bytes) -> bytes:
        """DER signature of a 32-byte digest; always the same for the same digest."""
        if len(digest) != 32:
            raise KeyFormatError("only 32-byte digests are signed", fault="twinlock", numbers={"size": len(digest)})
        return bytes(self._key.sign(digest, hasher=None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and self.public == other.public

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"PrivateKey(public={self.public.hex()})"


def check_pubkey(pubkey: bytes) -> bytes:
    """`pubkey` itself if it is a point, compressed (33 bytes) or uncompressed (65). Raises KeyFormatError."""
    _parse_pubkey(pubkey)
    return pubkey


def uncompressed(pubkey: bytes) -> bytes:
    """The 65-byte form of a public key. Raises KeyFormatError."""
    return bytes(_parse_pubkey(pubkey).format(compressed=False))


def verify(pubkey: bytes, digest: bytes, der: bytes) -> bool:
    """Does `der` sign the 32-byte digest? Strict DER only; a high S is as good as a low one.

    Bytes that are no signature give False; bytes that are no public key raise KeyFormatError.
    """
    key = _parse_pubkey(pubkey)
    try:
        r, s = parse_der(der)
    except MalformedError:
        return False
    if len(digest) != 32 or not (0 < r < ORDER and 0 < s < ORDER):
        return False
    # libsecp256k1 accepts the low one of the two equivalent values of S only.
    low = der if s <= ORDER // 2 else serialize_der(r, ORDER - s)
    return bool(key.verify(low, digest, hasher=None))


def parse_der(der: bytes) -> tuple[int, int]:
    """(r, s) of a strictly encoded signature without hash type byte. Raises MalformedError."""
    if not 8 <= len(der) <= MAX_DER or der[0] != 0x30 or der[1] != len(der) - 2:
        raise MalformedError("not a DER signature", code="chain.malformed.der", numbers={"size": len(der)})
    r, rest = _parse_der_int(der[2:])
    s, rest = _parse_der_int(rest)
    if rest:
        raise MalformedError("bytes follow a DER signature", code="chain.malformed.der")
    return r, s


def serialize_der(r: int, s: int) -> bytes:
    """The shortest DER form of (r, s)."""
    body = b"".join(b"\x02" + bytes((len(raw),)) + raw for raw in (_der_int(r), _der_int(s)))
    return b"\x30" + bytes((len(body),)) + body


def to_wif(coin: Coin, key: PrivateKey) -> str:
    """The key as wallets import it, marked as belonging to a compressed public key."""
    return base58.encode_check(bytes((coin.wif,)) + key.secret + b"\x01")


def from_wif(coin: Coin, text: str) -> PrivateKey:
    """Raises EncodingError, KeyFormatError. Keys of uncompressed public keys are refused."""
    raw = base58.decode_check(text)
    if len(raw) != 34 or raw[0] != coin.wif or raw[-1] != 1:
        raise KeyFormatError(f"not a private key of {coin.name} {coin.network}", fault="user")
    return PrivateKey(raw[1:33])


def _parse_pubkey(pubkey: bytes) -> coincurve.PublicKey:
    if (len(pubkey), pubkey[:1]) not in ((33, b"\x02"), (33, b"\x03"), (65, b"\x04")):
        raise KeyFormatError("not a public key", code="chain.key.public", numbers={"size": len(pubkey)})
    try:
        return coincurve.PublicKey(pubkey)
    except ValueError as error:
        raise KeyFormatError("the public key is not on the curve", code="chain.key.public") from error


def _parse_der_int(data: bytes) -> tuple[int, bytes]:
    if len(data) < 3 or data[0] != 2 or not 0 < data[1] <= len(data) - 2:
        raise MalformedError("not a DER integer", code="chain.malformed.der")
    raw = data[2 : 2 + data[1]]
    if raw[0] & 0x80 or (len(raw) > 1 and raw[0] == 0 and not raw[1] & 0x80):
        raise MalformedError("a DER integer is negative or padded", code="chain.malformed.der")
    return int.from_bytes(raw, "big"), data[2 + len(raw) :]


def _der_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
