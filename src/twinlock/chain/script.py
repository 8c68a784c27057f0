"""Scripts: pushes, numbers, the standard output templates, and the hash that Electrum servers index by.

>>> push(bytes(80))[:2].hex(), number(-1).hex(), number(1 << 31).hex()
('4c50', '81', '0000008000')
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, StrEnum
from hashlib import sha256

import msgspec

from twinlock.chain.errors import KeyFormatError, ScriptError
from twinlock.chain.keys import check_pubkey
from twinlock.kernels.ripemd160 import hash160

MAX_ELEMENT = 520
"""Bytes that a script may push at once by consensus."""


class Op(IntEnum):
    """The opcodes that appear in the scripts we make or recognise."""

    PUSHDATA1 = 0x4C
    PUSHDATA2 = 0x4D
    PUSHDATA4 = 0x4E
    NEGATE1 = 0x4F
    TRUE = 0x51
    N16 = 0x60
    IF = 0x63
    ELSE = 0x67
    ENDIF = 0x68
    RETURN = 0x6A
    DROP = 0x75
    DUP = 0x76
    SIZE = 0x82
    EQUAL = 0x87
    EQUALVERIFY = 0x88
    SHA256 = 0xA8
    HASH160 = 0xA9
    CODESEPARATOR = 0xAB
    CHECKSIG = 0xAC
    CHECKMULTISIG = 0xAE
    CHECKLOCKTIMEVERIFY = 0xB1


class Kind(StrEnum):
    """The standard output scripts."""

    P2PK = "p2pk"
    P2PKH = "p2pkh"
    P2SH = "p2sh"
    P2WPKH = "p2wpkh"
    P2WSH = "p2wsh"
    P2TR = "p2tr"
    WITNESS = "witness"
    """A witness program of a later version."""
    MULTISIG = "multisig"
    DATA = "data"
    """OP_RETURN: never spendable."""
    OTHER = "other"


class Element(msgspec.Struct, frozen=True):
    """One instruction. data: what a push puts on the stack; None where the opcode is no push of bytes.

    end: offset of the byte behind the instruction.
    """

    opcode: int
    data: bytes | None
    end: int


_PUSHDATA_SIZE = {Op.PUSHDATA1: 1, Op.PUSHDATA2: 2, Op.PUSHDATA4: 4}


def push(data: bytes) -> bytes:
    """The shortest instruction that pushes `data` as bytes (OP_1 to OP_16 are left to `push_number`)."""
    size = len(data)
    if size < Op.PUSHDATA1:
        return bytes((size,)) + data
    if size <= 0xFF:
        return bytes((Op.PUSHDATA1, size)) + data
    if size <= 0xFFFF:
        return bytes((Op.PUSHDATA2,)) + size.to_bytes(2, "little") + data
    return bytes((Op.PUSHDATA4,)) + size.to_bytes(4, "little") + data


def push_number(value: int) -> bytes:
    """The shortest instruction that pushes a number."""
    if value == -1 or 1 <= value <= 16:
        return bytes((Op.TRUE - 1 + value,))
    return push(number(value))


def push_shortest(data: bytes) -> bytes:
    """The shortest instruction that leaves `data` on the stack, small numbers as their own opcodes (BIP 62)."""
    if len(data) == 1 and (1 <= data[0] <= 16 or data[0] == 0x81):
        return push_number(parse_number(data))
    return push(data)


def number(value: int) -> bytes:
    """A script number: little-endian, the top bit of the last byte is the sign, 0 is empty."""
    if value == 0:
        return b""
    magnitude = abs(value)
    raw = bytearray(magnitude.to_bytes(magnitude.bit_length() // 8 + 1, "little"))
    if value < 0:
        raw[-1] |= 0x80
    return bytes(raw)


def parse_number(raw: bytes, max_size: int = 4) -> int:
    """The value of a script number in its shortest form. Raises ScriptError.

    max_size: bytes; consensus reads 4, and 5 for lock times (BIP 65).
    """
    if len(raw) > max_size:
        raise ScriptError("a script number is too long", numbers={"size": len(raw), "limit": max_size})
    if not raw:
        return 0
    if not raw[-1] & 0x7F and (len(raw) == 1 or not raw[-2] & 0x80):
        raise ScriptError("a script number is not in its shortest form", code="chain.script.number")
    magnitude = int.from_bytes(raw[:-1] + bytes((raw[-1] & 0x7F,)), "little")
    return -magnitude if raw[-1] & 0x80 else magnitude


def elements(script: bytes) -> Iterator[Element]:
    """The instructions in order. Raises ScriptError where a push runs over the end."""
    pos, end = 0, len(script)
    while pos < end:
        opcode = script[pos]
        pos += 1
        if opcode > Op.PUSHDATA4:
            yield Element(opcode, None, pos)
            continue
        size = opcode
        if opcode >= Op.PUSHDATA1:
            width = _PUSHDATA_SIZE[Op(opcode)]
            if pos + width > end:
                raise ScriptError("a push runs over the end of the script", code="chain.script.truncated")
            size = int.from_bytes(script[pos : pos + width], "little")
            pos += width
        if pos + size > end:
            raise ScriptError("a push runs over the end of the script", code="chain.script.truncated")
        yield Element(opcode, script[pos : pos + size], pos + size)
        pos += size


def pushes(script: bytes) -> tuple[bytes, ...]:
    """What a script of nothing but pushes leaves on the stack, bottom first. Raises ScriptError."""
    return tuple(_pushed(element) for element in elements(script))


def _pushed(element: Element) -> bytes:
    if element.data is not None:
        return element.data
    if element.opcode == Op.NEGATE1 or Op.TRUE <= element.opcode <= Op.N16:
        return number(element.opcode - Op.TRUE + 1)
    raise ScriptError("the script does more than push", code="chain.script.not_push", numbers={"op": element.opcode})


def p2pk(pubkey: bytes) -> bytes:
    """Pay to a public key."""
    return push(check_pubkey(pubkey)) + bytes((Op.CHECKSIG,))


def p2pkh(pubkey_hash: bytes) -> bytes:
    """Pay to the HASH160 of a public key."""
    return b"\x76\xa9\x14" + _sized(pubkey_hash, 20) + b"\x88\xac"


def p2sh(script_hash: bytes) -> bytes:
    """Pay to the HASH160 of a script (BIP 16)."""
    return b"\xa9\x14" + _sized(script_hash, 20) + b"\x87"


def p2wpkh(pubkey_hash: bytes) -> bytes:
    """Witness version 0, HASH160 of a compressed public key (BIP 141)."""
    return b"\x00\x14" + _sized(pubkey_hash, 20)


def p2wsh(script: bytes) -> bytes:
    """Witness version 0, SHA-256 of `script` (BIP 141)."""
    return b"\x00\x20" + sha256(script).digest()


def p2sh_of(script: bytes) -> bytes:
    """The P2SH output for `script`."""
    return p2sh(hash160(script))


def multisig(required: int, pubkeys: list[bytes]) -> bytes:
    """Bare m-of-n. Raises ScriptError unless 1 <= m <= n <= 16."""
    if not 1 <= required <= len(pubkeys) <= 16:
        raise ScriptError("multisig wants 1 <= m <= n <= 16", numbers={"m": required, "n": len(pubkeys)})
    keys = b"".join(push(check_pubkey(key)) for key in pubkeys)
    return push_number(required) + keys + push_number(len(pubkeys)) + bytes((Op.CHECKMULTISIG,))


def data_output(data: bytes) -> bytes:
    """OP_RETURN and one push."""
    return bytes((Op.RETURN,)) + push(data)


def kind(script: bytes) -> Kind:
    """Which standard output script this is."""
    size = len(script)
    if size == 25 and script.startswith(b"\x76\xa9\x14") and script.endswith(b"\x88\xac"):
        return Kind.P2PKH
    if size == 23 and script.startswith(b"\xa9\x14") and script[-1] == Op.EQUAL:
        return Kind.P2SH
    if (program := witness_program(script)) is not None:
        version, body = program
        return _WITNESS_KINDS.get((version, len(body)), Kind.WITNESS if version else Kind.OTHER)
    if script[:1] == b"\x6a":
        return Kind.DATA
    if (size, script[:1]) in ((35, b"\x21"), (67, b"\x41")) and script[-1] == Op.CHECKSIG and _is_pubkey(script[1:-1]):
        return Kind.P2PK
    return Kind.MULTISIG if parse_multisig(script) else Kind.OTHER


_WITNESS_KINDS = {(0, 20): Kind.P2WPKH, (0, 32): Kind.P2WSH, (1, 32): Kind.P2TR}


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """(version, program of 2 to 40 bytes), or None if the script is no witness program (BIP 141)."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] != 0 and not Op.TRUE <= script[0] <= Op.N16:
        return None
    return (script[0] - Op.TRUE + 1 if script[0] else 0), script[2:]


def parse_multisig(script: bytes) -> tuple[int, tuple[bytes, ...]] | None:
    """(required, public keys) of a standard bare multisig script, else None."""
    if len(script) < 37 or script[-1] != Op.CHECKMULTISIG:
        return None
    required, total = script[0] - Op.TRUE + 1, script[-2] - Op.TRUE + 1
    if not 1 <= required <= total <= 16:
        return None
    try:
        keys = pushes(script[1:-2])
    except ScriptError:
        return None
    canonical = b"".join(map(push, keys)) == script[1:-2]
    return (required, keys) if canonical and len(keys) == total and all(map(_is_pubkey, keys)) else None


def is_unspendable(script: bytes) -> bool:
    """OP_RETURN first: provably nobody's."""
    return script[:1] == b"\x6a"


def scripthash(script: bytes) -> str:
    """What Electrum servers index by: reversed hex of the script's SHA-256."""
    return sha256(script).digest()[::-1].hex()


def _is_pubkey(data: bytes) -> bool:
    try:
        check_pubkey(data)
    except KeyFormatError:
        return False
    return True


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ScriptError(f"a hash of {size} bytes is wanted", numbers={"size": len(data)}, fault="twinlock")
    return data
