"""Orders: what is sent, what is believed, and what happens when the answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.client.fake_server import LOT, LTC, MARKET
from tests.client.world import FUNDS, RATE, World, world

from twinlock.chain.address import address_to_script
from twinlock.chain.coins import coin
from twinlock.client.conditional import ConditionRecord
from twinlock.client.drafts import LimitAsk
from twinlock.client.errors import MisbehaviourError, OrderError, RequestTimeoutError
from twinlock.client.events import EpochReplayed, Notice, ServerAccused
from twinlock.client.store.records import EvidenceRecord, OrderRecord
from twinlock.client.trader import Trader
from twinlock.client.wallet.errors import ShortFundsError, TooManyCoinsError
from twinlock.protocol import envelope
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import MAX_COINS
from twinlock.protocol.messages.book import EpochOrder
from twinlock.protocol.messages.orders import OrderOptions, PreimageRequest, PreimageResponse, RevokeOrder
from twinlock.protocol.orders import Side, TimeInForce, commit
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice")
        yield it


def locked(trader: Trader) -> int:
    return trader.wallet("ltc").balance().locked


async def sell(it: World, quantity: int = 3 * LOT, **options: Any) -> OrderRecord:
    order = await it.call(it.traders["alice"].limit(MARKET, Side.SELL, quantity, RATE, **options))
    assert isinstance(order, OrderRecord)
    return order


async def test_an_order_lives_and_is_cancelled(it: World) -> None:
    alice = it.traders["alice"]
    order = await sell(it)
    assert (order.status, order.order_id in it.server.epoch, locked(alice) > 0) == ("epoch", True, True)
    (message,) = it.server.asked("limit")
    assert (message.server_time, message.quantity, bytes(message.commitment)) == (0, 3 * LOT, commit(order.preimage))
    await it.close_epoch()
    assert order.status == "booked"
    await it.call(alice.cancel(order.order_id))
    await it.close_epoch()
    assert order.status == "canceled"
    await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS)
    replayed = [event for event in it.events["alice"] if isinstance(event, EpochReplayed)]
    assert [(event.orders, event.complete) for event in replayed][-1] == (1, True)


async def test_an_order_is_cancelled_at_once_while_its_market_is_suspended(it: World) -> None:
    alice = it.traders["alice"]
    order = await sell(it)
    await it.close_epoch()
    it.server.suspended = True
    cancel = await it.call(alice.cancel(order.order_id))
    assert isinstance(cancel, OrderRecord)
    await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS)
    assert (order.status, cancel.status) == ("canceled", "executed")
    assert not alice.swaps()


async def test_orders_never_share_a_commitment_even_within_a_millisecond(it: World) -> None:
    orders = [await sell(it, LOT) for _ in range(3)]
    assert len({order.commitment for order in orders}) == len({order.tclient for order in orders}) == 3


@pytest.mark.parametrize(
    ("quantity", "rate", "code"),
    [
        (LOT + 1, RATE, "order.lot_size"),
        (0, RATE, "order.lot_size"),
        (LOT, 1, "order.rate_step"),
        (LOT, 0, "order.rate_step"),
    ],
)
async def test_what_the_market_would_refuse_is_not_sent(it: World, quantity: int, rate: int, code: str) -> None:
    with pytest.raises(OrderError) as caught:
        await it.call(it.traders["alice"].limit(MARKET, Side.SELL, quantity, rate))
    assert caught.value.code == code
    assert not it.server.asked("limit")
    assert locked(it.traders["alice"]) == 0


async def test_a_refused_order_gives_its_coins_back(it: World) -> None:
    it.server.refuse["limit"] = RpcError(ErrorCode.FUNDING, "no")
    with pytest.raises(RpcError):
        await sell(it)
    assert [order.status for order in it.traders["alice"].orders()] == ["failed"]
    assert locked(it.traders["alice"]) == 0


async def crumbs(it: World) -> int:
    """Alice gets more coins than an order can name; all that she has (atoms)."""
    alice = it.traders["alice"]
    script = address_to_script(coin("ltc", "regtest"), await alice.wallet("ltc").new_address())
    for _ in range(MAX_COINS + 5):
        it.chains[LTC].pay(script, 3 * LOT)
    await it.mine()
    all_of_it = FUNDS + (MAX_COINS + 5) * 3 * LOT
    await it.until(lambda: alice.wallet("ltc").balance().available == all_of_it)
    return all_of_it


async def test_an_order_of_more_coins_than_can_be_named_is_refused_and_split(it: World) -> None:
    alice, all_of_it = it.traders["alice"], await crumbs(it)
    much = all_of_it - 25 * LOT
    with pytest.raises(TooManyCoinsError) as refused:
        await sell(it, much)
    assert refused.value.numbers["most"] == MAX_COINS < int(refused.value.numbers["coins"])
    assert not it.server.asked("limit")
    assert (locked(alice), alice.wallet("ltc").balance().available) == (0, all_of_it)
    with pytest.raises(ShortFundsError):
        await sell(it, all_of_it, split=True)
    assert not alice.orders(), "what could not be paid for was never an order"
    order = await sell(it, much, split=True)
    assert (order.status, len(order.coins)) == ("epoch", 1)


async def test_a_time_that_was_refused_binds_no_later_order(it: World) -> None:
    """Times only rise: had a wrong clock's been kept, orders would fail until the right one had reached it."""
    sold = await sell(it, LOT)
    [venue] = it.traders["alice"].venues.values()
    account = venue.desk.account
    assert account is not None
    account.last_order_ms += 610_000
    it.server.refuse["limit"] = RpcError(ErrorCode.CLOCK_RANGE, "no")
    with pytest.raises(RpcError):
        await sell(it, LOT)
    it.server.refuse.clear()
    assert sold.tclient < (await sell(it, LOT)).tclient <= it.clock.now_ms()


