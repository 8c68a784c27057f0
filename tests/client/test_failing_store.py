"""A store that cannot be written for a while: memory is never ahead of it, and the swap ends well once it can be.

`test_power_cuts` restarts the trader at the same moments; here it lives on.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.client.fake_server import LOT, MARKET
from tests.client.test_power_cuts import ROLES, WHOLE, assert_nothing_signed_twice, left_alone
from tests.client.test_settlement import assert_books, assert_swapped
from tests.client.world import RATE, World, world

from twinlock.client.store.records import BondRecord, OrderRecord, SwapRecord
from twinlock.protocol.orders import Side
from twinlock.protocol.swap import Party

pytestmark = pytest.mark.anyio


def assert_memory_is_as_the_disk(it: World, name: str) -> None:
    venue, store = it.traders[name].venue(), it.stores[name]
    swaps, orders, bonds = venue.swapper.matches.all(), venue.orders.all(), venue.bonds.all()
    assert sorted(swaps, key=lambda swap: swap.key) == store.all(SwapRecord)
    assert sorted(orders, key=lambda order: order.key) == store.all(OrderRecord)
    assert sorted(bonds, key=lambda bond: bond.key) == store.all(BondRecord)


async def failed(it: World, name: str) -> bool:
    """Whether the store came to fail before the swap was over; then it has failed for some seconds."""
    for _ in range(12):
        await it.clock.advance(3)
        if it.fuses[name].burnt:
            assert_memory_is_as_the_disk(it, name)
            await it.mine()
            await it.clock.advance(12)
            assert_memory_is_as_the_disk(it, name)
            it.fuses[name].light(WHOLE, before=True)
            return True
        await it.mine()
    return False


@ROLES
async def test_in_a_swap(name: str) -> None:
    writes = 1
    while True:
        async with world() as it:
            await it.funded("alice", "bob")
            await it.matched()
            it.fuses[name].light(writes, before=True)
            if not await failed(it, name):
                break
            await assert_swapped(it)
            assert_nothing_signed_twice(it, name)
            assert_memory_is_as_the_disk(it, name)
        writes += 1
    assert writes > 10, "the story has more writes than that"


@ROLES
async def test_in_a_refund(name: str) -> None:
    party, writes = Party.MAKER if name == "alice" else Party.TAKER, 1
    while True:
        async with world() as it:
            await it.funded("alice", "bob")
            await it.matched()
            await left_alone(it, name)
            it.fuses[name].light(writes, before=True)
            await it.pass_locks(it.swap(name).swap.terms.locks[party])
            if not await failed(it, name):
                break
            await it.settle(lambda it=it: bool(it.swap(name).outcome))  # type: ignore[misc]
            assert it.swap(name).outcome == "refunded"
            await assert_books(it, name, it.swap(name))
            assert_nothing_signed_twice(it, name)
        writes += 1
    assert writes > 3, "the story has more writes than that"


@ROLES
async def test_while_it_is_matched(name: str) -> None:
    """From the preimage on; a match that could not be kept is not taken in, and the next login tells what was lost."""
    writes = 0
    addressed = False
    while not addressed:
        writes += 1
        async with world() as it:
            alice, bob = await it.funded("alice", "bob")
            await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
            await it.close_epoch()
            await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE))
            it.fuses[name].light(writes, before=True)
            closing = asyncio.ensure_future(it.server.close_epoch())
            await it.clock.advance(2)
            assert it.fuses[name].burnt, "the story has more writes than that"
            assert_memory_is_as_the_disk(it, name)
            it.fuses[name].light(WHOLE, before=True)
            closing.cancel()
            await it.clock.advance(30)
            for match in it.server.matches.values():
                if not all(match.addresses):
                    await it.server.revoke(match)
            swaps = it.traders[name].swaps()
            await it.settle(lambda it=it: all(swap.outcome for each in it.traders.values() for swap in each.swaps()))  # type: ignore[misc]
            addressed = any(swap.outcome == "swapped" for swap in swaps)
            for swap in swaps:
                await assert_books(it, name, swap)
            assert_memory_is_as_the_disk(it, name)
            assert_nothing_signed_twice(it, name)
    assert writes > 1, "the story has more writes than that"
