"""Transactions signed before their time: anybody may send them, nobody may change them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chain.test_spend import EACH, LOCK_TIME, MAKER, OWN, SECRET, TAKER, contract

from twinlock.chain import presigned, spend
from twinlock.chain.coins import Coin
from twinlock.chain.errors import ChainError, ContractError
from twinlock.chain.families import family_of
from twinlock.chain.family import CoinPoint
from twinlock.chain.presigned import Locked, Rung
from twinlock.chain.tx import Tx

LOCKED = Locked(CoinPoint(b"\x07" * 32, 1), 700_000, contract())


def refunds(row: Coin, rate: int = 3) -> tuple[Rung, ...]:
    return presigned.refund_ladder(row, LOCKED, MAKER, OWN, rate)


def redemptions(row: Coin, rate: int = 3) -> tuple[Rung, ...]:
    return presigned.redeem_ladder(row, LOCKED, TAKER, OWN, rate)


@EACH
def test_a_ladder_rises_from_the_asked_rate_to_the_highest_allowed(row: Coin) -> None:
    for ladder in (refunds(row), redemptions(row)):
        rates = [rung.fee_rate for rung in ladder]
        assert rates[0] == 3
        assert rates[-1] == row.max_fee_rate
        assert rates == sorted(set(rates))
    assert [rung.fee_rate for rung in refunds(row, 10**6)] == [row.max_fee_rate]


@EACH
def test_each_rung_is_what_its_keeper_thinks_it_is(row: Coin) -> None:
    for rung in refunds(row):
        assert presigned.check_refund(row, LOCKED, rung.raw).fee_rate >= rung.fee_rate
        assert Tx.parse(rung.raw).lock_time == LOCK_TIME
    for rung in redemptions(row):
        assert presigned.check_redeem(row, LOCKED, rung.raw).fee_rate >= rung.fee_rate


@EACH
def test_the_secret_completes_a_redemption_and_nothing_else_does(row: Coin) -> None:
    family = family_of(row)
    for rung in redemptions(row):
        assert family.find_secret(rung.raw, LOCKED.point, contract()[7:39]) is None
        whole = presigned.complete(row, rung.raw, SECRET)
        assert family.find_secret(whole, LOCKED.point, contract()[7:39]) == SECRET
        source = spend.redeem_input(row, LOCKED.point, LOCKED.value, contract(), TAKER, SECRET)
        source = msgspec.structs.replace(source, sequence=presigned.REPLACEABLE)
        assert whole == spend.build_redeem(row, [source], OWN, rung.fee_rate).raw
    for wrong in (bytes(32), SECRET[:31], SECRET + b"\0"):
        with pytest.raises(ContractError):
            presigned.complete(row, redemptions(row)[0].raw, wrong)
    with pytest.raises(ContractError):
        presigned.complete(row, refunds(row)[0].raw, SECRET)


@EACH
def test_a_ladder_ends_where_the_fee_would_eat_the_contract(row: Coin) -> None:
    small = Locked(LOCKED.point, 4_500, LOCKED.contract)
    ladder = presigned.refund_ladder(row, small, MAKER, OWN, 1)
    assert 1 < len(ladder) < len(refunds(row, 1))
    assert presigned.refund_ladder(row, Locked(LOCKED.point, 400, LOCKED.contract), MAKER, OWN, 1) == ()


@EACH
def test_somebody_elses_key_makes_no_ladder(row: Coin) -> None:
    with pytest.raises(ContractError):
        presigned.refund_ladder(row, LOCKED, TAKER, OWN, 1)
    with pytest.raises(ContractError):
        presigned.redeem_ladder(row, LOCKED, MAKER, OWN, 1)


@EACH
@given(data=st.data())
def test_any_change_is_noticed(row: Coin, data: st.DataObject) -> None:
    raw, check = data.draw(
        st.sampled_from(
            [(refunds(row)[0].raw, presigned.check_refund), (redemptions(row)[0].raw, presigned.check_redeem)]
        )
    )
    place = data.draw(
        st.integers(4, len(raw) - 1)
    )  # the first four bytes are the version, covered by the signature too
    changed = bytearray(raw)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    # The stand-in for the secret is the one part that nobody signs.
    if bytes(32) in raw and raw.index(bytes(32)) <= place < raw.index(bytes(32)) + 32:
        return
    with pytest.raises(ChainError):
        check(row, LOCKED, bytes(changed))


@EACH
def test_a_ladder_for_another_coin_is_refused(row: Coin) -> None:
    other_value = Locked(LOCKED.point, LOCKED.value + 1, LOCKED.contract)
    other_point = Locked(CoinPoint(b"\x08" * 32, 1), LOCKED.value, LOCKED.contract)
    if row.segwit:
        with pytest.raises(ContractError):
            presigned.check_refund(row, other_value, refunds(row)[0].raw)
    with pytest.raises(ContractError):
        presigned.check_redeem(row, other_point, redemptions(row)[0].raw)
    with pytest.raises(ContractError):
        presigned.check_redeem(row, LOCKED, refunds(row)[0].raw)
    with pytest.raises(ContractError):
        presigned.check_refund(row, LOCKED, redemptions(row)[0].raw)
