"""PSBTs: BIP 174's rules, and embit in every role."""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import sha256

import pytest
from embit import ec, finalizer
from embit import psbt as oracle_psbt
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlock.chain import psbt_sign, script, taproot
from twinlock.chain.bip32 import HARDENED
from twinlock.chain.errors import ChainError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.psbt import MAGIC, In, Origin, Out, Psbt, PsbtError, field
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.chain.wire import var_bytes
from twinlock.kernels.ripemd160 import hash160

KEYS = [PrivateKey(sha256(bytes([i])).digest()) for i in range(3)]
HASH = hash160(KEYS[0].public)
MULTI = script.multisig(2, [key.public for key in KEYS])
PAID = TxOut(90_000, script.p2wpkh(bytes(20)))

KINDS: dict[str, tuple[bytes, dict[bytes, bytes], int]] = {
    "p2wpkh": (script.p2wpkh(HASH), {}, 1),
    "p2pkh": (script.p2pkh(HASH), {}, 1),
    "p2sh-p2wpkh": (script.p2sh_of(script.p2wpkh(HASH)), {field(In.REDEEM_SCRIPT): script.p2wpkh(HASH)}, 1),
    "p2wsh": (script.p2wsh(MULTI), {field(In.WITNESS_SCRIPT): MULTI}, 2),
    "p2sh": (script.p2sh_of(MULTI), {field(In.REDEEM_SCRIPT): MULTI}, 2),
    "p2sh-p2wsh": (
        script.p2sh_of(script.p2wsh(MULTI)),
        {field(In.REDEEM_SCRIPT): script.p2wsh(MULTI), field(In.WITNESS_SCRIPT): MULTI},
        2,
    ),
    "p2tr": (taproot.output_script(KEYS[0].public), {field(In.TAP_KEY): KEYS[0].public[1:]}, 1),
}
"""Output, what unlocks it, and how many keys must sign."""


def funding(output: bytes, value: int = 100_000) -> Tx:
    return Tx(2, (TxIn(b"\x07" * 32, 1, b"\x51"),), (TxOut(1, b"\x51"), TxOut(value, output)))


def unsigned(*kinds: str) -> Psbt:
    """One input of each kind, one output."""
    parents = [funding(KINDS[kind][0], 100_000 + i) for i, kind in enumerate(kinds)]
    psbt = Psbt.of(Tx(2, tuple(TxIn(parent.hash, 1, sequence=0xFFFFFFFD) for parent in parents), (PAID,), 500))
    for i, (kind, parent) in enumerate(zip(kinds, parents, strict=True)):
        told = {field(In.WHOLE_TX): parent.serialize(), **KINDS[kind][1]}
        if "w" in kind or kind == "p2tr":
            told[field(In.SPENT_OUTPUT)] = parent.outputs[1].serialize()
        psbt = psbt.with_input(i, told)
    return psbt


def signed(psbt: Psbt, *kinds: str) -> Psbt:
    for i, kind in enumerate(kinds):
        for key in KEYS[: KINDS[kind][2]]:
            psbt = psbt_sign.sign(psbt, i, key)
    return psbt


def embit_signs(psbt: Psbt) -> Psbt:
    oracle = oracle_psbt.PSBT.parse(psbt.serialize())
    for key in KEYS:
        oracle.sign_with(ec.PrivateKey(key.secret))
    return Psbt.parse(oracle.serialize())


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_sign_embit_finalizes_to_the_same_transaction(kind: str) -> None:
    done = signed(unsigned(kind), kind)
    tx = psbt_sign.extract(psbt_sign.finalize(done))
    assert (tx.txid == done.tx.txid) == (not tx.inputs[0].script)
    assert Tx.parse(tx.serialize()) == tx
    if kind in ("p2tr", "p2sh"):
        return  # embit closes the first while it signs, and puts old multisig into the witness
    oracle = finalizer.finalize_psbt(oracle_psbt.PSBT.parse(done.serialize()))
    assert oracle.serialize() == tx.serialize()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "p2sh-p2wpkh"])
