"""Keys and signatures: RFC 6979, low S made, high S taken, nothing but strict DER."""

from __future__ import annotations

from hashlib import sha256

import pytest
from embit import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector, fixture

from twinlock.chain.coins import coin
from twinlock.chain.errors import ChainError, KeyFormatError, MalformedError
from twinlock.chain.keys import (
    ORDER,
    PrivateKey,
    check_pubkey,
    from_wif,
    parse_der,
    serialize_der,
    to_wif,
    uncompressed,
    verify,
)

secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


def test_signature_of_a_connect_request() -> None:
    vector = dex_vector("connect-signature")
    key = PrivateKey(bytes.fromhex(vector["inputs"]["privkey"]))
    digest = sha256(bytes.fromhex(vector["inputs"]["serialized"])).digest()
    assert digest.hex() == vector["expected"]["sha256"]
    assert key.sign(digest).hex() == vector["expected"]["sig"]
    assert verify(key.public, digest, key.sign(digest))


@given(secrets, digests)
def test_equal_to_embit(secret: bytes, digest: bytes) -> None:
    key, oracle = PrivateKey(secret), ec.PrivateKey(secret)
    assert key.public == oracle.get_public_key().sec()
    # Their signer grinds for a low R; without that the nonce is plain RFC 6979.
    assert key.sign(digest) == oracle.sign(digest, grind=False).serialize()
    assert oracle.get_public_key().verify(ec.Signature.parse(key.sign(digest)), digest)


@given(secrets, digests)
def test_both_values_of_s_are_good_and_ours_is_the_low_one(secret: bytes, digest: bytes) -> None:
    key = PrivateKey(secret)
    r, s = parse_der(key.sign(digest))
    assert s <= ORDER // 2
    assert verify(key.public, digest, serialize_der(r, ORDER - s))
    assert verify(uncompressed(key.public), digest, serialize_der(r, s))
    assert not verify(key.public, digest, serialize_der(r, s + 1))
    assert not verify(key.public, bytes(reversed(digest)), key.sign(digest)) or digest == digest[::-1]


@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_der_round_trip(r: int, s: int) -> None:
    der = serialize_der(r, s)
    assert parse_der(der) == (r, s)
    assert len(der) <= 72


GOOD = bytes.fromhex(
    "304402202ae45e6448379987b7c7f212e615fd8d41893c19c2947fc898abdd2532a5953b"
    "0220459e7008dd6c625c564381a153ddc3be34a8683b8647de566aec894607c05be9"
)
R, S = GOOD[2:36], GOOD[36:]
LOOSE = {
    "empty": b"",
    "trailing byte": GOOD + b"\0",
    "hash type still there": GOOD + b"\x01",
    "truncated": GOOD[:-1],
    "wrong outer tag": b"\x31" + GOOD[1:],
    "outer length too large": b"\x30\x45" + GOOD[2:],
    "outer length in long form": b"\x30\x81\x44" + GOOD[2:],
    "R padded with a zero": b"\x30\x45\x02\x21\x00" + R[2:] + S,
    "S padded with a zero": b"\x30\x45" + R + b"\x02\x21\x00" + S[2:],
    "R negative": b"\x30\x44\x02\x20\xaa" + R[3:] + S,
    "R of no bytes": b"\x30\x24\x02\x00" + S,
    "S of no bytes": b"\x30\x24" + R + b"\x02\x00",
    "S missing": b"\x30\x22" + R,
    "R not an integer": b"\x30\x44\x03" + R[1:] + S,
    "bytes between": b"\x30\x45" + R + b"\0" + S,
    "BER indefinite": b"\x30\x80" + R + S + b"\0\0",
    "73 bytes": b"\x30\x47" + R + S + b"\0" * 3,
}


@pytest.mark.parametrize("der", LOOSE.values(), ids=LOOSE)
def test_loose_der_is_refused(der: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_der(der)
    assert not verify(PrivateKey(bytes(31) + b"\1").public, bytes(32), der)


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (ORDER + 1, ORDER + 1)])
def test_numbers_outside_the_group_never_verify(r: int, s: int) -> None:
    assert not verify(PrivateKey(bytes(31) + b"\1").public, bytes(32), serialize_der(r, s))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_signature_or_refused(der: bytes) -> None:
    try:
        r, s = parse_der(der)
    except MalformedError:
        return
    assert serialize_der(r, s) == der


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), bytes(33), ORDER.to_bytes(32, "big"), b"\xff" * 32])
def test_secrets_that_are_no_keys(secret: bytes) -> None:
    with pytest.raises(KeyFormatError):
        PrivateKey(secret)


POINT = PrivateKey(bytes(31) + b"\x05").public
NO_PUBKEYS = {
    "empty": b"",
    "off the curve": b"\x02" + b"\xff" * 32,
    "x coordinate without a point": b"\x02" + (5).to_bytes(32, "big"),
    "bare x": POINT[1:],
    "wrong tag": b"\x05" + POINT[1:],
    "hybrid": bytes((6 + (uncompressed(POINT)[64] & 1),)) + uncompressed(POINT)[1:],
    "compressed tag on 65 bytes": b"\x02" + uncompressed(POINT)[1:],
    "uncompressed tag on 33 bytes": b"\x04" + POINT[1:],
    "wrong y": uncompressed(POINT)[:-1] + b"\0",
    "infinity": b"\0",
}


@pytest.mark.parametrize("pubkey", NO_PUBKEYS.values(), ids=NO_PUBKEYS)
def test_bytes_that_are_no_public_key(pubkey: bytes) -> None:
    with pytest.raises(KeyFormatError):
        check_pubkey(pubkey)
    with pytest.raises(KeyFormatError):
        verify(pubkey, bytes(32), GOOD)


def test_only_digests_are_signed_and_nothing_shows_the_secret() -> None:
    key = PrivateKey(b"\x11" * 32)
    with pytest.raises(KeyFormatError):
        key.sign(b"not a digest")
    assert not verify(key.public, b"not a digest", key.sign(bytes(32)))
    assert "1111" not in repr(key) + str(key) + f"{[key]}"
    assert key == PrivateKey(b"\x11" * 32) != PrivateKey(b"\x12" * 32)
    assert len({key, PrivateKey(b"\x11" * 32)}) == 1


def test_litecoin_cores_private_keys() -> None:
    network_of = {"main": "mainnet", "test": "testnet", "regtest": "regtest"}
    rows = [row for row in fixture("vectors/litecoin/key_io_valid.json") if row[2]["isPrivkey"]]
    assert rows
    for text, secret, about in rows:
        ltc = coin("ltc", network_of[about["chain"]])
        if about["isCompressed"]:
            assert from_wif(ltc, text).secret.hex() == secret
            assert to_wif(ltc, PrivateKey(bytes.fromhex(secret))) == text
        else:
            with pytest.raises(KeyFormatError):
                from_wif(ltc, text)
    for (text,) in fixture("vectors/litecoin/key_io_invalid.json"):
        for network in network_of.values():
            with pytest.raises(ChainError):
                from_wif(coin("ltc", network), text)


def test_a_key_of_another_network_is_refused() -> None:
    text = to_wif(coin("btc", "mainnet"), PrivateKey(b"\x11" * 32))
    with pytest.raises(KeyFormatError):
        from_wif(coin("btc", "testnet"), text)
