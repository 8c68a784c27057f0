"""Bond scripts and commitments byte by byte, below and above 2^31."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector

from twinlock.chain import script
from twinlock.chain.bip32 import HARDENED, HDKey
from twinlock.chain.bond import MAX_LOCK_TIME, MIN_LOCK_TIME, BondScript, Commitment
from twinlock.chain.errors import BondError
from twinlock.kernels.ripemd160 import hash160

hashes20 = st.binary(min_size=20, max_size=20)
lock_times = st.integers(MIN_LOCK_TIME, MAX_LOCK_TIME)


def test_the_script_of_the_protocol() -> None:
    vector = dex_vector("bond-script-v0")
    bond = BondScript(vector["inputs"]["locktime"], bytes.fromhex(vector["inputs"]["pkh"]))
    assert bond.serialize().hex() == vector["expected"]["script"]
    assert BondScript.parse(bytes.fromhex(vector["expected"]["script"])) == bond


def test_a_bond_from_the_key_to_its_outputs() -> None:
    vector = dex_vector("bond-btc")
    inputs, expected = vector["inputs"], vector["expected"]
    path = [0x626F6E64 | HARDENED, inputs["assetid"] | HARDENED, inputs["bond_index"]]
    key = HDKey.from_seed(bytes.fromhex(inputs["appseed"])).derive(path)
    assert key.secret_key.secret.hex() == expected["privkey"]
    assert key.public.hex() == expected["pubkey"]
    assert hash160(key.public).hex() == expected["pkh"]
    bond = BondScript(inputs["locktime"], hash160(key.public))
    assert bond.serialize().hex() == expected["script"]
    assert script.p2wsh(bond.serialize()).hex() == expected["output0_pkscript"]
    commitment = Commitment(bytes.fromhex(inputs["accountid"]), bond.lock_time, bond.pubkey_hash)
    assert commitment.serialize().hex() == expected["output1_pkscript"]
    assert Commitment.parse(commitment.serialize()) == commitment


def test_decreds_bond_has_the_same_bytes_around_other_hashes() -> None:
    vector = dex_vector("bond-dcr")
    bond = BondScript(vector["inputs"]["locktime"], bytes.fromhex(vector["expected"]["pkh"]))
    assert bond.serialize().hex() == vector["expected"]["script"]
    commitment = Commitment(bytes.fromhex(vector["inputs"]["accountid"]), bond.lock_time, bond.pubkey_hash)
    assert commitment.serialize().hex() == vector["expected"]["output1_pkscript"]


@given(lock_times, hashes20)
def test_scripts_round_trip(lock_time: int, pubkey_hash: bytes) -> None:
    bond = BondScript(lock_time, pubkey_hash)
    data = bond.serialize()
    assert len(data) == (32 if lock_time < 1 << 31 else 33)
    assert BondScript.parse(data) == bond


@pytest.mark.parametrize(
    ("lock_time", "head"),
    [(0x7FFFFFFF, "04ffffff7f"), (0x80000000, "050000008000"), (0xFFFFFFFF, "05ffffffff00")],
)
def test_lock_times_around_2_31(lock_time: int, head: str) -> None:
    assert BondScript(lock_time, bytes(20)).serialize().hex().startswith(head + "b175")


GOOD = BondScript(1_700_000_000, bytes(20)).serialize()
BAD = {
    "nothing": b"",
    "one byte short": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "another opcode": GOOD[:5] + b"\xb2" + GOOD[6:],
    "another end": GOOD[:-1] + b"\xad",
    "a height": BondScript(MIN_LOCK_TIME, bytes(20)).serialize()[:1] + bytes.fromhex("ff64cd1d") + GOOD[5:],
    "a negative time in four bytes": b"\x04\xff\xff\xff\xff" + GOOD[5:],
    "a time padded to five bytes": b"\x05\xff\xff\xff\x7f\x00" + GOOD[5:],
    "a negative time in five bytes": b"\x05\x00\x00\x00\x00\x81" + GOOD[5:],
    "a time beyond 32 bits": b"\x05\x00\x00\x00\x00\x01" + GOOD[5:],
    "three bytes": b"\x03\x00\x00\x10" + GOOD[5:],
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_bond_script(data: bytes) -> None:
    with pytest.raises(BondError):
        BondScript.parse(data)


@pytest.mark.parametrize("lock_time", [-1, 0, MIN_LOCK_TIME - 1, MAX_LOCK_TIME + 1])
def test_lock_times_that_are_none(lock_time: int) -> None:
    with pytest.raises(BondError):
        BondScript(lock_time, bytes(20)).serialize()


@given(st.binary(max_size=70))
def test_any_bytes_are_refused_with_the_same_kind_of_error(data: bytes) -> None:
    with pytest.raises(BondError):
        BondScript.parse(data)
    with pytest.raises(BondError):
        Commitment.parse(data)


def test_commitments_that_are_none() -> None:
    good = Commitment(bytes(32), 1_700_000_000, bytes(20)).serialize()
    for bad in (
        good[:-1],
        good + b"\0",
        b"\x6b" + good[1:],
        b"\x6a\x4c\x3a" + good[2:],
        b"\x6a\x3a\x00\x01" + good[4:],
    ):
        with pytest.raises(BondError):
            Commitment.parse(bad)
    for account, key_hash in ((31, 20), (32, 21)):
        with pytest.raises(BondError):
            Commitment(bytes(account), 1_700_000_000, bytes(key_hash)).serialize()
    with pytest.raises(BondError):
        BondScript(1_700_000_000, bytes(19)).serialize()