def test_what_embit_signs_we_finalize(kind: str) -> None:
    tx = psbt_sign.extract(psbt_sign.finalize(embit_signs(unsigned(kind))))
    assert tx.inputs[0].script or tx.inputs[0].witness


def test_inputs_of_every_kind_in_one_transaction() -> None:
    kinds = tuple(KINDS)
    half = unsigned(*kinds)
    parts = [half]
    for key in KEYS:
        part = half
        for i, kind in enumerate(kinds):
            if key in KEYS[: KINDS[kind][2]]:
                part = psbt_sign.sign(part, i, key)
        parts.append(part)
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.combined(Psbt.parse(part.text))
    final = psbt_sign.finalize(whole)
    assert all(psbt_sign.is_final(final, i) for i in range(len(kinds)))
    assert Psbt.parse(final.text) == final
    assert final.fee == sum(100_000 + i for i in range(len(kinds))) - PAID.value


def test_the_bytes_of_a_small_psbt_are_as_the_bip_says() -> None:
    tx = Tx(2, (TxIn(b"\x01" * 32, 3),), (PAID,))
    origin = Origin(b"\xaa\xbb\xcc\xdd", (84 | HARDENED, 7))
    spent, key = TxOut(100_000, script.p2wpkh(HASH)), KEYS[0].public
    psbt = Psbt.of(tx).with_input(
        0, {field(In.DERIVATION, key): origin.serialize(), field(In.SPENT_OUTPUT): spent.serialize()}
    )
    psbt = psbt.with_output(0, {field(Out.DERIVATION, key): origin.serialize()})
    path = bytes.fromhex("aabbccdd5400008007000000")
    wanted = (
        b"psbt\xff"
         b"\x01\x00" + var_bytes(tx.serialize()) + b"\x00"
        + b"\x01\x01" + var_bytes(spent.serialize())
        + b"\x22\x06" + key + b"\x0c" + path + b"\x00"
        + b"\x22\x02" + key + b"\x0c" + path + b"\x00"
    )  # fmt: skip
    assert psbt.serialize() == wanted
    assert Psbt.parse(wanted) == Psbt.parse(base64.b64encode(wanted).decode()) == psbt
    assert psbt.origins(0) == {key: origin}
    assert psbt.fee == 10_000


def test_fields_of_others_are_kept_and_combined() -> None:
    psbt = unsigned("p2wpkh")
    mine = psbt.with_input(0, {b"\xfc\x05mine": b"1", b"\x99": b""})
    theirs = Psbt(psbt.tx, {b"\xfc\x06theirs": b"2"}, psbt.inputs, psbt.outputs)
    both = Psbt.parse(mine.combined(theirs).serialize())
    assert both.inputs[0][b"\xfc\x05mine"] == b"1"
    assert both.inputs[0][b"\x99"] == b""
    assert both.whole[b"\xfc\x06theirs"] == b"2"
    with pytest.raises(PsbtError):
        mine.combined(unsigned("p2pkh"))


def _with_input_tx(tx: Tx) -> bytes:
    return MAGIC + b"\x01\x00" + var_bytes(tx.serialize()) + b"\x00" * 3


_TX = Tx(2, (TxIn(b"\x01" * 32, 3),), (PAID,))

