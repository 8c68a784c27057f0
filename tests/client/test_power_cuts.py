"""The plug is pulled between any two writes or broadcasts of bonding, ordering and swapping; nothing is ever lost.

After one of them is before the next, so cutting before each covers both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
from tests.client.fake_server import BOND, LOT, MARKET
from tests.client.test_settlement import assert_swapped
from tests.client.world import FUNDS, PIECES, RATE, World, world

from twinlock.client.drafts import LimitAsk
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError
from twinlock.protocol.orders import Side

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_power_fails_at_every_write_and_broadcast_of_a_swap(name: str) -> None:
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice", "bob")
            await it.matched()
            it.fuses[name].light(cuts, before=True)
            for _ in range(12):
                await it.clock.advance(3)
                await it.mine()
                if it.fuses[name].burnt:
                    await it.restart(name)
                    break
            else:
                break
            await assert_swapped(it)
    assert cuts > 10, "the story has more operations than that"


Story = Callable[[World, Trader], Awaitable[object]]


async def register(_: World, alice: Trader) -> object:
    return await alice.register("btc")


async def order(_: World, alice: Trader) -> object:
    return await alice.limit(MARKET, Side.SELL, LOT, RATE)


async def several(it: World, alice: Trader) -> object:
    """More orders than coins, so that a split is needed."""
    ask = LimitAsk(market=MARKET, side=Side.SELL, quantity=LOT, rate=RATE)
    return await alice.venue().limits([ask] * (PIECES + 1))


async def cut(it: World, story: Story, cuts: int) -> bool:
    """Whether the power went within the story, before operation `cuts` of it."""
    it.fuses["alice"].light(cuts, before=True)
    task = asyncio.ensure_future(story(it, it.traders["alice"]))
    with suppress(TwinlockError, TimeoutError):
        await it.call(task)
    for _ in range(2):
        await it.clock.advance(2)
        await it.mine()
    if not it.fuses["alice"].burnt:
        it.fuses["alice"].light(10**9, before=False)
        return False
    task.cancel()
    await it.restart("alice")
    for _ in range(3):
        await it.clock.advance(6)
        await it.mine()
    return True


async def test_power_fails_at_every_write_and_broadcast_of_bonding() -> None:
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice")
            before = it.total("alice")
            failed = await cut(it, register, cuts)
            alice = it.traders["alice"]
            assert all(bond.state == "posted" for bond in alice.bonds())
            balance = alice.wallet("btc").balance()
            assert balance.bonded == BOND * len(alice.bonds())
            assert (balance.locked, balance.total > before["btc"] - 20_000) == (0, True)
            await it.call(register(it, alice))  # What was cut short is not in the way of another try.
            if not failed:
                break
    assert cuts > 4, "the story has more operations than that"


@pytest.mark.parametrize("story", [order, several])
async def test_power_fails_at_every_write_and_broadcast_of_ordering(story: Story) -> None:
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice")
            failed = await cut(it, story, cuts)
            alice = it.traders["alice"]
            await it.close_epoch()
            assert {each.status for each in alice.orders()} <= {"booked", "failed"}
            booked = [each for each in alice.orders() if each.status == "booked"]
            assert {each.order_id for each in booked} == {each.id for each in it.server.book}
            for each in booked:
                await it.call(alice.cancel(each.order_id))
            await it.close_epoch()
            await it.until(lambda alice=alice: alice.wallet("ltc").balance().locked == 0)  # type: ignore[misc]
            assert alice.wallet("ltc").balance().available > FUNDS - 20_000
            if not failed:
                break
    assert cuts > 4, "the story has more operations than that"


def settled(it: World) -> bool:
    return all(swap.outcome for swap in it.traders["alice"].swaps())


async def test_power_fails_at_every_write_of_a_match_and_its_acknowledgement() -> None:
    """A match that was not acknowledged is revoked by the server; one that was is settled. No coin is lost."""
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            alice, bob = await it.funded("alice", "bob")
            before = it.total("alice")
            await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
            await it.close_epoch()
            await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE))
            it.fuses["alice"].light(cuts, before=True)
            closing = asyncio.ensure_future(it.server.close_epoch())
            await it.clock.advance(0.5)
            failed = it.fuses["alice"].burnt
            if failed:
                closing.cancel()
                await it.restart("alice")
            it.fuses["alice"].light(10**9, before=False)
            for match in it.server.matches.values():
                if not all(match.addresses):
                    await it.server.revoke(match)
            await it.settle(partial(settled, it), rounds=60)
            assert {swap.outcome for swap in it.traders["alice"].swaps()} <= {"swapped", "void", "refunded"}
            lost = before["ltc"] - it.total("alice")["ltc"]
            assert lost < LOT + 20_000
            if not failed:
                assert alice.swaps()[-1].outcome == "swapped"
                break
            if cuts > 3:
                break
    assert cuts > 2
