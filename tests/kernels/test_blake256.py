"""BLAKE-256: published digests, and the compiled kernel equal to its twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernels.twins import needs_compiled
from tests.vectors_for_tests import dex_vector

from twinlock.kernels.blake256 import blake256, blake256_plain
from twinlock.kernels.ripemd160 import ripemd160

Digest = Callable[[bytes], bytes]

BOTH = pytest.mark.parametrize("function", [blake256, blake256_plain])


@BOTH
def test_empty_input(function: Digest) -> None:
    assert function(b"").hex() == dex_vector("blake256-empty")["expected"]["digest"]


@BOTH
def test_the_digests_of_the_submission(function: Digest) -> None:
    # One zero byte, and 72 of them: a block of data, and one with its counter crossing into padding.
    assert function(bytes(1)).hex() == "0ce8d4ef4dd7cd8d62dfded9d4edb0a774ae6a41929a74da23109e8f11139c87"
    assert function(bytes(72)).hex() == "d419bad32d504fb7d44d460c42c5593fe544fa4c135dec31e21bd9abdcc22d41"
    assert function(bytes(32)).hex() == "05f6ac47accd338d329cc16f6d59f3409cc8bfe76a272e1eec612e49c115145d"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_commitments_of_the_protocol(number: int) -> None:
    vector = dex_vector(f"commitment-{number}")
    assert blake256(bytes.fromhex(vector["inputs"]["preimage"])).hex() == vector["expected"]["commitment"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_wallet_seeds_of_the_protocol(number: int) -> None:
    vector = dex_vector(f"asset-wallet-seed-{number}")
    seed = blake256(bytes.fromhex(vector["inputs"]["appseed"]) + vector["inputs"]["assetid"].to_bytes(4, "big"))
    assert seed.hex() == vector["expected"]["seed"]
    assert blake256(seed).hex() == vector["expected"]["pass"]


def test_the_account_id_of_the_protocol() -> None:
    vector = dex_vector("account-id")
    assert blake256(blake256(bytes.fromhex(vector["inputs"]["pubkey"]))).hex() == vector["expected"]["accountid"]


def test_decreds_public_key_and_script_hashes() -> None:
    expected = dex_vector("bond-dcr")["expected"]
    assert ripemd160(blake256(bytes.fromhex(expected["pubkey"]))).hex() == expected["pkh"]
    output = ripemd160(blake256(bytes.fromhex(expected["script"])))
    assert f"a914{output.hex()}87" == expected["output0_pkscript"]


@needs_compiled
@pytest.mark.parametrize("size", [*range(200), 4095, 4096, 4097])
def test_compiled_equals_plain_at_every_padding(size: int) -> None:
    data = bytes(i * 7 & 0xFF for i in range(size))
    assert blake256(data) == blake256_plain(data)


@needs_compiled
@given(st.binary(max_size=500))
def test_compiled_equals_plain(data: bytes) -> None:
    assert blake256(data) == blake256_plain(data)


@needs_compiled
def test_text_is_refused() -> None:
    with pytest.raises(TypeError):
        blake256("abc")  # type: ignore[arg-type]
