"""Sizes and the amounts that follow from them, as both sides of the protocol count them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.vectors_for_tests import dex_vector

from twinlock.chain import script, sizes
from twinlock.chain.errors import CoinProofError
from twinlock.chain.keys import PrivateKey, uncompressed

KEYS = [PrivateKey(bytes(31) + bytes((i,))).public for i in range(1, 4)]


@pytest.mark.parametrize(
    ("name", "table"), [("order-funds-btc-segwit", sizes.SEGWIT), ("order-funds-btc-nonsegwit", sizes.LEGACY)]
)
def test_required_funds_of_the_protocol(name: str, table: sizes.SizeTable) -> None:
    inputs = dex_vector(name)["inputs"]
    assert (table.swap_base, table.swap) == (inputs["init_size_base"], inputs["init_size"])
    required = sizes.required_funds(
        table, inputs["swapval"], inputs["lots"], inputs["inputs_size"], inputs["maxfeerate"]
    )
    assert required == dex_vector(name)["expected"]["required"]


@pytest.mark.parametrize("name", ["order-funds-evm", "order-funds-dcr"])
def test_the_formula_serves_other_families(name: str) -> None:
    inputs = dex_vector(name)["inputs"]
    table = replace(sizes.LEGACY, swap_base=inputs["init_size_base"], swap=inputs["init_size"])
    required = sizes.required_funds(
        table, inputs["swapval"], inputs["lots"], inputs["inputs_size"], inputs["maxfeerate"]
    )
    assert required == dex_vector(name)["expected"]["required"]


def test_smallest_lots_of_the_protocol() -> None:
    vector = dex_vector("min-lot-sizes")
    rate = vector["inputs"]["maxfeerate"]
    assert sizes.min_lot(sizes.SEGWIT, rate) == vector["expected"]["btc_segwit"]
    assert sizes.min_lot(sizes.LEGACY, rate) == vector["expected"]["btc_nonsegwit"]


def test_constants_of_the_protocol() -> None:
    assert sizes.SEGWIT.contract_spend(sizes.REDEEM_DATA) == 142
    assert sizes.LEGACY.contract_spend(sizes.REDEEM_DATA) == 325
    assert sizes.min_bond(sizes.SEGWIT, 1) == 447
    assert sizes.min_bond(sizes.LEGACY, 1) == 772
    assert sizes.swap_size(sizes.SEGWIT, 69, 1) == sizes.SEGWIT.swap
    assert sizes.swap_size(sizes.LEGACY, 149, 1) == sizes.LEGACY.swap
    assert sizes.swap_size(sizes.SEGWIT, 69, 3) == 153 + 2 * 43
    assert sizes.swap_size(sizes.LEGACY, 149, 2) == 225 + 32
    assert sizes.dust_limit(sizes.SEGWIT, 31, 1) == 294
    assert sizes.dust_limit(sizes.LEGACY, 34, 1) == 546


TWO_OF_THREE = script.multisig(2, KEYS)
INPUTS = {
    "P2WPKH": (script.p2wpkh(bytes(20)), b"", 69),
    "P2PKH": (script.p2pkh(bytes(20)), b"", 149),
    "P2PK": (script.p2pk(KEYS[0]), b"", 40 + 1 + 74),
    "P2SH of P2PKH": (script.p2sh(bytes(20)), script.p2pkh(bytes(20)), 40 + 1 + 74 + 34 + 26),
    "P2SH of 2-of-3": (script.p2sh(bytes(20)), TWO_OF_THREE, 40 + 3 + 1 + 2 * 74 + 1 + 105),
    "P2WSH of 2-of-3": (script.p2wsh(b""), TWO_OF_THREE, 41 + -(-(2 * 74 + 1 + 105) // 4)),
}


@pytest.mark.parametrize("case", INPUTS.values(), ids=INPUTS)
def test_worst_case_inputs(case: tuple[bytes, bytes, int]) -> None:
    output, redeem, size = case
    assert sizes.input_size(output, redeem) == size


UNSUPPORTED = {
    "taproot": (b"\x51\x20" + bytes(32), b""),
    "bare multisig": (TWO_OF_THREE, b""),
    "data": (script.data_output(b"x"), b""),
    "P2SH in P2SH": (script.p2sh(bytes(20)), script.p2sh(bytes(20))),
    "nested segwit": (script.p2sh(bytes(20)), script.p2wpkh(bytes(20))),
    "P2SH of nothing": (script.p2sh(bytes(20)), b""),
    "P2WSH of a contract": (script.p2wsh(b""), b"\x63\x68"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_outputs_that_cannot_fund_orders(case: tuple[bytes, bytes]) -> None:
    with pytest.raises(CoinProofError):
        sizes.input_size(*case)


def test_an_uncompressed_p2pk_is_as_large_as_a_compressed_one() -> None:
    assert sizes.input_size(script.p2pk(uncompressed(KEYS[0])), b"") == 115


@given(st.integers(0, 2**62), st.integers(0, 1000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_lots_inputs_or_fees_never_need_less(value: int, lots: int, inputs: int, rate: int) -> None:
    for table in (sizes.SEGWIT, sizes.LEGACY):
        needed = sizes.required_funds(table, value, lots + 1, inputs + table.swap, rate)
        assert needed >= value
        assert sizes.required_funds(table, value, lots + 2, inputs + table.swap, rate) >= needed
