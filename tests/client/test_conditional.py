"""Stop-limit and one-cancels-other: placed once, by the prices that were traded, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.client.fake_server import LOT, LTC, MARKET
from tests.client.test_orders import crumbs
from tests.client.world import RATE, World, world

from twinlock.client.conditional import ConditionRecord
from twinlock.client.errors import OrderError
from twinlock.client.events import Notice
from twinlock.client.store.records import OrderRecord
from twinlock.client.wallet.records import CursorRecord
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import Side

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


async def trade(it: World, rate: int, lots: int = 1) -> None:
    """Bob trades with himself at this rate."""
    venue = it.traders["bob"].venue()
    await it.call(venue.limit(MARKET, Side.SELL, lots * LOT, rate))
    await it.close_epoch()
    await it.call(venue.limit(MARKET, Side.BUY, lots * LOT, rate))
    await it.close_epoch()
    await it.clock.advance(1)


async def stop(
    it: World, name: str = "a", *, lots: int = 2, rest_rate: int = 0, options: OrderOptions = PLAIN
) -> ConditionRecord:
    venue = it.traders["alice"].venue()
    rates = RATE - 1_000, RATE - 2_000
    asked = venue.stop_limit(name, MARKET, Side.SELL, lots * LOT, *rates, rest_rate=rest_rate, options=options)
    made = await it.call(asked)
    assert isinstance(made, ConditionRecord)
    return made


def placed(it: World) -> list[tuple[str, int, int, str]]:
    return [(o.tag, o.quantity, o.rate, o.status) for o in it.traders["alice"].orders() if o.tag]


async def test_a_stop_waits_for_its_price_and_is_placed_once(it: World) -> None:
    record = await stop(it)
    assert await stop(it) is record, "the same name is the same condition"
    await trade(it, RATE)
    assert (record.status, placed(it)) == ("waiting", [])
    await trade(it, RATE - 1_000)
    assert record.status == "placed"
    await it.close_epoch()
    await trade(it, RATE - 1_500)
    assert placed(it) == [("stop/a", 2 * LOT, RATE - 2_000, "booked")]


async def test_what_was_traded_while_the_client_was_away_counts(it: World) -> None:
    await stop(it)
    feed = it.traders["alice"].venue().feeds[MARKET]
    await trade(it, RATE - 1_000)
    assert feed.mirror.recent[0][0] == RATE - 1_000
    await it.stop("alice")
    # As a crash just after the price was reached leaves it.
    (record,) = it.stores["alice"].all(ConditionRecord)
    record.status = "reached"
    it.stores["alice"].put(record)
    alice = await it.start("alice")
    await it.until(lambda: [each.status for each in alice.conditions()] == ["placed"])
    assert len(placed(it)) == 1, "the order that was placed before the crash is found by its tag"


@pytest.mark.parametrize("fills", [0, 1])
async def test_the_stop_takes_the_place_of_what_is_left_of_the_resting_order(it: World, fills: int) -> None:
    record = await stop(it, rest_rate=RATE + 5_000)
    await it.until(lambda: bool(placed(it)))
    await it.close_epoch()
    bob = it.traders["bob"].venue()
    if fills:
        await it.call(bob.limit(MARKET, Side.BUY, fills * LOT, RATE + 5_000))
        await it.close_epoch()
    await it.restart("alice")
    await it.clock.advance(10)
    await trade(it, RATE - 1_000)
    await it.clock.advance(1)
    await it.close_epoch()  # In which the resting order is cancelled.
    await it.clock.advance(12)
    await it.close_epoch()
    assert [row[0:3] for row in placed(it)] == [
        ("rest/a", 2 * LOT, RATE + 5_000),
        ("stop/a", (2 - fills) * LOT, RATE - 2_000),
    ]
    assert [row[3] for row in placed(it)] == ["canceled", "booked"]
    assert record.name == "a"


async def test_a_filled_resting_order_ends_the_stop(it: World) -> None:
    record = await stop(it, rest_rate=RATE + 5_000)
    await it.until(lambda: bool(placed(it)))
    await it.close_epoch()
    await it.call(it.traders["bob"].venue().limit(MARKET, Side.BUY, 2 * LOT, RATE + 5_000))
    await it.close_epoch()
    await it.clock.advance(12)
    assert record.status == "dropped"
    await trade(it, RATE - 1_000)
    assert [row[0] for row in placed(it)] == ["rest/a"]


async def test_both_orders_have_the_options_that_were_asked_for(it: World) -> None:
    options = OrderOptions(post_only=True, max_matches=2)
    await stop(it, rest_rate=RATE + 5_000, options=options)
    await it.until(lambda: bool(placed(it)))
    await it.close_epoch()
    await trade(it, RATE - 1_000)
    await it.close_epoch()
    await it.clock.advance(12)
    await it.close_epoch()
    mine = [order for order in it.traders["alice"].orders() if order.tag]
    assert [(order.tag, order.options) for order in mine] == [("rest/a", options), ("stop/a", options)]


async def test_a_condition_ends_when_its_orders_would_expire(it: World) -> None:
    record = await stop(it, options=OrderOptions(expiry=it.clock.now_ms() + 60_000))
    await it.clock.advance(30)
    assert record.status == "waiting"
    await it.clock.advance(45)
    assert (record.status, record.reason) == ("dropped", "it expired")
    await trade(it, RATE - 1_000)
    assert placed(it) == []


async def test_a_stop_for_all_coins_waits_for_those_of_the_order_that_rested(it: World) -> None:
    record = await stop(it, lots=90, rest_rate=RATE + 5_000)
    await it.until(lambda: bool(placed(it)))
    await it.close_epoch()
    await trade(it, RATE - 1_000)
    await it.close_epoch()
    await it.until(lambda: record.status == "placed")
    await it.close_epoch()
    assert [row[0] for row in placed(it)] == ["rest/a", "stop/a"]
    assert [row[3] for row in placed(it)] == ["canceled", "booked"]


async def test_a_stop_without_coins_is_placed_once_there_are_some(it: World) -> None:
    venue = it.traders["alice"].venue()
    other = await it.call(venue.limit(MARKET, Side.SELL, 90 * LOT, 2 * RATE))
    assert isinstance(other, OrderRecord)
    await it.close_epoch()
    record = await stop(it)
    await trade(it, RATE - 1_000)
    await it.clock.advance(60)
    assert (record.status, "are set aside" in record.reason) == ("reached", True)
    notices = [event for event in it.events["alice"] if isinstance(event, Notice) and "condition a" in event.text]
    assert len(notices) == 1
    cursor = it.stores["alice"].get(CursorRecord, "btc.regtest")
    assert cursor is not None
    assert cursor.receive < 8, "waiting takes no addresses"
    await it.call(venue.orders.cancel(other.order_id))
    await it.close_epoch()
    await it.until(lambda: record.status == "placed")


async def test_a_stop_of_more_coins_than_can_be_named_makes_one_of_them(it: World) -> None:
    """A plain order asks for --split, which costs a fee; when a stop is reached nobody is there to be asked."""
    much = (await crumbs(it) - 25 * LOT) // LOT
    record = await stop(it, lots=much)
    await trade(it, RATE - 1_000)
    await it.until(lambda: record.status != "waiting")
    assert (record.status, record.reason) == ("placed", "")
    (order,) = (each for each in it.traders["alice"].orders() if each.tag)
    assert (order.quantity, len(order.coins)) == (much * LOT, 1)


async def test_a_stop_outlives_what_passes(it: World) -> None:
    """A wallet that is still looking after a start, and refusals of the moment, end no stop; one that stays does."""
    record = await stop(it)
    it.cut.add(LTC)
    await it.server.hang_up()
    await it.electrum[LTC].hang_up()
    await it.restart("alice")
    (record,) = it.traders["alice"].conditions()
    await trade(it, RATE - 1_000)
    await it.until(lambda: record.status == "reached" and bool(record.reason))
    assert "still looking" in record.reason
    it.server.refuse["limit"] = RpcError(ErrorCode.MARKET_NOT_RUNNING, "the market is suspended")
    it.cut.clear()
    await it.until(lambda: "suspended" in record.reason)
    assert record.status == "reached"
    it.server.refuse["limit"] = RpcError(ErrorCode.ACCOUNT_SUSPENDED, "no tier")
    await it.until(lambda: record.status == "failed")
    assert "no tier" in record.reason


async def test_a_stop_whose_coins_are_too_new_for_the_server_is_tried_again_less_and_less_often(it: World) -> None:
    record, bob = await stop(it), it.traders["bob"].venue()
    await it.call(bob.limit(MARKET, Side.SELL, LOT, RATE - 1_000))
    await it.close_epoch()
    await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE - 1_000))
    it.server.refuse["limit"] = RpcError(ErrorCode.FUNDING, "wait for the coin's confirmation")
    await it.close_epoch()
    await it.clock.advance(600)
    assert (record.status, "confirmation" in record.reason) == ("reached", True)
    assert 4 <= len(it.server.asked("limit")) - 2 <= 7
    it.server.refuse.clear()
    await it.until(lambda: record.status == "placed", seconds=700)


async def test_a_condition_given_up_takes_its_resting_order_along(it: World) -> None:
    record = await stop(it, rest_rate=RATE + 5_000)
    await it.until(lambda: bool(placed(it)))
    await it.close_epoch()
    await it.call(it.traders["alice"].venue().conditions.cancel("a"))
    await it.close_epoch()
    assert (record.status, [row[3] for row in placed(it)]) == ("canceled", ["canceled"])
    with pytest.raises(OrderError):
        await it.call(it.traders["alice"].venue().conditions.cancel("a"))


async def test_stops_on_the_wrong_side_are_refused_with_numbers(it: World) -> None:
    await trade(it, RATE)
    resting = await it.call(it.traders["bob"].venue().limit(MARKET, Side.SELL, LOT, RATE))
    assert isinstance(resting, OrderRecord)
    await it.close_epoch()
    venue = it.traders["alice"].venue()
    with pytest.raises(OrderError) as reached:
        await it.call(venue.stop_limit("x", MARKET, Side.SELL, LOT, RATE + 100, RATE))
    assert (reached.value.code, reached.value.numbers["stop"]) == ("order.stop_reached", RATE + 100)
    with pytest.raises(OrderError) as crossed:
        await it.call(venue.stop_limit("x", MARKET, Side.SELL, LOT, RATE - 100, RATE, rest_rate=RATE - 200))
    assert crossed.value.code == "order.stop"
