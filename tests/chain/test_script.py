"""Scripts: numbers and pushes at their borders, templates, and Bitcoin Core's table of scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import electrum_vectors, fixture

from twinlock.chain import script
from twinlock.chain.errors import KeyFormatError, ScriptError
from twinlock.chain.keys import PrivateKey, uncompressed
from twinlock.chain.script import Kind, Op

KEYS = [PrivateKey(bytes(31) + bytes((i,))).public for i in range(1, 18)]

# Values and the bytes that consensus gives them.
NUMBERS = {
    0: "",
    1: "01",
    -1: "81",
    16: "10",
    127: "7f",
    -127: "ff",
    128: "8000",
    -128: "8080",
    255: "ff00",
    256: "0001",
    -255: "ff80",
    0x7FFF: "ff7f",
    0x8000: "008000",
    0x7FFFFFFF: "ffffff7f",
    -0x7FFFFFFF: "ffffffff",
    0x80000000: "0000008000",
    0xFFFFFFFF: "ffffffff00",
    0x7FFFFFFFFF: "ffffffff7f",
}


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_at_their_borders(value: int) -> None:
    assert script.number(value).hex() == NUMBERS[value]
    assert script.parse_number(bytes.fromhex(NUMBERS[value]), max_size=5) == value


@given(st.integers(-(2**39) + 1, 2**39 - 1))
def test_numbers_round_trip(value: int) -> None:
    assert script.parse_number(script.number(value), max_size=5) == value


@pytest.mark.parametrize("raw", ["00", "80", "0100", "0180", "ff0000", "0000", "0080", "ffffff7f00"])
def test_numbers_longer_than_needed_are_refused(raw: str) -> None:
    with pytest.raises(ScriptError):
        script.parse_number(bytes.fromhex(raw), max_size=5)


def test_numbers_beyond_their_limit_are_refused() -> None:
    with pytest.raises(ScriptError):
        script.parse_number(bytes.fromhex("0000008000"))
    with pytest.raises(ScriptError):
        script.parse_number(bytes(6), max_size=5)


@pytest.mark.parametrize(
    ("size", "head"), [(0, "00"), (1, "01"), (75, "4b"), (76, "4c4c"), (255, "4cff"), (256, "4d0001"), (520, "4d0802")]
)
def test_pushes_at_their_borders(size: int, head: str) -> None:
    data = b"\x55" * size
    assert script.push(data) == bytes.fromhex(head) + data
    assert script.pushes(script.push(data)) == (data,)


def test_a_push_of_65536_bytes() -> None:
    assert script.push(bytes(65536))[:5].hex() == "4e00000100"


def test_the_shortest_pushes_use_the_opcodes_of_small_numbers() -> None:
    assert script.push_shortest(b"").hex() == "00"
    assert script.push_shortest(b"\x01").hex() == "51"
    assert script.push_shortest(b"\x10").hex() == "60"
    assert script.push_shortest(b"\x81").hex() == "4f"
    assert script.push_shortest(b"\x11").hex() == "0111"
    assert script.push_shortest(b"\x00").hex() == "0100"
    assert script.push_shortest(b"\x80").hex() == "0180"


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_pushes_round_trip(items: list[bytes]) -> None:
    assert script.pushes(b"".join(map(script.push_shortest, items))) == tuple(items)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_to_their_end_or_refused(code: bytes) -> None:
    try:
        found = list(script.elements(code))
    except ScriptError:
        return
    assert (found[-1].end if found else 0) == len(code)


@pytest.mark.parametrize("code", ["01", "4b", "4c", "4c01", "4d", "4d00", "4d0100", "4e000000", "4effffffff", "5102ff"])
def test_pushes_over_the_end_are_refused(code: str) -> None:
    with pytest.raises(ScriptError):
        list(script.elements(bytes.fromhex(code)))


def test_a_script_that_does_more_than_push() -> None:
    with pytest.raises(ScriptError):
        script.pushes(b"\x51\x76")
    with pytest.raises(ScriptError):
        script.pushes(b"\x50")


KINDS = {
    Kind.P2PK: script.p2pk(KEYS[0]),
    Kind.P2PKH: script.p2pkh(bytes(20)),
    Kind.P2SH: script.p2sh(bytes(20)),
    Kind.P2WPKH: script.p2wpkh(bytes(20)),
    Kind.P2WSH: script.p2wsh(b""),
    Kind.P2TR: b"\x51\x20" + bytes(32),
    Kind.MULTISIG: script.multisig(2, KEYS[:3]),
    Kind.DATA: script.data_output(b"note"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_template_is_recognised(kind: Kind) -> None:
    assert script.kind(KINDS[kind]) == kind


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != Kind.DATA])
def test_a_template_with_one_byte_more_or_less_is_another(kind: Kind) -> None:
    assert script.kind(KINDS[kind] + b"\0") != kind
    assert script.kind(KINDS[kind][:-1]) != kind


OTHERS = {
    "version 0 of 21 bytes": b"\x00\x15" + bytes(21),
    "P2PKH with a longer push": b"\x76\xa9\x4c\x14" + bytes(20) + b"\x88\xac",
    "P2SH with a longer push": b"\xa9\x4c\x14" + bytes(20) + b"\x87",
    "P2PK off the curve": b"\x21\x02" + b"\xff" * 32 + b"\xac",
    "multisig of 0": b"\x00\x00\xae",
    "multisig with more signatures than keys": b"\x52" + script.push(KEYS[0]) + b"\x51\xae",
    "multisig with fewer keys than said": b"\x51" + script.push(KEYS[0]) + b"\x52\xae",
    "multisig with a longer push": b"\x51\x4c\x21" + KEYS[0] + b"\x51\xae",
    "multisig with no key": b"\x51\x21" + bytes(33) + b"\x51\xae",
    "nothing": b"",
}


@pytest.mark.parametrize("code", OTHERS.values(), ids=OTHERS)
def test_near_misses_are_no_template(code: bytes) -> None:
    assert script.kind(code) == Kind.OTHER


def test_later_witness_versions() -> None:
    assert script.kind(b"\x51\x02\x4e\x73") == Kind.WITNESS
    assert script.kind(b"\x58\x20" + bytes(32)) == Kind.WITNESS
    assert script.witness_program(b"\x60\x28" + bytes(40)) == (16, bytes(40))
    assert script.witness_program(b"\x61\x20" + bytes(32)) is None
    assert script.witness_program(b"\x51\x01\x00") is None
    assert script.witness_program(b"\x51\x29" + bytes(41)) is None


def test_multisig_at_its_borders() -> None:
    assert script.parse_multisig(script.multisig(16, KEYS[:16])) == (16, tuple(KEYS[:16]))
    assert script.parse_multisig(script.multisig(1, [uncompressed(KEYS[0])])) == (1, (uncompressed(KEYS[0]),))
    for required, keys in ((0, KEYS[:1]), (2, KEYS[:1]), (1, []), (1, KEYS)):
        with pytest.raises(ScriptError):
            script.multisig(required, keys)
    with pytest.raises(KeyFormatError):
        script.p2pk(bytes(33))
    with pytest.raises(ScriptError):
        script.p2pkh(bytes(19))


def test_scripts_that_nobody_can_spend() -> None:
    rows = electrum_vectors("scripts_not_indexed")
    assert [script.is_unspendable(bytes.fromhex(code)) for code in rows["yes"]] == [True, True, False, False]
    assert not any(script.is_unspendable(bytes.fromhex(code)) for code in rows["no"])


def test_bitcoin_cores_scripts_are_read_as_they_were_written() -> None:
    checked = 0
    for row in fixture("vectors/bitcoin/script_tests.json"):
        row = row[1:] if row and isinstance(row[0], list) else row
        for text in row[:2] if len(row) > 3 else ():
            words = text.split()
            if not words or not all(word.lstrip("-").isdigit() for word in words):
                continue
            values = [int(word) for word in words]
            code = b"".join(map(script.push_number, values))
            pushed = script.pushes(code)
            assert [script.parse_number(item, max_size=9) for item in pushed] == values
            checked += 1
    assert checked > 300


def test_the_opcodes_have_the_numbers_of_consensus() -> None:
    assert (Op.CHECKLOCKTIMEVERIFY, Op.SHA256, Op.HASH160, Op.CHECKSIG) == (0xB1, 0xA8, 0xA9, 0xAC)