@pytest.mark.parametrize("member", ["sig", "order_id"])
async def test_a_receipt_that_does_not_fit_is_no_receipt(it: World, member: str) -> None:
    def change(route: str, payload: Any) -> Any:
        return msgspec.structs.replace(payload, **{member: Hex(b"\x01" * 32)}) if route == "limit:result" else payload

    it.server.bend = change
    with pytest.raises(MisbehaviourError):
        await sell(it)
    assert [order.status for order in it.traders["alice"].orders()] == ["failed"]


async def ask_preimage(it: World, order: OrderRecord, csum: bytes) -> PreimageResponse:
    peer = it.server.accounts[next(iter(it.server.accounts))].peer
    assert peer is not None
    request = PreimageRequest(order_id=Hex(order.order_id), commitment=Hex(order.commitment), csum=Hex(csum))
    return envelope.decode_result(await peer.ask("preimage", request), PreimageResponse)


async def test_a_preimage_is_given_under_one_checksum_only_also_after_a_restart(it: World) -> None:
    order = await sell(it)
    answer = await it.call(ask_preimage(it, order, b"\x01" * 32))
    assert isinstance(answer, PreimageResponse)
    assert answer.preimage == order.preimage
    with pytest.raises(RpcError) as caught:
        await it.call(ask_preimage(it, order, b"\x02" * 32))
    assert caught.value.rpc_code is ErrorCode.INVALID_REQUEST
    await it.stop("alice")
    alice = await it.start("alice")
    await it.until(alice.venue().desk.session.ready.is_set)
    with pytest.raises(RpcError):
        await it.call(ask_preimage(it, order, b"\x02" * 32))
    again = await it.call(ask_preimage(it, order, b"\x01" * 32))
    assert again == answer


async def test_a_preimage_asked_for_before_the_receipt_is_given(it: World) -> None:
    alice = it.traders["alice"]
    it.server.mute.add("limit")
    placing = asyncio.ensure_future(sell(it))
    await it.clock.advance(1)
    (order,) = alice.orders()
    answer = await ask_preimage(it, order, b"\x01" * 32)
    assert commit(answer.preimage) == order.commitment
    await it.clock.advance(61)
    with pytest.raises(RequestTimeoutError):
        await placing
    assert order.status == "sent"
    assert locked(alice) > 0


