"""Payment requests, and the history as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain.coins import coin
from twinlock.chain.errors import AddressError
from twinlock.client.wallet.statement import to_csv
from twinlock.client.wallet.types import Payment
from twinlock.client.wallet.uri import Request, make, parse

BTC = coin("btc", "mainnet")
ADDRESS = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"


@given(st.integers(0, 21 * 10**14), st.text(max_size=30), st.text(max_size=30))
def test_what_is_made_is_read(amount: int, label: str, message: str) -> None:
    request = Request(ADDRESS, amount, label, message)
    assert parse(BTC, make(BTC, request)) == request


def test_spellings() -> None:
    assert parse(BTC, ADDRESS) == Request(ADDRESS)
    assert parse(BTC, f"BITCOIN:{ADDRESS.upper()}?amount=20.3&other=x").amount == 2_030_000_000
    assert make(coin("ltc", "mainnet"), Request("x", 1)).startswith("litecoin:x?amount=0.00000001")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bitcoin:",
        f"litecoin:{ADDRESS}",
        f"bitcoin:{ADDRESS}?amount=1,5",
        f"bitcoin:{ADDRESS}?amount=-1",
        f"bitcoin:{ADDRESS}?amount=0.000000001",
        f"bitcoin:{ADDRESS}?req-somethingyoudontunderstand=50",
        "bitcoin:ltc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
    ],
)
def test_what_cannot_be_paid_as_asked_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse(BTC, text)


def test_the_statement_is_exact_and_runs_no_formula() -> None:
    payments = [Payment("ab" * 32, -123_456_789, 141, None, None, '=HYPERLINK("x")'), Payment("cd" * 32, 5, None, 7, 0)]
    first, second = list(csv.DictReader(io.StringIO(to_csv(BTC, payments))))
    assert (first["net BTC"], first["fee BTC"], first["height"]) == ("-1.23456789", "0.00000141", "")
    assert first["label"].startswith("'=")
    assert (second["net BTC"], second["fee BTC"], second["time"]) == ("0.00000005", "", "1970-01-01T00:00:00Z")
