"""RIPEMD-160: the authors' digests, and the compiled kernel equal to its twin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernels.twins import needs_compiled

from twinlock.kernels.ripemd160 import hash160, ripemd160, ripemd160_plain

Digest = Callable[[bytes], bytes]

DIGESTS = {
    b"": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
    b"a": "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe",
    b"abc": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    b"message digest": "5d0689ef49d2fae572b881b123a85ffa21595f36",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": "12a053384a9c0c88e405a06c27dcf49ada62eb2b",
    b"1234567890" * 8: "9b752e45573d4b39f4dbd3323cab82bf63326bfb",
}


@pytest.mark.parametrize("function", [ripemd160, ripemd160_plain])
@pytest.mark.parametrize("data", DIGESTS)
def test_the_digests_of_the_authors(function: Digest, data: bytes) -> None:
    assert function(data).hex() == DIGESTS[data]


@needs_compiled
@pytest.mark.parametrize("size", [*range(200), 4095, 4096, 4097])
def test_compiled_equals_plain_at_every_padding(size: int) -> None:
    data = bytes(i * 11 & 0xFF for i in range(size))
    assert ripemd160(data) == ripemd160_plain(data)


@given(st.binary(max_size=500))
def test_equal_to_openssl_where_it_has_it(data: bytes) -> None:
    try:
        expected = hashlib.new("ripemd160", data).digest()
    except ValueError:
        pytest.skip("this OpenSSL lacks RIPEMD-160")
    assert ripemd160(data) == expected


def test_hash160_of_a_public_key() -> None:
    # The generator point: the key whose private number is one.
    pubkey = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    assert hash160(pubkey).hex() == "751e76e8199196d454941c45d1b3a323f1433bd6"
