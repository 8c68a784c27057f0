"""What is over leaves the memory, and is found in the store by whoever still asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.client.fake_server import LOT, MARKET
from tests.client.world import HOST, RATE, World, world

from twinlock.client.api import Api
from twinlock.client.control import views
from twinlock.client.control.paging import asked, walk
from twinlock.client.control.remote import RemoteError, embedded
from twinlock.client.evidence import KEPT, accuse
from twinlock.client.store.living import Look
from twinlock.client.store.records import EvidenceRecord, OrderRecord, SwapRecord
from twinlock.client.tower.courier import PacketRecord
from twinlock.client.trader import Trader
from twinlock.client.wallet.records import SignedRecord
from twinlock.client.wallet.stakes import FINAL_DEPTH
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.orders import NoMatch
from twinlock.protocol.orders import Side
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio

CHECK_S = 20
"""Longer than the client waits before it looks at everything again."""


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        yield it


async def quoted(it: World, times: int, *, tag: str = "") -> list[str]:
    """Alice places an order and cancels it, so many times; the IDs of the orders."""
    alice, found = it.traders["alice"], list[str]()
    for number in range(times):
        order = await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE, tag=tag and f"{tag}-{number}"))
        assert isinstance(order, OrderRecord)
        await it.close_epoch()
        await it.call(alice.cancel(order.order_id))
        await it.close_epoch()
        found.append(order.order_id.hex())
    await it.clock.advance(CHECK_S)
    return found


def in_memory(trader: Trader) -> tuple[int, int]:
    venue = trader.venue()
    return len(venue.orders.records), len(venue.swapper.matches.records)


async def test_orders_that_are_over_leave_the_memory_and_are_found_by_id_and_tag(it: World) -> None:
    (alice,) = await it.funded("alice")
    orders = alice.venue().orders
    ids = await quoted(it, 3, tag="bot")
    assert in_memory(alice) == (0, 0)
    found = [orders.by_id(bytes.fromhex(order_id)) for order_id in ids]
    assert [order.status for order in found if order] == ["canceled"] * 3
    again = await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE, tag="bot-1"))
    assert again is orders.by_id(bytes.fromhex(ids[1])), "placed under a name that was used: no second order"
    assert len(it.server.asked("limit")) == 3
    await it.server.broadcast("nomatch", NoMatch(order_id=Hex(bytes.fromhex(ids[0]))))
    await it.clock.advance(1)
    assert (in_memory(alice), [order.status for order in alice.orders() if order.side]) == ((0, 0), ["canceled"] * 3)


async def test_matches_leave_the_memory_and_their_proof_can_still_be_made(it: World) -> None:
    alice, bob = await it.funded("alice", "bob")
    await it.matched()
    await it.settle(lambda: all(swap.closed for trader in (alice, bob) for swap in trader.swaps()))
    await it.clock.advance(CHECK_S)
    assert in_memory(alice) == in_memory(bob) == (0, 0)
    (swap,) = alice.swaps()
    matches = alice.venue().swapper.matches
    assert matches.find(swap.match_id, swap.order_id) is swap
    async with embedded(alice) as remote:
        (proof,) = await remote.get(f"/swaps/{swap.match_id.hex()[:10]}/proof", list[views.ProofView])
        assert proof.match_id == swap.match_id.hex()
        with pytest.raises(RemoteError, match="no match"):
            await remote.get(f"/swaps/{'0' * 20}/proof", list[views.ProofView])


async def test_only_what_is_open_is_read_at_the_start(it: World) -> None:
    alice, _ = await it.funded("alice", "bob")
    await quoted(it, 2)
    maker, _ = await it.matched()
    waits = await it.call(alice.limit(MARKET, Side.SELL, LOT, 2 * RATE))
    assert isinstance(waits, OrderRecord)
    await it.close_epoch()
    await it.crash("alice")
    alice = await it.start("alice")
    assert [swap.key for swap in alice.venue().swapper.matches.records.all()] == [maker.key]
    assert [order.order_id for order in alice.venue().orders.records.all()] == [waits.order_id]
    await it.settle(lambda: all(swap.outcome == "swapped" for each in it.traders.values() for swap in each.swaps()))


async def test_one_record_is_one_object_however_it_is_found(it: World) -> None:
    (alice,) = await it.funded("alice")
    (order_id,) = await quoted(it, 1, tag="x")
    orders = alice.venue().orders
    order = orders.by_id(bytes.fromhex(order_id))
    assert order is not None
    (listed,) = (each for each in alice.orders() if each.order_id == order.order_id)
    assert order is orders.by_key(order.key) is orders.tagged("x-0") is listed


async def test_long_lists_are_read_page_by_page(it: World) -> None:
    (alice,) = await it.funded("alice")
    ids = await quoted(it, 4)
    open_order = await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
    assert isinstance(open_order, OrderRecord)
    here = open_order.order_id.hex()

    async with embedded(alice) as remote:

        async def listed(**query: object) -> list[views.OrderView]:
            return await remote.get(asked("/orders", **query), list[views.OrderView])

        def trades(rows: list[views.OrderView]) -> list[str]:
            return [row.id for row in rows if row.side]

        everything = await listed()
        assert trades(everything) == [*ids, here]
        assert [row.cursor == "" for row in everything] == [False] * 8 + [True], "four orders, their cancels, and one"
        assert trades(await listed(state="open")) == [here]
        assert trades(await listed(state="over")) == ids
        assert await listed(state="over", count=3) == (await listed(count=3))[:-1] == everything[5:8]
        assert await listed(count=3, before=everything[5].cursor) == everything[2:5]
        assert await listed(count=3, before=everything[2].cursor) == everything[:2]
        assert await listed(market="doge_btc") == await listed(before=everything[0].cursor) == []
        assert await listed(market=MARKET, host=HOST) == everything
        rows = [row async for row in walk(remote, "/orders", views.OrderView)]
        assert rows == everything[::-1]
        api = Api(remote, "", {})
        assert trades(await api.orders("open", market=MARKET)) == [here]
        assert [row async for row in api.past_orders(market=MARKET)] == everything[-2::-1]
        for wrong in ("yesterday", "12.", ".x", "9" * 30 + ".x"):
            with pytest.raises(RemoteError, match="no place in the list"):
                await listed(before=wrong)


async def test_a_finished_order_and_its_match_are_what_the_store_holds(it: World) -> None:
    alice, _ = await it.funded("alice", "bob")
    await it.matched()
    await it.settle(lambda: all(swap.closed for each in it.traders.values() for swap in each.swaps()))
    await it.clock.advance(CHECK_S)
    store = it.stores["alice"]
    assert alice.orders(Look(state="over")) == store.all(OrderRecord)
    assert alice.swaps(Look(state="over")) == store.all(SwapRecord)
    assert not alice.orders(Look(state="open"))
    assert not alice.swaps(Look(state="open"))


async def test_nothing_is_remembered_of_swaps_that_are_over(it: World) -> None:
    alice, bob = await it.funded("alice", "bob")
    await it.matched()
    await it.until(lambda: bool(alice.running()))
    async with embedded(alice) as remote:
        await it.until(lambda: all(swap.own_tx for _, swap in alice.running()))
        assert await remote.get("/packets", list[views.PacketView])
    assert it.stores["alice"].all(PacketRecord)
    await it.settle(lambda: all(swap.closed for trader in (alice, bob) for swap in trader.swaps()))
    await it.clock.advance(CHECK_S)
    for trader in (alice, bob):
        swapper = trader.venue().swapper
        kept = (swapper._runners, swapper._actions._funds, swapper._actions._too_early, swapper._escalation._lifted)
        assert not any(kept)
    await it.mine(FINAL_DEPTH)
    assert not it.stores["alice"].all(SignedRecord), "what is final is not sent again"
    await it.crash("alice")
    await it.start("alice")
    assert not it.stores["alice"].all(PacketRecord)


async def test_the_evidence_of_a_server_that_always_cheats_is_bounded(it: World) -> None:
    (alice,) = await it.funded("alice")
    desk = alice.venue().desk
    for number in range(KEPT + 3):
        accuse(desk, MARKET, str(number), "it cheats", b"{}")
        accuse(desk, "other_btc", str(number % 2), "it cheats there too", b"{}")
        await it.clock.advance(0.01)
    kept = {record.name for record in it.stores["alice"].all(EvidenceRecord)}
    assert kept == {f"{HOST}/{MARKET}/{number}" for number in range(3, KEPT + 3)} | {
        f"{HOST}/other_btc/{number}" for number in range(2)
    }


async def test_of_a_book_that_is_not_told_only_the_newest_orders_are_remembered(it: World) -> None:
    """They wait for a mirror that may follow it."""
    it.server.refuse["orderbook"] = RpcError(ErrorCode.TOO_MANY_REQUESTS, "not to you")
    (alice,) = await it.funded("alice")
    for _ in range(15):
        await quoted(it, 1)
    assert not alice.venue().feeds
    waiting = alice.venue().orders.expect[MARKET]
    assert 0 < len({epoch for epoch, _ in waiting}) <= 10
