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
from tests.client.cuts import every_cut
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
async def test_a_swap(name: str) -> None:
    async with world() as it:
        await it.funded("alice", "bob")
        await it.matched()
        with every_cut(it, name) as cuts:
            await pass_rounds(it, name, 12)
            await it.restart(name)
            await assert_swapped(it)
            assert_nothing_signed_twice(it, name)
    assert cuts.made > 20, "the story has more moments than that"


async def pass_rounds(it: World, name: str, rounds: int, seconds: float = 3) -> None:
    """Let time pass and blocks be mined, until the power goes or so many rounds are over."""
    for _ in range(rounds):
        await it.clock.advance(seconds)
        await it.mine()
        if it.fuses[name].burnt:
            return


@ROLES
async def test_a_match_that_is_revoked_meanwhile(name: str) -> None:
    """Whatever was signed or funded by then, its coins are free again in the end."""
    async with world() as it:
        await it.funded("alice", "bob")
        await it.matched()
        (match,) = it.server.matches.values()
        with every_cut(it, name) as cuts:
            for _ in range(12):
                await it.clock.advance(3)
                if it.fuses[name].burnt or mined(it, name):
                    break
                await it.mine()
            assert it.fuses[name].burnt or mined(it, name), "its contract is never in a block"
            await it.server.revoke(match)
            await it.restart(name)
            for party in (Party.TAKER, Party.MAKER):
                await it.clock.advance(5)
                await it.mine()
                await it.pass_locks(it.swap(name).swap.terms.locks[party])
            await it.settle(lambda: all(it.swap(who).outcome for who in ("alice", "bob")))
            for who in ("alice", "bob"):
                assert it.swap(who).outcome in ("swapped", "refunded", "void")
                await assert_books(it, who, it.swap(who))
                assert_nothing_signed_twice(it, who)
                locked = {symbol: it.traders[who].wallet(symbol).balance().locked for symbol in ("ltc", "btc")}
                assert locked == {"ltc": 0, "btc": 0}
    assert cuts.made > 8, "the story has more moments than that"


@ROLES
async def test_a_refund(name: str) -> None:
    """The other one disappears once our contract is made; the plug is pulled anywhere from there to the refund."""
    party = Party.MAKER if name == "alice" else Party.TAKER
    async with world() as it:
        await it.funded("alice", "bob")
        await it.matched()
        await left_alone(it, name)
        lock = it.swap(name).swap.terms.locks[party]
        with every_cut(it, name) as cuts:
            await it.pass_locks(lock)
            for _ in range(6):
                await it.clock.advance(3)
                await it.mine()
                if it.fuses[name].burnt or it.swap(name).outcome:
                    break
            await it.restart(name)
            await it.settle(lambda: bool(it.swap(name).outcome))
            assert it.swap(name).outcome == "refunded"
            await assert_books(it, name, it.swap(name))
            assert_nothing_signed_twice(it, name)
    assert cuts.made > 8, "the story has more moments than that"


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


async def tell(it: World, story: Story) -> None:
    """The story, cut anywhere, and some time after the restart."""
    task = asyncio.ensure_future(story(it, it.traders["alice"]))
    with suppress(TwinlockError, TimeoutError):
        await it.call(task)
    for _ in range(2):
        await it.clock.advance(2)
        await it.mine()
    task.cancel()
    await it.restart("alice")
    for _ in range(3):
        await it.clock.advance(6)
        await it.mine()


async def test_bonding() -> None:
    async with world() as it:
        await it.funded("alice")
        with every_cut(it, "alice") as cuts:
            await tell(it, register)
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
    assert cuts.made > 8, "the story has more moments than that"


async def test_a_bonds_refund() -> None:
    async with world() as it:
        await it.funded("alice")
        (bond,) = it.traders["alice"].bonds()
        with every_cut(it, "alice") as cuts:
            await it.pass_locks(bond.lock_time)
            await pass_rounds(it, "alice", 4, seconds=30)
            await it.restart("alice")
            await it.settle(lambda: refunded(it))
            balance = it.traders["alice"].wallet("btc").balance()
            assert balance.total == FUNDS - paid_fees(it, "alice")["btc"]
            assert_nothing_signed_twice(it, "alice")
    assert cuts.made > 8, "the story has more moments than that"


def refunded(it: World) -> bool:
    """The oldest bond is back, and all that is in no bond is free; another bond may have followed it."""
    alice = it.traders["alice"]
    balance = alice.wallet("btc").balance()
    free = balance.available == balance.total - balance.bonded
    return free and any(bond.state == "refunded" for bond in alice.bonds())


@pytest.mark.parametrize("story", [order, several])
async def test_ordering(story: Story) -> None:
    async with world() as it:
        await it.funded("alice")
        with every_cut(it, "alice") as cuts:
            await tell(it, story)
            alice = it.traders["alice"]
            await it.close_epoch()
            assert {each.status for each in alice.orders()} <= {"booked", "failed"}
            booked = [each for each in alice.orders() if each.status == "booked"]
            assert {each.order_id for each in booked} == {each.id for each in it.server.book}
            for each in booked:
                await it.call(alice.cancel(each.order_id))
            await it.close_epoch()
            await it.until(lambda: alice.wallet("ltc").balance().locked == 0)
            assert alice.wallet("ltc").balance().available == FUNDS - paid_fees(it, "alice")["ltc"]
            assert_nothing_signed_twice(it, "alice")
    assert cuts.made > 5, "the story has more moments than that"


def settled(it: World) -> bool:
    return all(swap.outcome for swap in it.traders["alice"].swaps())


async def test_a_match_and_its_acknowledgement() -> None:
    """A match that was not acknowledged is revoked by the server; one that was is settled. No coin is lost."""
    async with world() as it:
        alice, bob = await it.funded("alice", "bob")
        await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
        await it.close_epoch()
        await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE))
        with every_cut(it, "alice") as cuts:
            closing = asyncio.ensure_future(it.server.close_epoch())
            await it.clock.advance(0.5)
            closing.cancel()
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
    assert cuts.made > 6, "the story has more moments than that"
