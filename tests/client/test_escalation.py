"""Fees rise after a redemption or refund was sent, so that it is mined before its deadline; within a budget."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from tests.client.fake_server import BTC, LTC
from tests.client.test_settlement import assert_books, reached
from tests.client.world import World, world

from twinlock.chain.families import family_of
from twinlock.chain.tx import Tx
from twinlock.client.store.records import SwapRecord
from twinlock.client.swapper.escalation import STEPS, urgency

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


def spike(it: World, asset: int, rate: int) -> None:
    """The servers now estimate so many atoms per vbyte."""
    it.electrum[asset].fee_rate = f"{rate / 100_000:.8f}"


def rate_of(it: World, asset: int, record: SwapRecord) -> int:
    return family_of(it.chains[asset].coin).fee_rate(record.redeem_tx, record.their_value)


async def redeemed(it: World, quantity: int = 80_000_000, *, maker_sells: bool = True) -> SwapRecord:
    """Alice's redemption waits in the mempool."""
    await it.matched(maker_sells, quantity)
    alice = it.swap("alice")
    for _ in range(30):
        await it.clock.advance(5)
        if alice.redeem_tx:
            break
        await it.mine()
    assert Tx.parse(alice.redeem_tx).txid in it.chains[alice.other_asset].mempool
    return alice


def test_the_nearer_the_deadline_the_more_is_paid() -> None:
    steps = [urgency(left, 8000) for left in (8000, 4000, 3999, 2000, 1000, 999, 0, -10)]
    assert steps == [STEPS[0], STEPS[0], STEPS[1], STEPS[1], STEPS[2], STEPS[3], STEPS[3], STEPS[3]]
    for early, late in pairwise(STEPS):
        assert early.target > late.target
        assert early.percent < late.percent
        assert early.budget < late.budget < 100


async def test_a_redemption_is_replaced_by_a_better_paid_one_and_the_swap_ends_well(it: World) -> None:
    alice = await redeemed(it)
    assert alice.other_asset == BTC
    first = alice.redeem_tx
    spike(it, BTC, 25)
    await it.until(lambda: alice.redeem_tx != first)
    await it.clock.advance(40)
    assert rate_of(it, BTC, alice) >= 25
    assert Tx.parse(first).txid not in it.chains[BTC].mempool
    assert list(it.chains[BTC].mempool) == [Tx.parse(alice.redeem_tx).txid]
    await it.settle(lambda: all(it.swap(name).outcome for name in ("alice", "bob")))
    for name in ("alice", "bob"):
        assert it.swap(name).outcome == "swapped"
        await assert_books(it, name, it.swap(name))


async def test_a_budget_bounds_what_a_spike_can_cost(it: World) -> None:
    alice = await redeemed(it, quantity=10_000_000)
    spike(it, BTC, 900)
    await it.clock.advance(120)
    fee = alice.their_value - sum(out.value for out in Tx.parse(alice.redeem_tx).outputs)
    assert fee <= alice.their_value * max(step.budget for step in STEPS) // 100
    await it.settle(lambda: bool(alice.outcome))
    assert alice.outcome == "swapped"


async def test_where_nodes_replace_nothing_a_child_pays_for_it(it: World) -> None:
    alice = await redeemed(it, maker_sells=False)
    assert alice.other_asset == LTC
    first, chain = Tx.parse(alice.redeem_tx), it.chains[LTC]
    before = it.total("alice")["ltc"]
    spike(it, LTC, 40)
    await it.until(lambda: len(chain.mempool) == 2)
    await it.clock.advance(60)
    (child,) = [tx for txid, tx in chain.mempool.items() if txid != first.txid]
    assert Tx.parse(alice.redeem_tx) == first
    fee_of_both = alice.their_value - child.total_out
    assert fee_of_both >= 40 * (first.vsize + child.vsize)
    await it.mine(2)
    await it.until(lambda: it.total("alice")["ltc"] == before - (first.total_out - child.total_out))
    await it.settle(lambda: bool(alice.outcome))
    assert alice.outcome == "swapped"


async def test_a_refund_that_waits_is_raised_too(it: World) -> None:
    await it.matched(maker_sells=False)
    await it.crash("bob")
    await it.settle(lambda: reached(it, "alice", "swap_confirmed"))
    alice = it.swap("alice")
    assert alice.own_asset == BTC
    await it.pass_locks(alice.swap.terms.locks[alice.party])
    await it.until(lambda: bool(alice.refund_tx))
    first = alice.refund_tx
    spike(it, BTC, 30)
    await it.until(lambda: alice.refund_tx != first)
    await it.settle(lambda: bool(alice.outcome))
    assert alice.outcome == "refunded"
    await assert_books(it, "alice", alice)
