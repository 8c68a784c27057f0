"""Hierarchical keys: BIP 32 derivation, and BIP 84's accounts of P2WPKH addresses.

>>> root = HDKey.from_seed(bytes(16))
>>> root.derive("m/84'/0'/0'/0/5").depth
5
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha512

import coincurve
import msgspec

from twinlock.chain import base58
from twinlock.chain.coin import Coin
from twinlock.chain.errors import EncodingError, KeyFormatError
from twinlock.chain.keys import ORDER, PrivateKey, check_pubkey
from twinlock.kernels.ripemd160 import hash160

HARDENED = 1 << 31
MAX_DEPTH = 255


class HDKey(msgspec.Struct, frozen=True):
    """A node of the tree, with its private key or only the public one.

    chain_code: 32 bytes. parent: 4-byte fingerprint. index: with the HARDENED bit. The repr shows
    no secret.
    """

    public: bytes
    chain_code: bytes
    private: PrivateKey | None = None
    depth: int = 0
    parent: bytes = bytes(4)
    index: int = 0

    @classmethod
    def from_seed(cls, seed: bytes) -> HDKey:
        """The root of a tree; the seed has 16 to 64 bytes. Raises KeyFormatError."""
        if not 16 <= len(seed) <= 64:
            raise KeyFormatError("a seed has 16 to 64 bytes", fault="user", numbers={"size": len(seed)})
        digest = hmac.digest(b"Bitcoin seed", seed, sha512)
        return _node(PrivateKey(digest[:32]), digest[32:])

    @classmethod
    def parse(cls, coin: Coin, text: str) -> HDKey:
        """An extended key ("xprv...", "xpub...") with the coin's version bytes. Raises KeyFormatError."""
        try:
            raw = base58.decode_check(text)
        except EncodingError as error:
            raise KeyFormatError(f"not an extended key: {error}", fault="user") from error
        if len(raw) != 78:
            raise KeyFormatError("an extended key has 78 bytes", fault="user", numbers={"size": len(raw)})
        version, depth, parent = int.from_bytes(raw[:4], "big"), raw[4], raw[5:9]
        index, chain_code, key = int.from_bytes(raw[9:13], "big"), raw[13:45], raw[45:]
        if depth == 0 and (any(parent) or index):
            raise KeyFormatError("a root key has no parent", fault="user")
        if version == coin.bip32_private and key[0] == 0:
            private = PrivateKey(key[1:])
            return cls(private.public, chain_code, private, depth, parent, index)
        if version == coin.bip32_public:
            return cls(check_pubkey(key), chain_code, None, depth, parent, index)
        raise KeyFormatError(f"not an extended key of {coin.name} {coin.network}", fault="user")

    def __repr__(self) -> str:
        # The chain code together with one child's private key would give the parent's.
        return f"HDKey(public={self.public.hex()}, depth={self.depth}, index={self.index})"

    @property
    def fingerprint(self) -> bytes:
        """First 4 bytes of the public key's HASH160."""
        return hash160(self.public)[:4]

    @property
    def secret_key(self) -> PrivateKey:
        """The private key. Raises KeyFormatError where there is only a public one."""
        if self.private is None:
            raise KeyFormatError("this extended key is public only", fault="twinlock")
        return self.private

    def child(self, index: int) -> HDKey:
        """The child at `index` (add HARDENED for a hardened one).

        Raises KeyFormatError with code ``chain.key.no_child`` in the practically impossible case that
        the index has no valid key; BIP 32 then says to go on with the next.
        """
        if not 0 <= index < 2 * HARDENED or self.depth == MAX_DEPTH:
            raise KeyFormatError("no such child", numbers={"index": index, "depth": self.depth}, fault="twinlock")
        data = b"\x00" + self.secret_key.secret if index & HARDENED else self.public
        digest = hmac.digest(self.chain_code, data + index.to_bytes(4, "big"), sha512)
        tweak, chain_code, depth, parent = digest[:32], digest[32:], self.depth + 1, self.fingerprint
        try:
            if self.private is None:
                public = coincurve.PublicKey(self.public).add(tweak).format(compressed=True)
                return HDKey(public, chain_code, None, depth, parent, index)
            return _node(_add(self.private, tweak), chain_code, depth, parent, index)
        except (ValueError, KeyFormatError) as error:
            raise KeyFormatError(
                "this index has no child", code="chain.key.no_child", numbers={"index": index}
            ) from error

    def derive(self, path: str | Iterable[int]) -> HDKey:
        """Follow a path: text such as "m/84'/0'/0'" ("h" hardens too), or indices. Raises KeyFormatError."""
        key = self
        for index in parse_path(path) if isinstance(path, str) else path:
            key = key.child(index)
        return key

    def neuter(self) -> HDKey:
        """The same node without its private key."""
        return HDKey(self.public, self.chain_code, None, self.depth, self.parent, self.index)

    def text(self, coin: Coin) -> str:
        """The extended key in the coin's version: private if this one is. Keep that one secret."""
        version = coin.bip32_public if self.private is None else coin.bip32_private
        key = self.public if self.private is None else b"\0" + self.private.secret
        return base58.encode_check(
            version.to_bytes(4, "big")
            + bytes((self.depth,))
            + self.parent
            + self.index.to_bytes(4, "big")
            + self.chain_code
            + key
        )


def parse_path(text: str) -> list[int]:
    """The indices of a derivation path. Raises KeyFormatError."""
    head, *steps = text.split("/")
    if head != "m":
        raise KeyFormatError("a derivation path starts with m", fault="user")
    return [_parse_step(step) for step in steps]


def bip84_account(coin: Coin, account: int = 0) -> list[int]:
    """The path of a native segwit account: m/84'/coin'/account'; then /0/i receives, /1/i is change."""
    return [84 | HARDENED, coin.bip44_coin_type | HARDENED, account | HARDENED]


def _parse_step(step: str) -> int:
    hardened = step.endswith(("'", "h", "H"))
    digits = step[:-1] if hardened else step
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10) or int(digits) >= HARDENED:
        raise KeyFormatError("not a step of a derivation path", fault="user", numbers={"step": step[:16]})
    return int(digits) | (HARDENED if hardened else 0)


def _add(private: PrivateKey, tweak: bytes) -> PrivateKey:
    summand = int.from_bytes(tweak, "big")
    if summand >= ORDER:
        raise KeyFormatError("the derived number is not below the group order", fault="twinlock")
    return PrivateKey(((summand + int.from_bytes(private.secret, "big")) % ORDER).to_bytes(32, "big"))


def _node(private: PrivateKey, chain_code: bytes, depth: int = 0, parent: bytes = bytes(4), index: int = 0) -> HDKey:
    return HDKey(private.public, chain_code, private, depth, parent, index)