async def test_an_order_whose_receipt_was_lost_is_adopted_at_the_next_login(it: World) -> None:
    alice = it.traders["alice"]

    def drop(route: str, payload: Any) -> Any:
        return None if route == "limit:result" else payload

    it.server.bend = drop
    with pytest.raises(RpcError):
        await sell(it)
    it.server.bend = lambda _, payload: payload
    (order,) = alice.orders()
    order.status = "sent"  # As a lost answer leaves it; the garbled one above counted as a refusal.
    await it.server.hang_up()
    await it.clock.advance(8)
    assert order.status == "epoch"
    assert order.order_id in it.server.epoch


async def test_an_order_that_never_arrived_is_given_up_at_the_next_login(it: World) -> None:
    alice = it.traders["alice"]
    it.server.mute.add("limit")
    with pytest.raises(RequestTimeoutError):
        await sell(it)
    await it.server.hang_up()
    await it.clock.advance(8)
    assert [order.status for order in alice.orders()] == ["failed"]
    await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS)


async def test_an_unknown_order_that_the_server_lists_is_cancelled(it: World) -> None:
    await sell(it)
    await it.close_epoch()
    await it.stop("alice")
    store = it.stores["alice"]
    for order in store.all(OrderRecord):
        store.delete(OrderRecord, order.key)
    await it.start("alice")
    await it.clock.advance(3)
    assert len(it.server.asked("cancel")) == 1


async def test_a_revoked_order_gives_its_coins_back_if_the_server_signed_it(it: World) -> None:
    order, alice = await sell(it), it.traders["alice"]
    await it.close_epoch()
    peer = it.server.accounts[next(iter(it.server.accounts))].peer
    assert peer is not None
    await peer.tell("revoke_order", RevokeOrder(order_id=Hex(order.order_id), sig=Hex(b"\x01" * 70)))
    await it.clock.advance(1)
    assert order.status == "booked"
    await peer.tell("revoke_order", it.server.signed(RevokeOrder(order_id=Hex(order.order_id))))
    await it.clock.advance(1)
    assert order.status == "revoked"
    await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS)


async def test_a_server_that_changes_an_order_in_its_epoch_is_accused(it: World) -> None:
    await sell(it, LOT)
    await it.close_epoch()  # From now on every order of an epoch is seen.

    def alter(route: str, payload: Any) -> Any:
        return msgspec.structs.replace(payload, rate=RATE + 100) if isinstance(payload, EpochOrder) else payload

    it.server.bend = alter
    await sell(it, LOT)
    await it.close_epoch()
    accused = [event for event in it.events["alice"] if isinstance(event, ServerAccused)]
    assert len(accused) == 1
    evidence = it.stores["alice"].get(EvidenceRecord, accused[0].evidence)
    assert evidence is not None
    assert msgspec.json.decode(evidence.body)["market"]["name"] == MARKET


