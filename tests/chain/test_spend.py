"""Transactions that we build: who can spend what, and fees to the atom."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain import script, sighash, spend, taproot
from twinlock.chain.bond import BondScript
from twinlock.chain.coins import Coin, coin
from twinlock.chain.contract import SwapContract
from twinlock.chain.errors import ContractError, FundsError, KeyFormatError, ScriptError
from twinlock.chain.families import family_of
from twinlock.chain.family import CoinPoint
from twinlock.chain.keys import PrivateKey, verify
from twinlock.chain.spend import Input, Payment
from twinlock.chain.tx import FINAL, Tx, TxOut
from twinlock.kernels.ripemd160 import hash160

BTC = coin("btc", "regtest")
LTC = coin("ltc", "regtest")
OLD = replace(BTC, segwit=False)
EACH = pytest.mark.parametrize("row", [BTC, LTC, OLD], ids=["btc", "ltc", "without segwit"])

MAKER, TAKER = PrivateKey(b"\x11" * 32), PrivateKey(b"\x22" * 32)
SECRET = bytes(range(32))
LOCK_TIME = 1_700_072_000
OWN = script.p2wpkh(hash160(MAKER.public))


def contract() -> bytes:
    terms = SwapContract(sha256(SECRET).digest(), hash160(TAKER.public), hash160(MAKER.public), LOCK_TIME)
    return terms.serialize()


def coins(*values: int, output: bytes = OWN) -> list[Input]:
    return [spend.key_input(CoinPoint(bytes((i + 1,)) * 32, i), value, output, MAKER) for i, value in enumerate(values)]


def check_signatures(payment: Payment, inputs: list[Input]) -> None:
    """Every signature is good for the transaction as it was serialized, and unlocks what it claims to."""
    tx = Tx.parse(payment.raw)
    assert tx == payment.tx
    for i, (txin, spent) in enumerate(zip(tx.inputs, inputs, strict=True)):
        assert txin.point == spent.point
        if txin.witness:
            stack = txin.witness
            digest = sighash.segwit_v0_digest(tx, i, spent.script_code, spent.value)
        else:
            stack = script.pushes(txin.script)
            digest = sighash.legacy_digest(tx, i, spent.script_code)
        assert stack[0][-1] == sighash.ALL
        assert spent.key is not None
        assert verify(spent.key.public, digest, stack[0][:-1])
        if script.kind(spent.script) in ("p2wsh", "p2sh"):
            assert spend.lock_script(BTC if txin.witness else OLD, stack[-1]) == spent.script


def check_fee(payment: Payment, inputs: list[Input], fee_rate: int) -> None:
    """The fee is what inputs and outputs differ by, at the asked rate or just above."""
    assert payment.fee == sum(spent.value for spent in inputs) - payment.tx.total_out
    assert payment.fee // payment.tx.vsize >= fee_rate


def test_the_largest_amounts_of_any_coin_can_be_paid() -> None:
    """Dogecoin's nodes take up to ten thousand million coins in one transaction."""
    doge = coin("doge", "regtest")
    most, output = 10_000_000_000 * doge.conversion_factor, script.p2pkh(hash160(MAKER.public))
    inputs = coins(most, doge.conversion_factor * 10, output=output)
    payment = spend.build_payment(doge, inputs, [TxOut(most, output)], output, 5_000)
    assert payment.tx.outputs[0].value == most
    with pytest.raises(FundsError):
        spend.build_payment(doge, inputs, [TxOut(most + 1, output)], output, 5_000)


@EACH
def test_a_swap_pays_its_contracts_first_and_change_last(row: Coin) -> None:
    inputs = coins(1_000_000, 2_000_000)
    payment = spend.build_swap(row, inputs, [(contract(), 700_000), (contract(), 800_000)], OWN, 7)
    outputs = payment.tx.outputs
    assert [out.value for out in outputs[:2]] == [700_000, 800_000]
    assert outputs[0].script == outputs[1].script == family_of(row).contract_script(contract())
    assert (payment.change, outputs[2].script) == (2, OWN)
    assert payment.tx.lock_time == 0
    assert all(txin.sequence == FINAL for txin in payment.tx.inputs)
    check_signatures(payment, inputs)
    check_fee(payment, inputs, 7)
    audit = family_of(row).audit_contract(contract(), family_of(row).coin_id(payment.txid, 1), payment.raw)
    assert audit.value == 800_000


