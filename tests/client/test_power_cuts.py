"""The plug is pulled before and after every write and every broadcast of bonding, ordering, swapping and refunding.

After its restart the trader brings everything to its end, the books are right to the atom, and nothing was ever signed
twice for one purpose: no coin of its own was spent by two different transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
from tests.client.fake_server import BOND, BTC, LOT, LTC, MARKET
from tests.client.test_settlement import assert_books, assert_swapped, fee
from tests.client.world import FUNDS, PIECES, RATE, World, world

from twinlock.chain.tx import Tx
from twinlock.client.drafts import LimitAsk
from twinlock.client.store.records import SwapRecord
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError
from twinlock.protocol.orders import Side
from twinlock.protocol.swap import LegStatus, Party

pytestmark = pytest.mark.anyio

WHOLE = 10**9
"""Operations that a fuse outlives."""

MOMENTS = pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
ROLES = pytest.mark.parametrize("name", ["alice", "bob"], ids=["maker", "taker"])


def assert_nothing_signed_twice(it: World, name: str) -> None:
    """Whatever was sent again was sent with the same bytes."""
    spenders: dict[tuple[int, object], str] = {}
    for asset, raw in it.fuses[name].sent:
        tx = Tx.parse(raw)
        for txin in tx.inputs:
            spender = spenders.setdefault((asset, txin.point), tx.txid)
            assert spender == tx.txid, f"{name} spends {txin.point} twice"


def paid_fees(it: World, name: str) -> dict[str, int]:
    """Fees of everything that a trader ever sent, by symbol."""
    sent = {(asset, Tx.parse(raw).txid): raw for asset, raw in it.fuses[name].sent}
    return {
        symbol: sum(fee(it, asset, raw) for (of, _), raw in sent.items() if of == asset)
        for asset, symbol in ((LTC, "ltc"), (BTC, "btc"))
    }


@ROLES
@MOMENTS
async def test_a_swap(name: str, before: bool) -> None:
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice", "bob")
            await it.matched()
            it.fuses[name].light(cuts, before=before)
            for _ in range(12):
                await it.clock.advance(3)
                await it.mine()
                if it.fuses[name].burnt:
                    await it.restart(name)
                    break
            else:
                break
            await assert_swapped(it)
            assert_nothing_signed_twice(it, name)
    assert cuts > 10, "the story has more operations than that"


@ROLES
async def test_a_match_that_is_revoked_meanwhile(name: str) -> None:
    """Whatever was signed or funded by then, its coins are free again in the end."""
    cuts, funded = 0, False
    while not funded:
        cuts += 1
        async with world() as it:
            await it.funded("alice", "bob")
            await it.matched()
            (match,) = it.server.matches.values()
            it.fuses[name].light(cuts, before=True)
            for _ in range(12):
                await it.clock.advance(3)
                if it.fuses[name].burnt:
                    break
                await it.mine()
            assert it.fuses[name].burnt, "the story has more operations than that"
            funded = mined(it, name)
            await it.server.revoke(match)
            await it.restart(name)
            for party in (Party.TAKER, Party.MAKER):
                await it.clock.advance(5)
                await it.mine()
                await it.pass_locks(it.swap(name).swap.terms.locks[party])
            await it.settle(lambda it=it: all(it.swap(who).outcome for who in ("alice", "bob")))  # type: ignore[misc]
            for who in ("alice", "bob"):
                assert it.swap(who).outcome in ("swapped", "refunded", "void")
                await assert_books(it, who, it.swap(who))
                assert_nothing_signed_twice(it, who)
                locked = {symbol: it.traders[who].wallet(symbol).balance().locked for symbol in ("ltc", "btc")}
                assert locked == {"ltc": 0, "btc": 0}


@ROLES
@MOMENTS
async def test_a_refund(name: str, before: bool) -> None:
    """The other one disappears once our contract is made; the plug is pulled anywhere from there to the refund."""
    party = Party.MAKER if name == "alice" else Party.TAKER
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice", "bob")
            await it.matched()
            await left_alone(it, name)
            lock = it.swap(name).swap.terms.locks[party]
            it.fuses[name].light(cuts, before=before)
            await it.pass_locks(lock)
            for _ in range(6):
                await it.clock.advance(3)
                await it.mine()
                if it.fuses[name].burnt or it.swap(name).outcome:
                    break
            burnt = it.fuses[name].burnt
            if burnt:
                await it.restart(name)
            await it.settle(lambda it=it: bool(it.swap(name).outcome))  # type: ignore[misc]
            assert it.swap(name).outcome == "refunded"
            await assert_books(it, name, it.swap(name))
            assert_nothing_signed_twice(it, name)
            if not burnt:
                break
    assert cuts > 4, "the story has more operations than that"


async def left_alone(it: World, name: str) -> None:
    """Its contract is confirmed, and the other trader is gone for good."""
    if name == "alice":
        await it.crash("bob")
    else:
        await it.settle(partial(known, it, "bob"))
        await it.crash("alice")
    await it.settle(partial(confirmed, it, name))


def known(it: World, name: str) -> bool:
    record = it.swap(name)
    return record.swap.legs[record.party].known


def mined(it: World, name: str) -> bool:
    """Its contract was in a block; it may have been redeemed since."""
    record = it.swap(name)
    return record.swap.legs[record.party].status in (LegStatus.CONFIRMED, LegStatus.REDEEMED)


def confirmed(it: World, name: str) -> bool:
    record: SwapRecord = it.swap(name)
    leg = record.swap.legs[record.party]
    return leg.claimable and leg.depth > 0


Story = Callable[[World, Trader], Awaitable[object]]


async def register(_: World, alice: Trader) -> object:
    return await alice.register("btc")


async def order(_: World, alice: Trader) -> object:
    return await alice.limit(MARKET, Side.SELL, LOT, RATE)


async def several(it: World, alice: Trader) -> object:
    """More orders than coins, so that a split is needed."""
    ask = LimitAsk(market=MARKET, side=Side.SELL, quantity=LOT, rate=RATE)
    return await alice.venue().limits([ask] * (PIECES + 1))


async def cut(it: World, story: Story, cuts: int, *, before: bool = True) -> bool:
    """Whether the power went within the story, at operation `cuts` of it."""
    it.fuses["alice"].light(cuts, before=before)
    task = asyncio.ensure_future(story(it, it.traders["alice"]))
    with suppress(TwinlockError, TimeoutError):
        await it.call(task)
    for _ in range(2):
        await it.clock.advance(2)
        await it.mine()
    if not it.fuses["alice"].burnt:
        it.fuses["alice"].light(WHOLE, before=False)
        return False
    task.cancel()
    await it.restart("alice")
    for _ in range(3):
        await it.clock.advance(6)
        await it.mine()
    return True


@MOMENTS
async def test_bonding(before: bool) -> None:
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice")
            failed = await cut(it, register, cuts, before=before)
            alice = it.traders["alice"]
            assert all(bond.state == "posted" for bond in alice.bonds())
            await it.call(register(it, alice))  # What was cut short is not in the way of another try.
            for _ in range(3):
                await it.clock.advance(6)
                await it.mine()
            balance = alice.wallet("btc").balance()
            assert balance.bonded == BOND * len(alice.bonds())
            assert (balance.locked, balance.total) == (0, FUNDS - paid_fees(it, "alice")["btc"])
            assert_nothing_signed_twice(it, "alice")
            if not failed:
                break
    assert cuts > 4, "the story has more operations than that"


@MOMENTS
async def test_a_bonds_refund(before: bool) -> None:
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            await it.funded("alice")
            (bond,) = it.traders["alice"].bonds()
            it.fuses["alice"].light(cuts, before=before)
            await it.pass_locks(bond.lock_time)
            for _ in range(4):
                await it.clock.advance(30)
                await it.mine()
                if it.fuses["alice"].burnt:
                    break
            burnt = it.fuses["alice"].burnt
            if burnt:
                await it.restart("alice")
            await it.settle(lambda it=it: refunded(it))  # type: ignore[misc]
            balance = it.traders["alice"].wallet("btc").balance()
            assert balance.total == FUNDS - paid_fees(it, "alice")["btc"]
            assert_nothing_signed_twice(it, "alice")
            if not burnt:
                break
    assert cuts > 4, "the story has more operations than that"


def refunded(it: World) -> bool:
    """The oldest bond is back, and all that is in no bond is free; another bond may have followed it."""
    alice = it.traders["alice"]
    balance = alice.wallet("btc").balance()
    free = balance.available == balance.total - balance.bonded
    return free and any(bond.state == "refunded" for bond in alice.bonds())


@pytest.mark.parametrize("story", [order, several])
async def test_ordering(story: Story) -> None:
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
            assert alice.wallet("ltc").balance().available == FUNDS - paid_fees(it, "alice")["ltc"]
            assert_nothing_signed_twice(it, "alice")
            if not failed:
                break
    assert cuts > 4, "the story has more operations than that"


def settled(it: World) -> bool:
    return all(swap.outcome for swap in it.traders["alice"].swaps())


@MOMENTS
async def test_a_match_and_its_acknowledgement(before: bool) -> None:
    """A match that was not acknowledged is revoked by the server; one that was is settled. No coin is lost."""
    cuts = 0
    while True:
        cuts += 1
        async with world() as it:
            alice, bob = await it.funded("alice", "bob")
            await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
            await it.close_epoch()
            await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE))
            it.fuses["alice"].light(cuts, before=before)
            closing = asyncio.ensure_future(it.server.close_epoch())
            await it.clock.advance(0.5)
            closing.cancel()
            if not it.fuses["alice"].burnt:
                break
            await it.restart("alice")
            (match,) = it.server.matches.values()
            acknowledged = all(match.addresses)
            if not acknowledged:
                await it.server.revoke(match)
            await it.settle(partial(settled, it))
            for swap in it.traders["alice"].swaps():
                assert swap.outcome == ("swapped" if acknowledged else "void")
                await assert_books(it, "alice", swap)
            if not it.traders["alice"].swaps():
                assert not acknowledged
                assert it.total("alice")["ltc"] == FUNDS
            assert_nothing_signed_twice(it, "alice")
    assert cuts > 3, "the story has more operations than that"
