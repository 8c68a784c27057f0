"""Headers of real chains: identity, links, targets, proof of work, median time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import electrum_vectors

from twinlock.chain.coins import coin
from twinlock.chain.errors import InclusionError, MalformedError
from twinlock.chain.header import (
    PROOF_OF_WORK,
    Header,
    check_links,
    check_proof_of_work,
    median_time_past,
    parse_headers,
    target,
    work,
)

GENESIS = Header.parse(bytes.fromhex(electrum_vectors("headers")["mainnet"]["h0"]))
FIRST = Header.parse(bytes.fromhex(electrum_vectors("headers")["mainnet"]["h1"]))
LITECOIN = Header.parse(bytes.fromhex(electrum_vectors("litecoin")["header"]))


def test_the_first_two_headers() -> None:
    vectors = electrum_vectors("headers")["mainnet"]
    assert GENESIS.hash_hex == vectors["h0_hash"] == coin("btc", "mainnet").genesis_hash
    assert FIRST.hash_hex == vectors["h1_hash"]
    assert FIRST.prev_hash == GENESIS.hash
    assert GENESIS.serialize().hex() == vectors["h0"]
    assert (GENESIS.version, GENESIS.time, GENESIS.bits, GENESIS.nonce) == (1, 1231006505, 0x1D00FFFF, 2083236893)


def test_a_header_of_litecoin() -> None:
    assert LITECOIN.hash_hex == electrum_vectors("litecoin")["block_hash"]
    pow_hash = PROOF_OF_WORK[coin("ltc", "mainnet").proof_of_work](LITECOIN.serialize())
    assert pow_hash[::-1].hex() == electrum_vectors("litecoin")["pow_hash"]
    check_proof_of_work(coin("ltc", "mainnet"), LITECOIN)
    with pytest.raises(InclusionError):
        check_proof_of_work(coin("btc", "mainnet"), LITECOIN)


@pytest.mark.parametrize("row", electrum_vectors("other_blocks")["blocks"], ids=lambda row: row["name"])
def test_headers_of_other_networks(row: dict[str, str]) -> None:
    header = Header.parse(bytes.fromhex(row["header"]))
    assert header.hash_hex == row["block_hash"]
    assert header.merkle_root[::-1].hex() == row["merkle_root"]
    check_proof_of_work(coin("ltc" if "litecoin" in row["name"] else "btc", "mainnet"), header)


@pytest.mark.parametrize("row", electrum_vectors("auxpow")["cases"], ids=lambda row: f"{row['name']}-{row['height']}")
def test_identities_of_merge_mined_blocks(row: dict[str, str]) -> None:
    assert Header.parse(bytes.fromhex(row["header_80"])).hash_hex == row["block_hash"]


def test_work_is_checked() -> None:
    btc = coin("btc", "mainnet")
    check_proof_of_work(btc, GENESIS)
    check_proof_of_work(btc, FIRST)
    lazy = Header(1, GENESIS.prev_hash, GENESIS.merkle_root, GENESIS.time, GENESIS.bits, GENESIS.nonce + 1)
    with pytest.raises(InclusionError) as caught:
        check_proof_of_work(btc, lazy)
    assert caught.value.code == "chain.inclusion.work"


def test_links() -> None:
    check_links([])
    check_links([GENESIS, FIRST])
    check_links([FIRST], GENESIS.hash)
    with pytest.raises(InclusionError):
        check_links([FIRST, GENESIS])
    with pytest.raises(InclusionError):
        check_links([FIRST], FIRST.hash)


def test_headers_in_a_row() -> None:
    assert parse_headers(GENESIS.serialize() + FIRST.serialize()) == [GENESIS, FIRST]
    assert parse_headers(b"") == []
    for size in (1, 79, 81):
        with pytest.raises(MalformedError):
            parse_headers(bytes(size))
        with pytest.raises(MalformedError):
            Header.parse(bytes(size))


@given(st.binary(min_size=80, max_size=80))
def test_any_80_bytes_are_a_header(raw: bytes) -> None:
    assert Header.parse(raw).serialize() == raw


# Compact form, target, and the form that nodes write it in.
TARGETS = [
    (0x1D00FFFF, 0xFFFF << 208),
    (0x207FFFFF, 0x7FFFFF << 232),
    (0x1B0404CB, 0x0404CB << 192),
    (0x01120000, 0x12),
    (0x02123400, 0x1234),
    (0x03123456, 0x123456),
    (0x04123456, 0x12345600),
    (0x05009234, 0x92340000),
    (0x04000080, 0x8000),
    (0x22000001, 1 << 248),
    (0x220000FF, 0xFF << 248),
]


@pytest.mark.parametrize(("bits", "value"), TARGETS)
def test_targets(bits: int, value: int) -> None:
    assert target(bits) == value


@pytest.mark.parametrize(
    "bits",
    [
        0,
        0x00123456,
        0x01003456,
        0x02000056,
        0x03000000,
        0x04923456,
        0x01FEDCBA,
        0xFF123456,
        0x22000100,
        0x23000001,
        -1,
        1 << 32,
        1 << 60,
        -(1 << 60),
    ],
)
def test_targets_that_cannot_be_met_are_refused(bits: int) -> None:
    with pytest.raises(MalformedError):
        target(bits)


def test_work_of_the_easiest_target() -> None:
    assert work(0x1D00FFFF) == 0x100010001
    assert work(0x207FFFFF) == 2


def test_the_median_of_the_last_eleven_times() -> None:
    times = list(range(100, 120))
    random.Random(1).shuffle(times)
    assert median_time_past(times) == sorted(times[-11:])[5]
    assert median_time_past([7]) == 7
    assert median_time_past([1, 9]) == 9
    assert median_time_past(iter([3, 1, 2])) == 2
    with pytest.raises(InclusionError):
        median_time_past([])