@EACH
def test_a_redemption_shows_the_secret(row: Coin) -> None:
    point = CoinPoint(b"\x07" * 32, 4)
    inputs = [spend.redeem_input(row, point, 700_000, contract(), TAKER, SECRET)]
    payment = spend.build_redeem(row, inputs, OWN, 9)
    check_signatures(payment, inputs)
    check_fee(payment, inputs, 9)
    assert payment.tx.vsize <= family_of(row).redeem_size + 1
    assert family_of(row).find_secret(payment.raw, point, sha256(SECRET).digest()) == SECRET


def test_the_redeeming_stacks_are_as_the_protocol_says() -> None:
    point = CoinPoint(b"\x07" * 32, 4)
    witness = spend.build_redeem(
        BTC, [spend.redeem_input(BTC, point, 700_000, contract(), TAKER, SECRET)], OWN, 1
    ).tx.inputs[0]
    assert witness.witness[1:] == (TAKER.public, SECRET, b"\x01", contract())
    assert witness.script == b""
    old = spend.build_redeem(
        OLD, [spend.redeem_input(OLD, point, 700_000, contract(), TAKER, SECRET)], OWN, 1
    ).tx.inputs[0]
    signature = script.pushes(old.script)[0]
    assert old.script == (
        script.push(signature) + b"\x21" + TAKER.public + b"\x20" + SECRET + b"\x51" + b"\x4c\x61" + contract()
    )


@EACH
def test_a_refund_waits_for_its_lock_time(row: Coin) -> None:
    spent = spend.refund_input(row, CoinPoint(b"\x07" * 32, 4), 700_000, contract(), MAKER)
    payment = spend.build_refund(row, spent, OWN, 9)
    check_signatures(payment, [spent])
    check_fee(payment, [spent], 9)
    assert payment.tx.lock_time == LOCK_TIME
    assert payment.tx.inputs[0].sequence == 0xFFFFFFFE
    assert payment.tx.vsize <= family_of(row).refund_size + 1
    stack = payment.tx.inputs[0].witness or script.pushes(payment.tx.inputs[0].script)
    assert stack[1:] == (MAKER.public, b"", contract())


