"""Money arithmetic: the vectors, the bounds, and text there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.support import vector

from twinlock.protocol.rates import (
    AmountError,
    amount_text,
    base_to_quote,
    minimum_rate,
    parse_amount,
    parse_rate,
    quote_to_base,
    rate_text,
)

ATOMS = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_conversion_vectors(number: int) -> None:
    given_, expected = vector(f"base-quote-{number}")
    quote = base_to_quote(given_["rate"], given_["base"])
    assert quote == expected["quote"]
    assert quote_to_base(given_["rate"], quote) == expected["base_back"]


@given(st.integers(1, 2**63 - 1), ATOMS)
def test_converting_there_and_back_never_gains(rate: int, amount: int) -> None:
    assert quote_to_base(rate, base_to_quote(rate, amount)) <= amount
    assert base_to_quote(rate, quote_to_base(rate, amount)) <= amount


def test_rate_zero_buys_nothing() -> None:
    assert quote_to_base(0, 10**8) == 0


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_the_minimum_rate_is_the_first_at_which_one_lot_is_worth_a_swap(smallest: int, lot: int) -> None:
    rate = minimum_rate(smallest, lot)
    assert base_to_quote(rate, lot) >= smallest
    assert base_to_quote(rate - 1, lot) < smallest


@given(st.integers(-(2**63), 2**63), st.integers(0, 9))
def test_amounts_as_text(atoms: int, places: int) -> None:
    assert parse_amount(amount_text(atoms, 10**places), 10**places) == atoms


@given(ATOMS, st.integers(0, 9), st.integers(0, 9))
def test_rates_as_text(rate: int, base_places: int, quote_places: int) -> None:
    text = rate_text(rate, 10**base_places, 10**quote_places)
    assert parse_rate(text, 10**base_places, 10**quote_places) == rate


@pytest.mark.parametrize("text", ["", "-", ".", "1e8", "0x1", "1,5", "1.2.3", "٣", "1" * 50, "0.000000001"])
def test_text_that_is_no_amount(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text, 10**8)
