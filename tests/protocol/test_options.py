"""Post-only orders, expiry and capped matches: optional on the wire, bound by signature and ID, kept by the matcher."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.protocol.support import LOT, limit, market

from twinlock.chain.keys import PrivateKey
from twinlock.protocol import wire
from twinlock.protocol.book import Book
from twinlock.protocol.matcher import match
from twinlock.protocol.messages.orders import Coin, OrderOptions, PlaceLimit, PlaceMarket
from twinlock.protocol.orders import Side, accept
from twinlock.protocol.parcels import likely_taker
from twinlock.protocol.signing import check, sign
from twinlock.protocol.wire import U64_MAX, Hex

BUY, SELL = Side.BUY, Side.SELL
KEY = PrivateKey(bytes(31) + b"\7")
LIMIT = PlaceLimit(
    account_id=Hex(b"\1" * 32),
    base=2,
    quote=0,
    order_type=1,
    client_time=5,
    commitment=Hex(b"\2" * 32),
    side=1,
    quantity=5000,
    coins=[Coin(coin_id=Hex(bytes(36)))],
    address="address",
    rate=500,
    time_in_force=1,
)
MARKET = PlaceMarket(**{name: getattr(LIMIT, name) for name in PlaceMarket.__struct_fields__})
ANY = st.builds(
    OrderOptions, post_only=st.booleans(), expiry=st.integers(0, 2**63 - 1), max_matches=st.integers(0, 2**32 - 1)
)


@pytest.mark.parametrize("order", [LIMIT, MARKET])
def test_an_order_without_options_is_the_reference_s(order: PlaceLimit | PlaceMarket) -> None:
    asked = replace(order, options=OrderOptions())
    assert b"options" not in wire.encode(order)
    assert asked.signed_bytes() == order.signed_bytes()
    assert accept(asked, 9).id == accept(order, 9).id


@pytest.mark.parametrize("order", [LIMIT, MARKET])
def test_options_follow_the_reference_s_bytes(order: PlaceLimit | PlaceMarket) -> None:
    asked = replace(order, options=OrderOptions(post_only=True, expiry=2, max_matches=3))
    suffix = b"\0\1" + (2).to_bytes(8) + (3).to_bytes(4)
    assert asked.signed_bytes() == order.signed_bytes() + suffix
    assert accept(asked, 9).serialized() == accept(order, 9).serialized() + suffix


@given(ANY, ANY)
def test_signature_and_id_bind_every_option(one: OrderOptions, other: OrderOptions) -> None:
    first, second = replace(LIMIT, options=one), replace(LIMIT, options=other)
    assert (first.signed_bytes() == second.signed_bytes()) == (one == other)
    assert (accept(first, 9).id == accept(second, 9).id) == (one == other)
    assert wire.decode(wire.encode(first), PlaceLimit) == first


def test_who_does_not_know_options_refuses_the_signature() -> None:
    """A server of the reference drops the unknown member, and then the signature does not fit what remains."""
    asked = replace(LIMIT, options=OrderOptions(post_only=True))
    signature = sign(KEY, asked.signed_bytes())
    assert check(KEY.public, asked.signed_bytes(), signature)
    assert not check(KEY.public, LIMIT.signed_bytes(), signature)


def test_a_post_only_order_rests_or_ends() -> None:
    maker = limit(SELL, 10**8, 2, number=1)
    careful = replace(limit(BUY, 10**8, 1, number=2), options=OrderOptions(post_only=True))
    book = Book(LOT, [maker])
    assert not likely_taker(careful, book)
    result = match(book, [careful])
    assert (result.matches, result.failed, result.nomatch) == ([], [careful], [careful.id])
    assert list(book) == [maker]
    lower = replace(careful, rate=10**8 - 1)
    result = match(book, [lower])
    assert (result.booked, result.failed) == ([lower], [])


def test_a_post_only_order_is_judged_when_its_turn_comes() -> None:
    """The order before it may have taken the level away, or may have brought it."""
    maker, careful = limit(SELL, 10**8, 1, number=1), limit(BUY, 10**8, 1, number=2)
    careful = replace(careful, options=OrderOptions(post_only=True))
    taker = limit(BUY, 10**8, 1, number=3, standing=False)
    assert match(Book(LOT, [maker]), [taker, careful]).booked == [careful]
    late = limit(SELL, 10**8, 1, number=4)
    assert match(Book(LOT), [late, careful]).failed == [careful]


def test_a_capped_taker_ends_with_its_last_match() -> None:
    makers = [limit(SELL, 10**8, 1, number=number) for number in range(1, 4)]
    taker = replace(limit(BUY, 10**8, 5, number=9), options=OrderOptions(max_matches=2))
    book = Book(LOT, makers)
    result = match(book, [taker])
    assert len(result.matches) == 2
    assert [(order.id, order.remaining) for order in result.completed[-1:]] == [(taker.id, 3 * LOT)]
    assert len(book) == 1
    buyer = replace(market(BUY, 5 * LOT, number=10), options=OrderOptions(max_matches=1))
    assert len(match(Book(LOT, makers), [buyer]).matches) == 1


def test_a_capped_maker_leaves_the_book_with_its_last_match() -> None:
    maker = replace(limit(SELL, 10**8, 5, number=1), options=OrderOptions(max_matches=2))
    book = Book(LOT, [maker])
    takers = [limit(BUY, 10**8, 1, number=number, standing=False) for number in (2, 3, 4)]
    first = match(book, takers[:1])
    assert [(order.remaining, order.matches) for order in first.updated] == [(4 * LOT, 1)]
    second = match(book, takers[1:])
    assert len(second.matches) == 1
    assert [order.id for order in second.unbooked] == [maker.id]
    assert [(order.remaining, order.matches) for order in second.completed if order.id == maker.id] == [(3 * LOT, 2)]
    assert len(book) == 0


def test_expired_orders_leave_by_the_moment() -> None:
    orders = [
        replace(limit(SELL, 10**8, 1, number=number), options=OrderOptions(expiry=expiry))
        for number, expiry in enumerate((0, 10, 20, 30))
    ]
    book = Book(LOT, orders[:3])
    book.insert(orders[3])
    twin = book.copy()
    assert book.expire(10) == []
    assert {order.options.expiry for order in book.expire(30)} == {10, 20}
    assert book.expire(30) == []
    assert {order.options.expiry for order in book.expire(U64_MAX)} == {30}
    assert list(book) == [orders[0]]
    assert len(twin) == 4
    assert twin.remove(orders[1].id) is not None
    assert [order.options.expiry for order in twin.expire(25)] == [20]