async def test_market_orders_of_both_sides_settle_their_coins(it: World) -> None:
    await it.funded("bob")
    bob = it.traders["bob"]
    order = await sell(it)
    await it.close_epoch()
    spend = 3 * LOT * RATE // 10**8 + 1_000
    bought = await it.call(bob.market(MARKET, Side.BUY, spend))
    assert isinstance(bought, OrderRecord)
    await it.close_epoch()
    assert (order.status, order.filled) == ("executed", 3 * LOT)
    assert (bought.status, bought.filled) == ("executed", 3 * LOT * RATE // 10**8)
    await it.settle(lambda: it.swap("bob").outcome == it.swap("alice").outcome == "swapped")
    assert bob.wallet("btc").balance().locked == 0
    sold = await it.call(bob.market(MARKET, Side.SELL, LOT))
    assert isinstance(sold, OrderRecord)
    await it.close_epoch()
    assert (sold.status, sold.filled) == ("executed", 0)
    assert it.chains[LTC].height > 130
    assert order.force == TimeInForce.STANDING


async def test_several_matches_of_one_order_spend_its_coins_one_after_another(it: World) -> None:
    await it.funded("bob")
    for _ in range(3):
        await sell(it, LOT)
    await it.close_epoch()
    bob = it.traders["bob"]
    await it.call(bob.limit(MARKET, Side.BUY, 3 * LOT, RATE))
    await it.close_epoch()
    assert len(bob.swaps()) == len(it.traders["alice"].swaps()) == 3
    it.fuses["bob"].pauses = [0.5]  # each contract spends the change of the one before, which must be out first
    await it.settle(lambda: all(swap.outcome == "swapped" for trader in it.traders.values() for swap in trader.swaps()))
    await it.until(lambda: bob.wallet("btc").balance().locked == 0)
    assert not [event for event in it.events["bob"] if isinstance(event, Notice)]


async def test_options_travel_only_to_servers_that_know_them(it: World) -> None:
    it.server.knows_options = False
    alice = await it.restart("alice")
    await it.until(lambda: alice.venue().desk.session.ready.is_set())
    with pytest.raises(OrderError) as refused:
        await sell(it, options=OrderOptions(post_only=True))
    assert refused.value.code == "order.options"
    plain = await sell(it)
    (message,) = it.server.asked("limit")
    assert (plain.status, message.options) == ("epoch", msgspec.UNSET)
    assert [question.ledger for question in it.server.asked("orderbook")] == [True, False]


async def test_a_post_only_order_that_would_take_ends_and_gives_its_coins_back(it: World) -> None:
    await it.funded("bob")
    bob, careful = it.traders["bob"], OrderOptions(post_only=True)
    resting = await sell(it, options=careful)
    await it.close_epoch()
    assert resting.status == "booked"
    crossing = await it.call(bob.venue().limit(MARKET, Side.BUY, LOT, RATE, options=careful))
    assert isinstance(crossing, OrderRecord)
    await it.close_epoch()
    assert (crossing.status, crossing.filled, resting.status) == ("executed", 0, "booked")
    await it.until(lambda: bob.wallet("btc").balance().locked == 0)
    assert not any(isinstance(event, ServerAccused) for event in it.events["bob"])


async def test_an_order_ends_with_its_last_match(it: World) -> None:
    await it.funded("bob")
    capped = await sell(it, options=OrderOptions(max_matches=2))
    await it.close_epoch()
    for _ in range(2):
        await it.call(it.traders["bob"].limit(MARKET, Side.BUY, LOT, RATE, TimeInForce.IMMEDIATE))
        await it.close_epoch()
    assert (capped.status, capped.matches, capped.filled) == ("executed", 2, 2 * LOT)
    assert len(it.server.book) == 0
    assert not any(isinstance(event, ServerAccused) for event in it.events["alice"])
    await it.settle(lambda: all(swap.outcome == "swapped" for swap in it.traders["alice"].swaps()))
    await it.until(lambda: locked(it.traders["alice"]) == 0)


async def test_a_trader_takes_every_option_of_every_order(it: World) -> None:
    alice, capped = it.traders["alice"], OrderOptions(max_matches=1)
    first = await it.call(alice.market(MARKET, Side.SELL, LOT, tag="m", options=capped))
    again = await it.call(alice.market(MARKET, Side.SELL, LOT, tag="m", options=capped))
    assert isinstance(first, OrderRecord)
    assert (first is again, first.options) == (True, capped)
    ask = LimitAsk(market=MARKET, side=Side.SELL, quantity=LOT, rate=RATE, options=OrderOptions(post_only=True))
    both = await it.call(alice.limits([ask, ask]))
    assert isinstance(both, list)
    assert [order.options.post_only for order in both] == [True, True]
    made = await it.call(alice.stop_limit("s", MARKET, Side.SELL, LOT, RATE - 1_000, RATE - 2_000, rest_rate=RATE))
    assert isinstance(made, ConditionRecord)
    assert (made.status, made.rest_rate) == ("waiting", RATE)