BROKEN: dict[str, Callable[[], bytes]] = {
    "no magic": lambda: b"psbt" + unsigned("p2wpkh").serialize()[5:],
    "no transaction": lambda: MAGIC + b"\x00",
    "a signed transaction": lambda: _with_input_tx(Tx(2, (TxIn(bytes(32), 0, b"\x51"),), (PAID,))),
    "no inputs": lambda: MAGIC + b"\x01\x00" + var_bytes(bytes.fromhex("02000000000000000000")) + b"\x00",
    "a key twice": lambda: MAGIC + b"\x01\x00" + var_bytes(_TX.serialize()) + (b"\x02\x09\x09\x00" * 2) + b"\x00" * 3,
    "a missing map": lambda: MAGIC + b"\x01\x00" + var_bytes(_TX.serialize()) + b"\x00\x00",
    "more behind": lambda: unsigned("p2wpkh").serialize() + b"\x00",
    "version 2": lambda: Psbt(_TX, {b"\xfb": b"\2\0\0\0"}, ({},), ({},)).serialize(),
    "a public key that is short": lambda: Psbt(_TX, {}, ({b"\x02" + bytes(20): b"x"},), ({},)).serialize(),
    "an input type with data in its key": lambda: Psbt(_TX, {}, ({b"\x01\x00": bytes(9)},), ({},)).serialize(),
    "a hash type of five bytes": lambda: Psbt(_TX, {}, ({b"\x03": bytes(5)},), ({},)).serialize(),
    "another transaction": lambda: (
        unsigned("p2pkh").with_input(0, {field(In.WHOLE_TX): funding(b"\x52").serialize()}).serialize()
    ),
    "two amounts": lambda: (
        unsigned("p2wpkh").with_input(0, {field(In.SPENT_OUTPUT): TxOut(5, KINDS["p2wpkh"][0]).serialize()}).serialize()
    ),
    "an origin of six bytes": lambda: Psbt(
        _TX, {}, ({field(In.DERIVATION, KEYS[0].public): bytes(6)},), ({},)
    ).serialize(),
    "no Base64": lambda: b"cHNidP8!",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_rules_is_refused(name: str) -> None:
    with pytest.raises(ChainError):
        Psbt.parse(BROKEN[name]())


@given(st.binary(max_size=80))
def test_no_bytes_make_the_parser_fail_otherwise(noise: bytes) -> None:
    for data in (noise, MAGIC + noise, _with_input_tx(_TX)[:-3] + noise):
        try:
            psbt = Psbt.parse(data)
        except ChainError:
            continue
        assert Psbt.parse(psbt.serialize()) == psbt


@settings(max_examples=25)
@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
def test_equal_to_embit_byte_for_byte_in_fields(kinds: list[str]) -> None:
    psbt = signed(unsigned(*kinds), *kinds)
    oracle = oracle_psbt.PSBT.parse(psbt.serialize())
    assert Psbt.parse(oracle.serialize()) == psbt
    assert oracle.fee() == psbt.fee


def test_a_wrong_key_a_missing_signature_and_open_hash_types_are_refused() -> None:
    psbt = unsigned("p2wpkh")
    with pytest.raises(PsbtError):
        psbt_sign.sign(psbt, 0, KEYS[1])
    with pytest.raises(PsbtError):
        psbt_sign.finalize(psbt)
    with pytest.raises(PsbtError):
        psbt_sign.extract(psbt)
    with pytest.raises(PsbtError):
        psbt_sign.sign(psbt.with_input(0, {field(In.HASH_TYPE): (0x81).to_bytes(4, "little")}), 0, KEYS[0])
    forged = signed(psbt, "p2wpkh").with_input(
        0, {field(In.SIGNATURE, KEYS[0].public): KEYS[0].sign(bytes(32)) + b"\x01"}
    )
    with pytest.raises(PsbtError):
        psbt_sign.finalize(forged)
    half = psbt_sign.sign(unsigned("p2wsh"), 0, KEYS[0])
    with pytest.raises(PsbtError):
        psbt_sign.finalize(half)


def test_an_old_input_without_its_transaction_is_not_signed() -> None:
    whole = unsigned("p2pkh")
    parent = funding(KINDS["p2pkh"][0])
    bare = whole.with_input(0, {field(In.SPENT_OUTPUT): parent.outputs[1].serialize()}, without=[field(In.WHOLE_TX)])
    with pytest.raises(PsbtError):
        psbt_sign.sign(bare, 0, KEYS[0])
