"""The block scanner against real blocks, published facts and its plain twin."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.indexer.chains import random_chain
from tests.vectors_for_tests import fixture

from twinlock.kernels import scan_plain
from twinlock.kernels.scan import OUTPUT, Scan, ScanError, scan_block, scan_tx, tx_hash

REAL = {
    "bitcoin_mainnet_951658": False,
    "bitcoin_testnet4_40000": False,
    "dash_mainnet_844898": False,
    "digibyte_mainnet_4394891": False,
    "dogecoin_mainnet_371337": True,
    "litecoin_mainnet_2265985": False,
    "namecoin_mainnet_19204": True,
}


def real_block(name: str) -> dict[str, Any]:
    """A block as its node returned it."""
    block: dict[str, Any] = fixture(f"blocks/{name}.json")
    return block


@pytest.mark.parametrize(("name", "auxpow"), REAL.items(), ids=REAL.keys())
def test_real_blocks_give_the_transaction_ids_that_their_nodes_gave(name: str, auxpow: bool) -> None:
    block = real_block(name)
    scan = scan_block(bytes.fromhex(block["block"]), auxpow)
    assert [scan.txids[at : at + 32][::-1].hex() for at in range(0, len(scan.txids), 32)] == block["tx"]


@pytest.mark.parametrize(("name", "auxpow"), REAL.items(), ids=REAL.keys())
def test_offsets_cut_a_block_into_its_transactions(name: str, auxpow: bool) -> None:
    block = real_block(name)
    raw = bytes.fromhex(block["block"])
    scan = scan_block(raw, auxpow)
    offsets = struct.unpack(f"<{scan.tx_count + 1}I", scan.offsets)
    for number, (start, end) in enumerate(pairwise(offsets)):
        if block["tx"][number]:
            assert scan_tx(raw[start:end]).hash[::-1].hex() == block["tx"][number]


INPUT_AND_OUTPUT = "01" + "ab" * 32 + "00000000" + "00" + "ffffffff" + "01" + "0500000000000000" + "0151"


@pytest.mark.parametrize("part", ["00", "01" + "cd" * 2000, "000000", ""], ids=["HogEx", "peg-in", "short", "none"])
def test_the_hash_of_a_transaction_leaves_its_mweb_part_out(part: str) -> None:
    raw = bytes.fromhex("02000000" + "0008" + INPUT_AND_OUTPUT + part + "00000000")
    plain = bytes.fromhex("02000000" + INPUT_AND_OUTPUT + "00000000")
    if not part:
        for read in (tx_hash, scan_plain.tx_hash):
            with pytest.raises(ValueError):
                read(raw)
        return
    wanted = sha256(sha256(plain).digest()).digest()
    assert tx_hash(raw) == scan_plain.tx_hash(raw) == tx_hash(plain) == wanted
    assert (scan_tx(raw).mweb, scan_tx(raw).sealed) == (True, False)


def test_a_transaction_inside_the_extension_block_is_known_as_such() -> None:
    assert scan_tx(bytes.fromhex("02000000" + "0008" + "0000" + "01" + "cd" * 100 + "00000000")).sealed


@pytest.mark.parametrize("cut", [0, 1, 79, 80, 81, 120, 300])
def test_a_block_cut_short_is_refused(cut: int) -> None:
    raw = bytes.fromhex(real_block("bitcoin_testnet4_40000")["block"])
    with pytest.raises(ScanError):
        scan_block(raw[:cut])


def test_counts_that_cannot_be_are_refused_before_memory_is_asked_for() -> None:
    with pytest.raises(ScanError):
        scan_block(bytes(80) + b"\xff" * 9 + bytes(100))


def test_outputs_are_named_by_eleven_bytes_of_their_script_hash() -> None:
    raw = bytes.fromhex(real_block("litecoin_mainnet_2265985")["block"])
    scan = scan_block(raw)
    assert len(scan.outputs) % OUTPUT.size == 0
    tx = scan_tx(raw[slice(*struct.unpack_from("<2I", scan.offsets))])
    shown = {(vout, value, name) for index, vout, value, name in OUTPUT.iter_unpack(scan.outputs) if index == 0}
    for number, (value, script) in enumerate(tx.outputs):
        if not script.startswith((b"\x6a", b"\x00\x6a")):
            assert (number, value, sha256(script).digest()[:11]) in shown


@pytest.mark.parametrize(("name", "auxpow"), REAL.items(), ids=REAL.keys())
def test_the_twins_agree_on_real_blocks(name: str, auxpow: bool) -> None:
    raw = bytes.fromhex(real_block(name)["block"])
    assert scan_block(raw, auxpow) == scan_plain.scan_block(raw, auxpow)


@given(st.integers(0, 2**32), st.integers(0, 4000), st.binary(min_size=1, max_size=4))
def test_the_twins_agree_on_damaged_blocks(seed: int, where: int, noise: bytes) -> None:
    blocks, _ = random_chain(random.Random(seed), 4, 12)
    raw = bytearray(blocks[-1].raw)
    at = 80 + where % (len(raw) - 80)
    raw[at : at + len(noise)] = noise

    def outcome(scan: Callable[[bytes], Scan]) -> Scan | None:
        try:
            return scan(bytes(raw))
        except ScanError:
            return None

    assert outcome(scan_block) == outcome(scan_plain.scan_block)
