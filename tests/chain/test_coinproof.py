"""Proofs of funds: what convinces, and every way not to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector

from twinlock.chain import script
from twinlock.chain.coinproof import make_proof, verify_proof
from twinlock.chain.errors import CoinProofError
from twinlock.chain.keys import ORDER, PrivateKey, parse_der, serialize_der, uncompressed
from twinlock.kernels.blake256 import blake256
from twinlock.kernels.ripemd160 import hash160

COIN_ID = bytes.fromhex("11" * 32 + "00000003")
KEYS = [PrivateKey(bytes(31) + bytes((i,))) for i in range(1, 5)]
PUBLIC = [key.public for key in KEYS]
HASH = hash160(PUBLIC[0])
MULTISIG = script.multisig(2, PUBLIC[:3])


@pytest.mark.parametrize(("name", "digest"), [("coin-signature-btc", None), ("coin-signature-dcr", blake256)])
def test_signatures_of_the_protocol(name: str, digest: type[bytes] | None) -> None:
    inputs, expected = dex_vector(name)["inputs"], dex_vector(name)["expected"]
    key, coin_id = PrivateKey(bytes.fromhex(inputs["privkey"])), bytes.fromhex(inputs["coinid"])
    extra = {"digest": digest} if digest else {}
    pubkeys, sigs = make_proof(coin_id, [key], **extra)
    assert (pubkeys[0].hex(), sigs[0].hex()) == (inputs["pubkey"], expected["sig"])
    verify_proof(script.p2wpkh(hash160(key.public)), b"", coin_id, pubkeys, sigs, **extra)


OUTPUTS = {
    "P2WPKH": (script.p2wpkh(HASH), b"", 1),
    "P2PKH": (script.p2pkh(HASH), b"", 1),
    "P2PK": (script.p2pk(PUBLIC[0]), b"", 1),
    "P2SH of P2PKH": (script.p2sh_of(script.p2pkh(HASH)), script.p2pkh(HASH), 1),
    "P2SH of P2PK": (script.p2sh_of(script.p2pk(PUBLIC[0])), script.p2pk(PUBLIC[0]), 1),
    "P2WSH of P2PK": (script.p2wsh(script.p2pk(PUBLIC[0])), script.p2pk(PUBLIC[0]), 1),
    "P2SH of 2-of-3": (script.p2sh_of(MULTISIG), MULTISIG, 2),
    "P2WSH of 2-of-3": (script.p2wsh(MULTISIG), MULTISIG, 2),
}


@pytest.mark.parametrize("case", OUTPUTS.values(), ids=OUTPUTS)
def test_the_holder_convinces(case: tuple[bytes, bytes, int]) -> None:
    output, redeem, required = case
    verify_proof(output, redeem, COIN_ID, *make_proof(COIN_ID, KEYS[:required]))


@pytest.mark.parametrize("case", OUTPUTS.values(), ids=OUTPUTS)
def test_nobody_else_does(case: tuple[bytes, bytes, int]) -> None:
    output, redeem, required = case
    pubkeys, sigs = make_proof(COIN_ID, KEYS[:required])
    others = make_proof(COIN_ID, KEYS[-required:])
    refused = {
        "another coin": (output, redeem, COIN_ID[:-1] + b"\4", pubkeys, sigs),
        "another key": (output, redeem, COIN_ID, [*pubkeys[:-1], others[0][-1]], [*sigs[:-1], others[1][-1]]),
        "another's signature": (output, redeem, COIN_ID, pubkeys, [*sigs[:-1], others[1][-1]]),
        "a signature missing": (output, redeem, COIN_ID, pubkeys, sigs[:-1]),
        "nothing at all": (output, redeem, COIN_ID, [], []),
        "one key twice": (output, redeem, COIN_ID, [pubkeys[0]] * 2, [sigs[0]] * 2),
        "a hash type behind the signature": (output, redeem, COIN_ID, pubkeys, [sig + b"\1" for sig in sigs]),
        "another redeem script": (output, redeem + b"\x51", COIN_ID, pubkeys, sigs),
        "a key that is none": (output, redeem, COIN_ID, [b"\2" * 33, *pubkeys[1:]], sigs),
        "an empty key": (output, redeem, COIN_ID, [b"", *pubkeys[1:]], sigs),
    }
    for attempt in refused.values():
        with pytest.raises(CoinProofError):
            verify_proof(*attempt)


def test_one_of_two_keys_is_not_enough_and_three_are_fine() -> None:
    output = script.p2wsh(MULTISIG)
    with pytest.raises(CoinProofError) as caught:
        verify_proof(output, MULTISIG, COIN_ID, *make_proof(COIN_ID, KEYS[:1]))
    assert caught.value.numbers == {"required": 2, "given": 1}
    verify_proof(output, MULTISIG, COIN_ID, *make_proof(COIN_ID, KEYS[:3]))


def test_every_signature_given_must_be_good() -> None:
    pubkeys, sigs = make_proof(COIN_ID, KEYS[:3])
    with pytest.raises(CoinProofError):
        verify_proof(script.p2wsh(MULTISIG), MULTISIG, COIN_ID, pubkeys, [*sigs[:2], sigs[0]])


def test_a_high_s_is_tolerated() -> None:
    pubkeys, (sig,) = make_proof(COIN_ID, KEYS[:1])
    r, s = parse_der(sig)
    verify_proof(script.p2wpkh(HASH), b"", COIN_ID, pubkeys, [serialize_der(r, ORDER - s)])


def test_uncompressed_keys_hold_old_outputs_but_no_witness_programs() -> None:
    long = uncompressed(PUBLIC[0])
    _, sigs = make_proof(COIN_ID, KEYS[:1])
    verify_proof(script.p2pkh(hash160(long)), b"", COIN_ID, [long], sigs)
    verify_proof(script.p2pk(long), b"", COIN_ID, [long], sigs)
    for output, redeem in (
        (script.p2wpkh(hash160(long)), b""),
        (script.p2wsh(script.p2pk(long)), script.p2pk(long)),
        (script.p2pkh(HASH), b""),
    ):
        with pytest.raises(CoinProofError):
            verify_proof(output, redeem, COIN_ID, [long], sigs)


UNSUPPORTED = {
    "taproot": (b"\x51\x20" + bytes(32), b""),
    "bare multisig": (script.multisig(1, PUBLIC[:1]), b""),
    "nested segwit": (script.p2sh_of(script.p2wpkh(HASH)), script.p2wpkh(HASH)),
    "P2SH in P2SH": (script.p2sh_of(script.p2sh(bytes(20))), script.p2sh(bytes(20))),
    "P2WSH of anyone": (script.p2wsh(b"\x51"), b"\x51"),
    "data": (script.data_output(b""), b""),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_outputs_that_cannot_fund_orders(case: tuple[bytes, bytes]) -> None:
    with pytest.raises(CoinProofError):
        verify_proof(*case, COIN_ID, *make_proof(COIN_ID, KEYS[:1]))


def test_a_redeem_script_that_consensus_could_never_push_is_refused() -> None:
    keys = [PrivateKey(bytes(31) + bytes((i,))) for i in range(1, 17)]
    large = script.multisig(1, [key.public for key in keys])
    assert len(large) > script.MAX_ELEMENT
    proof = make_proof(COIN_ID, keys[:1])
    verify_proof(script.p2wsh(large), large, COIN_ID, *proof)
    with pytest.raises(CoinProofError):
        verify_proof(script.p2sh_of(large), large, COIN_ID, *proof)


def test_more_keys_than_any_script_has_are_refused_before_any_signature_is_checked() -> None:
    with pytest.raises(CoinProofError) as caught:
        verify_proof(script.p2wpkh(HASH), b"", COIN_ID, [bytes((i,)) for i in range(17)], [b""] * 17)
    assert caught.value.code == "chain.coin_proof.count"


junk = st.lists(st.binary(max_size=80), max_size=4)


@given(st.binary(max_size=60), st.binary(max_size=120), junk, junk)
def test_any_bytes_are_refused_with_the_same_kind_of_error(
    output: bytes, redeem: bytes, pubkeys: list[bytes], sigs: list[bytes]
) -> None:
    with pytest.raises(CoinProofError):
        verify_proof(output, redeem, COIN_ID, pubkeys, sigs)
