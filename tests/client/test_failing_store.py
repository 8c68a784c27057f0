"""A store that cannot be written for a while: memory is never ahead of it, and the swap ends well once it can be.

`test_power_cuts` restarts the trader at the same moments; here it lives on.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.client.cuts import every_cut
from tests.client.fake_server import LOT, MARKET
from tests.client.test_power_cuts import ROLES, assert_nothing_signed_twice, left_alone
from tests.client.test_settlement import assert_books, assert_swapped
from tests.client.world import RATE, World, world

from twinlock.client.store.base import LIVE
from twinlock.client.store.records import BondRecord, OrderRecord, SwapRecord
from twinlock.protocol.orders import Side
from twinlock.protocol.swap import Party

pytestmark = pytest.mark.anyio


def assert_memory_is_as_the_disk(it: World, name: str) -> None:
    venue, store = it.traders[name].venue(), it.stores[name]
    swaps, orders = venue.swapper.matches.records.all(), venue.orders.records.all()
    for record in (*swaps, *orders):
        assert record == store.get(type(record), record.key)
    assert {swap.key for swap in store.marked(SwapRecord, LIVE)} <= {swap.key for swap in swaps}
    assert {order.key for order in store.marked(OrderRecord, LIVE)} <= {order.key for order in orders}
    assert sorted(venue.bonds.all(), key=lambda bond: bond.key) == store.all(BondRecord)


async def fails(it: World, name: str) -> None:
    """The store comes to fail before the swap is over, and fails for some seconds then."""
    for _ in range(12):
        await it.clock.advance(3)
        if it.fuses[name].burnt:
            assert_memory_is_as_the_disk(it, name)
            await it.mine()
            await it.clock.advance(12)
            assert_memory_is_as_the_disk(it, name)
            break
        await it.mine()
    it.fuses[name].renew()


@ROLES
async def test_in_a_swap(name: str) -> None:
    async with world() as it:
        await it.funded("alice", "bob")
        await it.matched()
        with every_cut(it, name, after=False) as failures:
            await fails(it, name)
            await assert_swapped(it)
            assert_nothing_signed_twice(it, name)
            assert_memory_is_as_the_disk(it, name)
    assert failures.made > 10, "the story has more writes than that"


@ROLES
async def test_in_a_refund(name: str) -> None:
    party = Party.MAKER if name == "alice" else Party.TAKER
    async with world() as it:
        await it.funded("alice", "bob")
        await it.matched()
        await left_alone(it, name)
        with every_cut(it, name, after=False) as failures:
            await it.pass_locks(it.swap(name).swap.terms.locks[party])
            await fails(it, name)
            await it.settle(lambda: bool(it.swap(name).outcome))
            assert it.swap(name).outcome == "refunded"
            await assert_books(it, name, it.swap(name))
            assert_nothing_signed_twice(it, name)
    assert failures.made > 3, "the story has more writes than that"


@ROLES
async def test_while_it_is_matched(name: str) -> None:
    """From the preimage on; a match that could not be kept is not taken in, and the next login tells what was lost."""
    async with world() as it:
        alice, bob = await it.funded("alice", "bob")
        await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
        await it.close_epoch()
        await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE))
        with every_cut(it, name, after=False) as failures:
            closing = asyncio.ensure_future(it.server.close_epoch())
            await it.clock.advance(2)
            assert_memory_is_as_the_disk(it, name)
            it.fuses[name].renew()
            closing.cancel()
            await it.clock.advance(30)
            for match in it.server.matches.values():
                if not all(match.addresses):
                    await it.server.revoke(match)
            await it.settle(lambda: all(swap.outcome for each in it.traders.values() for swap in each.swaps()))
            for swap in it.traders[name].swaps():
                await assert_books(it, name, swap)
            assert_memory_is_as_the_disk(it, name)
            assert_nothing_signed_twice(it, name)
    assert failures.made > 1, "the story has more writes than that"