@EACH
@pytest.mark.parametrize("lock_time", [LOCK_TIME, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_a_bond_is_posted_and_taken_back(row: Coin, lock_time: int) -> None:
    bond, inputs = BondScript(lock_time, hash160(TAKER.public)), coins(3_000_000)
    payment = spend.build_bond(row, inputs, 1_000_000, b"\xac" * 32, bond, OWN, 5)
    check_signatures(payment, inputs)
    check_fee(payment, inputs, 5)
    terms = family_of(row).parse_bond_tx(payment.raw)
    assert (terms.amount, terms.script, payment.change) == (1_000_000, bond.serialize(), 2)
    assert family_of(row).parse_bond_tx(payment.unsigned).account_id == b"\xac" * 32
    assert Tx.parse(payment.unsigned).txid == payment.txid

    spent = spend.bond_input(row, terms.point, terms.amount, terms.script, TAKER)
    refund = spend.build_bond_refund(row, spent, OWN, 5)
    check_signatures(refund, [spent])
    check_fee(refund, [spent], 5)
    assert (refund.tx.lock_time, refund.tx.inputs[0].sequence) == (lock_time, 0xFFFFFFFE)
    stack = refund.tx.inputs[0].witness or script.pushes(refund.tx.inputs[0].script)
    assert stack[1:] == (TAKER.public, terms.script)


KEY_OUTPUTS = {
    "P2WPKH": script.p2wpkh(hash160(MAKER.public)),
    "P2PKH": script.p2pkh(hash160(MAKER.public)),
    "P2PK": script.p2pk(MAKER.public),
}


@pytest.mark.parametrize("output", KEY_OUTPUTS.values(), ids=KEY_OUTPUTS)
def test_each_kind_of_coin_can_be_spent_within_its_worst_case(output: bytes) -> None:
    inputs = coins(100_000, 100_000, output=output)
    payment = spend.build_sweep(BTC, inputs, OWN, 3)
    check_signatures(payment, inputs)
    check_fee(payment, inputs, 3)
    assert payment.tx.vsize <= 10 + 2 * family_of(BTC).input_size(output, b"") + 31


amounts = st.lists(st.integers(1, 10_000_000), min_size=1, max_size=6)


@given(amounts, st.integers(1, 20_000_000), st.integers(0, 300), st.sampled_from([BTC, LTC, OLD]))
def test_fees_are_exact_or_the_builder_says_what_is_missing(
    values: list[int], amount: int, fee_rate: int, row: Coin
) -> None:
    inputs = coins(*values)
    try:
        payment = spend.build_swap(row, inputs, [(contract(), amount)], OWN, fee_rate)
    except FundsError as error:
        assert error.code in ("chain.funds.short", "chain.funds.dust")
        if error.code == "chain.funds.short":
            assert sum(values) == error.numbers["have"]
            assert int(error.numbers["need"]) > sum(values)
        return
    check_fee(payment, inputs, fee_rate)
    assert payment.tx.outputs[0].value == amount
    worst = payment.tx.vsize + len(inputs)
    if payment.change is None:
        # What was left would not have paid for itself as an output.
        assert payment.fee - fee_rate * worst < max(3 * fee_rate * 182, row.dust_rate * 182) + 31 * fee_rate
    else:
        assert payment.fee <= fee_rate * worst
        assert payment.tx.outputs[payment.change].value >= spend.dust_threshold(row, OWN)


def test_the_funds_that_the_protocol_asks_for_are_enough() -> None:
    for rate in (1, 7, 20, 100):
        for lots in (1, 2, 5):
            lot = family_of(BTC).min_lot(rate)
            required = family_of(BTC).required_funds(lots * lot, lots, 69, rate)
            payment = spend.build_swap(BTC, coins(required), [(contract(), lot)] * lots, OWN, rate)
            check_fee(payment, coins(required), rate)


def test_change_that_would_be_dust_goes_to_the_fee() -> None:
    size = spend.build_swap(BTC, coins(1_000_000), [(contract(), 10_000)], OWN, 1).fee
    for left, change in ((293, None), (294, 1)):
        inputs = coins(10_000 + size + left)
        payment = spend.build_swap(BTC, inputs, [(contract(), 10_000)], OWN, 1)
        assert payment.change == change


def test_litecoin_calls_more_of_it_dust() -> None:
    assert spend.dust_threshold(BTC, OWN) == 294
    assert spend.dust_threshold(LTC, OWN) == 2940
    assert spend.dust_threshold(BTC, script.p2pkh(bytes(20))) == 546
    assert spend.dust_threshold(BTC, script.data_output(bytes(58))) == 0
    with pytest.raises(FundsError) as caught:
        spend.build_payment(LTC, coins(1_000_000), [TxOut(2939, OWN)], OWN, 1)
    assert caught.value.code == "chain.funds.dust"
    spend.build_payment(LTC, coins(1_000_000), [TxOut(2940, OWN)], OWN, 1)


@pytest.mark.parametrize(
    ("values", "amount", "fee_rate"),
    [
        ([], 10_000, 1),
        ([1000], 10_000, 1),
        ([10_121], 10_000, 1),
        ([100_000], 329, 1),
        ([100_000], 0, 1),
        ([9000], 1000, -1),
    ],
)
def test_swaps_that_cannot_be_built(values: list[int], amount: int, fee_rate: int) -> None:
    with pytest.raises(FundsError):
        spend.build_swap(BTC, coins(*values), [(contract(), amount)], OWN, fee_rate)


def test_the_last_atom_makes_the_difference() -> None:
    payment = spend.build_swap(BTC, coins(10_122), [(contract(), 10_000)], OWN, 1)
    assert (payment.fee, payment.change) == (122, None)


def test_a_coin_cannot_be_spent_twice_at_once() -> None:
    with pytest.raises(FundsError):
        spend.build_swap(BTC, coins(9000) * 2, [(contract(), 1000)], OWN, 1)


@pytest.mark.parametrize(("values", "fee_rate"), [([], 1), ([1000], 100), ([1000], 7), ([403], 1)])
def test_sweeps_that_would_leave_nothing(values: list[int], fee_rate: int) -> None:
    with pytest.raises(FundsError):
        spend.build_sweep(BTC, coins(*values), OWN, fee_rate)


def test_the_wrong_key_or_secret_is_noticed_before_signing() -> None:
    point = CoinPoint(bytes(32), 0)
    with pytest.raises(KeyFormatError):
        spend.key_input(point, 1, OWN, TAKER)
    with pytest.raises(KeyFormatError):
        spend.key_input(point, 1, script.p2wsh(b""), MAKER)
    for key, secret in ((MAKER, SECRET), (TAKER, bytes(32)), (TAKER, SECRET[:31]), (TAKER, SECRET + b"\0")):
        with pytest.raises(ContractError):
            spend.redeem_input(BTC, point, 1, contract(), key, secret)
    with pytest.raises(ContractError):
        spend.refund_input(BTC, point, 1, contract(), TAKER)
    with pytest.raises(ContractError):
        spend.bond_input(BTC, point, 1, BondScript(LOCK_TIME, bytes(20)).serialize(), MAKER)


def test_an_input_does_not_show_the_secret() -> None:
    spent = spend.redeem_input(BTC, CoinPoint(bytes(32), 0), 700_000, contract(), TAKER, SECRET)
    assert repr(SECRET) not in f"{spent!r} {spent}"
    assert SECRET.hex() not in f"{spent!r} {spent}"


def test_outputs_that_nobody_here_can_sign_for() -> None:
    strange = Input(CoinPoint(bytes(32), 0), 100_000, b"\x52\x20" + bytes(32), b"", (), MAKER)
    with pytest.raises(ScriptError):
        spend.build_sweep(BTC, [strange], OWN, 1)


def test_a_taproot_coin_of_ours_is_signed_and_weighed() -> None:
    output = taproot.output_script(MAKER.public)
    mixed = [spend.key_input(CoinPoint(bytes(32), 0), 60_000, output, MAKER), *coins(50_000)]
    payment = spend.build_sweep(BTC, mixed, OWN, 3)
    (signature,) = payment.tx.inputs[0].witness
    spent = [TxOut(each.value, each.script) for each in mixed]
    assert taproot.verify_schnorr(output[2:], taproot.digest(payment.tx, 0, spent), signature)
    assert 0 <= payment.fee - 3 * payment.tx.vsize <= 3
    with pytest.raises(KeyFormatError):
        spend.key_input(CoinPoint(bytes(32), 0), 1, output, TAKER)


def test_what_somebody_else_signs_is_drafted_at_the_same_size_and_signed_by_nobody_here() -> None:
    own = coins(500_000)
    foreign = [spend.foreign_input(each.point, each.value, each.script) for each in own]
    ours = spend.draft_payment(BTC, own, [TxOut(9_000, OWN)], OWN, 3)
    theirs = spend.draft_payment(BTC, foreign, [TxOut(9_000, OWN)], OWN, 3)
    assert (ours.tx, ours.fee, ours.change) == (theirs.tx, theirs.fee, theirs.change)
    with pytest.raises(KeyFormatError):
        spend.sign(theirs)
    with pytest.raises(ScriptError):
        spend.foreign_input(own[0].point, 1, script.p2wsh(b"\x51"))


def test_a_child_pays_what_its_parents_owe() -> None:
    plain = spend.draft_sweep(BTC, coins(500_000), OWN, 10)
    child = spend.draft_child(BTC, coins(500_000), OWN, 10, 1_234)
    assert child.fee == plain.fee + 1_234


def test_the_same_arguments_make_the_same_bytes() -> None:
    first, second = (spend.build_swap(BTC, coins(500_000), [(contract(), 9_000)], OWN, 3) for _ in range(2))
    assert first.raw == second.raw
