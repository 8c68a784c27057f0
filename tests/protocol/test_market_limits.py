"""Bonds, parcels, candles and token buckets: the small rules around a market."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.support import LOT, limit, market

from twinlock.chain.terms import BondTerms, CoinPoint
from twinlock.protocol import bonds, parcels
from twinlock.protocol.book import Book, BookError
from twinlock.protocol.candles import Candle, CandleSeries, change24, epoch_candle, merge
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.limits import ALLOWANCES, Allowance, Meter, TokenBucket
from twinlock.protocol.matcher import Statistics
from twinlock.protocol.orders import Side
from twinlock.protocol.parcels import Exposure

BUY, SELL = Side.BUY, Side.SELL
NOW_S = 1_700_000_000
OFFER = bonds.BondOffer(amount=1000, expiry_s=240)
BOND = BondTerms(0, b"account", 2500, NOW_S + 240, bytes(20), b"", CoinPoint(bytes(32), 0))


class Bond(NamedTuple):
    lock_time: int
    strength: int


def test_a_sound_bond_has_the_strength_of_its_amount() -> None:
    assert bonds.check_bond(BOND, b"account", OFFER, NOW_S) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 1}, "bond.version"),
        ({"account_id": b"another"}, "bond.account"),
        ({"amount": 999}, "bond.amount"),
        ({"lock_time": NOW_S + 239}, "bond.lock_time"),
    ],
)
def test_bonds_are_refused_with_a_reason(change: dict[str, object], reason: str) -> None:
    with pytest.raises(RpcError) as caught:
        bonds.check_bond(msgspec.structs.replace(BOND, **change), b"account", OFFER, NOW_S)
    assert (caught.value.rpc_code, caught.value.code) == (ErrorCode.BOND, reason)


def test_bonds_stop_counting_before_their_lock_time() -> None:
    held = [Bond(NOW_S + 240, 1), Bond(NOW_S + 239, 5), Bond(NOW_S + 10_000, 2)]
    assert bonds.bonded_tier(held, NOW_S, 240) == 3


def test_a_new_bond_lasts_for_two_terms() -> None:
    assert bonds.new_lock_time(NOW_S, "regtest") == NOW_S + 2 * (90 + 240) + 3 * 90
    assert bonds.new_lock_time(NOW_S, "mainnet") <= NOW_S + 120 * 24 * 3600
    assert bonds.bond_expiry("signet") == bonds.bond_expiry("testnet") == 10_800


def test_prepaid_codes_need_a_day() -> None:
    bonds.check_prepaid(NOW_S + 240 + 86_400, NOW_S, 240)
    with pytest.raises(RpcError):
        bonds.check_prepaid(NOW_S + 240 + 86_399, NOW_S, 240)


def test_parcels_weigh_takers_twice_and_floor_the_sum() -> None:
    exposures = [
        Exposure(lot_size=10, parcel_size=2, maker=30, taker=10, settling=9),
        Exposure(lot_size=1, parcel_size=1),
    ]
    assert parcels.used(exposures) == (30 + 9 + 20) // 20


@pytest.mark.parametrize(
    ("tier", "score", "expected"), [(1, 0, 2), (1, 60, 6), (1, 30, 4), (1, 7, 2), (1, 8, 3), (2, -9, 4), (0, 60, 0)]
)
def test_parcels_allowed(tier: int, score: int, expected: int) -> None:
    assert parcels.limit(tier, score) == expected


def test_who_is_likely_to_take() -> None:
    book = Book(LOT, [limit(SELL, 5, 1, number=1), limit(BUY, 3, 1, number=2)])
    assert parcels.likely_taker(limit(BUY, 5, 1, number=3), book)
    assert not parcels.likely_taker(limit(BUY, 4, 1, number=3), book)
    assert parcels.likely_taker(limit(SELL, 3, 1, number=3), book)
    assert not parcels.likely_taker(limit(SELL, 4, 1, number=3), book)
    assert parcels.likely_taker(limit(BUY, 1, 1, number=3, standing=False), book)
    assert parcels.likely_taker(market(SELL, LOT, number=3), book)
    assert not parcels.likely_taker(limit(BUY, 9, 1, number=3), Book(LOT))


def test_an_order_adds_its_weight() -> None:
    rate = 10**8
    book = Book(LOT, [limit(SELL, 3 * rate, 1, number=1), limit(BUY, rate, 1, number=2)])
    nothing = Exposure(lot_size=LOT, parcel_size=1)
    assert parcels.with_order(nothing, limit(BUY, rate, 2, number=3), book).maker == 2 * LOT
    assert parcels.with_order(nothing, limit(BUY, 3 * rate, 2, number=3), book).taker == 2 * LOT
    assert parcels.with_order(nothing, market(BUY, 50, number=3), book).taker == 25, "at the mid gap of 2"
    assert parcels.with_order(nothing, market(BUY, 50, number=3), Book(LOT)).taker == LOT


def test_the_mid_gap() -> None:
    sell, buy = limit(SELL, 7, 1, number=1), limit(BUY, 4, 1, number=2)
    assert Book(LOT).mid_gap() == 0
    assert Book(LOT, [sell]).mid_gap() == 7
    assert Book(LOT, [buy]).mid_gap() == 4
    assert Book(LOT, [buy, sell]).mid_gap() == 5


def test_what_cannot_rest_on_a_book() -> None:
    book = Book(LOT)
    with pytest.raises(BookError):
        book.insert(limit(BUY, 1, 1, number=1, standing=False))
    with pytest.raises(BookError):
        book.insert(msgspec.structs.replace(limit(BUY, 1, 1, number=1), filled=1))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 60)), max_size=200))
def test_the_best_order_is_the_first_whatever_came_and_went(steps: list[tuple[bool, int, int]]) -> None:
    book = Book(LOT)
    for number, (insert, rate, victim) in enumerate(steps):
        if insert:
            book.insert(limit(BUY if rate < 5 else SELL, rate, 1, number=number, time=number % 3))
        else:
            held = list(book)
            if held:
                gone = held[victim % len(held)]
                assert book.remove(gone.id) == gone
        for side in (book.buys, book.sells):
            assert side.best() == next(iter(side), None)
    assert book.remove(bytes(32)) is None


def test_candles_merge_within_a_bin() -> None:
    series = CandleSeries(100)
    series.add(Candle(0, 20, 1, 10, 7, 0, 0, 7))
    series.add(Candle(20, 40, 2, 20, 9, 5, 6, 8))
    series.add(Candle(90, 110, 4, 40, 3, 3, 3, 3))
    assert list(series.candles) == [Candle(0, 40, 3, 30, 9, 5, 0, 8), Candle(90, 110, 4, 40, 3, 3, 3, 3)]
    wire = series.last(1)
    assert (wire.start_stamps, wire.match_volumes, wire.low_rates) == ([90], [4], [3])
    assert series.last(0).start_stamps == []


def test_an_epoch_without_matches_repeats_the_last_rate() -> None:
    assert epoch_candle(0, 20, Statistics(), 5) == Candle(0, 20, 0, 0, 5, 5, 5, 5)
    traded = epoch_candle(0, 20, Statistics(1, 2, 9, 3, 4, 8), 5)
    assert traded == Candle(0, 20, 1, 2, 9, 3, 4, 8)


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 3), min_size=3, max_size=3))
def test_merging_candles_is_associative(rows: list[tuple[int, int, int]]) -> None:
    a, b, c = (
        Candle(number, number + 1, volume, volume, high, low, low, high)
        for number, (volume, high, low) in enumerate(rows)
    )
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


def test_the_change_of_a_day() -> None:
    day = 24 * 3_600_000
    series = [Candle(0, day, 1, 1, 0, 0, 100, 200), Candle(day, 2 * day, 1, 1, 0, 0, 200, 300)]
    assert change24(series, 2 * day) == pytest.approx((300 - 200) / 200)
    assert change24(series, day + day // 2) == pytest.approx((300 - 150) / 150)
    assert change24([], day) == 0.0


def test_every_meter_with_a_bucket_has_the_references_size() -> None:
    assert {meter: (row.per_second, row.burst) for meter, row in ALLOWANCES.items()} == {
        Meter.STATUS: (10, 500),
        Meter.ORDERS: (5, 100),
        Meter.INFO: (10, 200),
        Meter.SUBSCRIPTIONS: (0.5, 100),
        Meter.CONNECT: (0.2, 100),
        Meter.CUMULATIVE: (40, 1000),
        Meter.DATA: (1, 5),
        Meter.DATA_GLOBAL: (100, 1000),
        Meter.MARKET_DATA: (10, 100),  # ours, for paths that the reference does not have
    }


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5))
def test_a_bucket_never_gives_more_than_its_rate(gaps: list[float], burst: int) -> None:
    bucket, now, taken = TokenBucket(Allowance(1, burst), 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= burst + now + 1e-6
