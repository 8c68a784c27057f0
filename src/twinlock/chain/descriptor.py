"""Output descriptors of one key (BIP 380 to 386): where a wallet's addresses come from, without its secrets.

Understood: ``wpkh(...)`` and ``tr(...)`` of an extended public key, with or without its origin and checksum, and a
bare extended public key, which then means BIP 84.

>>> checksum("raw(deadbeef)")
'89f8spxm'
"""

from __future__ import annotations

import re

import msgspec

from twinlock.chain import script, taproot
from twinlock.chain.bip32 import HARDENED, HDKey, parse_path
from twinlock.chain.coin import Coin
from twinlock.chain.errors import KeyFormatError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.psbt import Origin
from twinlock.kernels.ripemd160 import hash160

_ALPHABET = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_CHECKSUM = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_SHAPE = re.compile(
    r"(?P<kind>wpkh|tr)\((?:\[(?P<print>[0-9a-fA-F]{8})(?P<path>(?:/\d+['hH]?)*)\])?"
    r"(?P<key>[1-9A-HJ-NP-Za-km-z]+)(?:/(?:\d+|<\d+;\d+>)/\*)?\)"
)


_PRIVATE = re.compile(r"wpkh\((?:\[[^\]]*\])?(?P<key>[1-9A-HJ-NP-Za-km-z]+)(?P<steps>(?:/\d+['hH]?)*)/\*\)")


class Descriptor(msgspec.Struct, frozen=True):
    """An account: its public node, of which child 0 has receive addresses and child 1 change.

    kind: "wpkh" or "tr". origin: where the node comes from; of the node itself if nothing is known.
    """

    kind: str
    node: HDKey
    origin: Origin

    @classmethod
    def parse(cls, coin: Coin, text: str) -> Descriptor:
        """From a descriptor or an extended public key. Raises KeyFormatError."""
        text = text.strip()
        if "(" not in text:
            node = _public(coin, text)
            return cls("wpkh", node, Origin(node.fingerprint, ()))
        body, _, given = text.partition("#")
        if given and checksum(body) != given:
            raise KeyFormatError("the descriptor's checksum is wrong", fault="user", fix="copy it again, completely")
        shape = _SHAPE.fullmatch(body)
        if shape is None:
            raise KeyFormatError("only wpkh() and tr() of one extended public key are understood", fault="user")
        node = _public(coin, shape["key"])
        origin = Origin(node.fingerprint, ())
        if shape["print"]:
            origin = Origin(bytes.fromhex(shape["print"]), tuple(parse_path("m" + shape["path"])))
        return cls(shape["kind"], node, origin)

    def script(self, branch: int, index: int) -> bytes:
        """The output script at a place; branch 0 receives, 1 is change."""
        public = self.public(branch, index)
        return taproot.output_script(public) if self.kind == "tr" else script.p2wpkh(hash160(public))

    def public(self, branch: int, index: int) -> bytes:
        """The public key at a place, 33 bytes."""
        return self.node.child(branch).child(index).public

    def origin_of(self, branch: int, index: int) -> Origin:
        """The way from the root to the key at a place."""
        return Origin(self.origin.fingerprint, (*self.origin.path, branch, index))

    def text(self, coin: Coin, branch: int | None = None) -> str:
        """With origin and checksum; of one branch, or (BIP 389) of both."""
        steps = "".join(f"/{step & ~HARDENED}{'h' if step & HARDENED else ''}" for step in self.origin.path)
        place = "<0;1>" if branch is None else str(branch)
        body = f"{self.kind}([{self.origin.fingerprint.hex()}{steps}]{self.node.neuter().text(coin)}/{place}/*)"
        return f"{body}#{checksum(body)}"


def private_child(coin: Coin, text: str, index: int) -> PrivateKey | None:
    """The key at an index of a ``wpkh(xprv.../path/*)`` descriptor, as nodes give them away; None for other kinds."""
    shape = _PRIVATE.fullmatch(text.partition("#")[0])
    if shape is None:
        return None
    node = HDKey.parse(coin, shape["key"]).derive("m" + shape["steps"])
    return node.child(index).secret_key if node.private is not None else None


def checksum(body: str) -> str:
    """The eight characters behind # (BIP 380). Raises KeyFormatError for characters that no descriptor has."""
    symbols: list[int] = []
    groups: list[int] = []
    for char in body:
        place = _ALPHABET.find(char)
        if place < 0:
            raise KeyFormatError("a descriptor has no such character", fault="user")
        symbols.append(place & 31)
        groups.append(place >> 5)
        if len(groups) == 3:
            symbols.append(groups[0] * 9 + groups[1] * 3 + groups[2])
            groups.clear()
    if groups:
        symbols.append(groups[0] if len(groups) == 1 else groups[0] * 3 + groups[1])
    rest = _remainder([*symbols, *[0] * 8]) ^ 1
    return "".join(_CHECKSUM[rest >> 5 * (7 - i) & 31] for i in range(8))


def _remainder(symbols: list[int]) -> int:
    rest = 1
    for symbol in symbols:
        top = rest >> 35
        rest = (rest & 0x7FFFFFFFF) << 5 ^ symbol
        for i, generator in enumerate(_GENERATORS):
            if top >> i & 1:
                rest ^= generator
    return rest


def _public(coin: Coin, text: str) -> HDKey:
    node = HDKey.parse(coin, text)
    if node.private is not None:
        raise KeyFormatError(
            "this is a private key; a watch-only wallet takes the public one",
            fault="user",
            fix="export the extended public key, and treat this private one as exposed",
        )
    return node
