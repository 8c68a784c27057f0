"""The books close to the atom, or the story fails."""

from __future__ import annotations

import pytest

from twinlock.chain.coins import Network, coin
from twinlock.client.wallet.types import Balance
from twinlock.simnet.ledger import BooksError, Line
from twinlock.simnet.traders import amount, settled


def test_a_line_closes_when_every_atom_is_accounted_for() -> None:
    Line("alice", "ltc", before=1_000, after=790, traded=-200, fee=10).check()
    Line("bob", "ltc", before=1_000, after=1_190, traded=200, fee=10).check()


@pytest.mark.parametrize("after", [789, 791])
def test_one_atom_too_few_or_too_many_is_an_error(after: int) -> None:
    with pytest.raises(BooksError, match="should hold 790 atoms") as error:
        Line("alice", "ltc", before=1_000, after=after, traded=-200, fee=10).check()
    assert error.value.numbers == {"before": 1_000, "traded": -200, "fees": 10, "after": after}


def test_amounts_show_every_digit_and_the_unit() -> None:
    ltc = coin("ltc", Network.REGTEST)
    assert amount(200_000_000, ltc) == "2.00000000 LTC"
    assert amount(1, ltc) == "0.00000001 LTC"
    assert amount(-150_000_000, coin("btc", Network.REGTEST)) == "-1.50000000 BTC"


def test_a_balance_is_settled_when_nothing_is_under_way() -> None:
    assert settled(Balance(available=5, bonded=3))
    for member in ("locked", "in_swap", "immature", "unconfirmed"):
        assert not settled(Balance(available=5, bonded=3, **{member: 1}))
