"""Batches of signatures against one at a time."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain.keys import MAX_DER, ORDER, PrivateKey, parse_der, serialize_der
from twinlock.chain.signatures import Claim, check_many, check_plain, sign_many, sign_plain

KEYS = [PrivateKey(sha256(b"key %d" % number).digest()) for number in range(3)]
digests = st.binary(min_size=32, max_size=32)


def high(der: bytes) -> bytes:
    """The other signature that is as good."""
    r, s = parse_der(der)
    return serialize_der(r, ORDER - s)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    """True ones, and what comes of changing one part."""
    key, digest = draw(st.sampled_from(KEYS)), draw(digests)
    claim = Claim(key.public, digest, key.sign(digest))
    match draw(st.integers(0, 8)):
        case 1:
            return claim._replace(signature=high(claim.signature))
        case 2:
            return claim._replace(signature=draw(st.binary(max_size=MAX_DER + 3)))
        case 3:
            place = draw(st.integers(0, len(claim.signature) - 1))
            changed = bytearray(claim.signature)
            changed[place] ^= draw(st.integers(1, 255))
            return claim._replace(signature=bytes(changed))
        case 4:
            numbers = st.sampled_from((0, 1, ORDER - 1, ORDER, 2**256 - 1, 2**256))
            return claim._replace(signature=serialize_der(draw(numbers), draw(numbers)))
        case 5:
            return claim._replace(public_key=draw(st.binary(max_size=70)))
        case 6:
            lead = draw(st.sampled_from((0, 2, 3, 4, 6, 7)))
            return claim._replace(public_key=bytes((lead,)) + claim.public_key[1:])
        case 7:
            return claim._replace(digest=draw(digests))
        case 8:
            return claim._replace(digest=draw(st.binary(max_size=40)))
    return claim


@given(st.lists(claims(), max_size=6))
def test_a_batch_is_checked_like_one_after_the_other(batch: list[Claim]) -> None:
    assert check_many(batch) == check_plain(batch)


@given(st.sampled_from(KEYS), st.lists(digests, max_size=5))
def test_a_batch_is_signed_like_one_after_the_other(key: PrivateKey, batch: list[bytes]) -> None:
    made = sign_many(key, batch)
    assert made == sign_plain(key, batch)
    assert all(check_many([Claim(key.public, digest, der) for digest, der in zip(batch, made, strict=True)]))
