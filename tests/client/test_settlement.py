"""Stories of settlement, told on simulated chains. Each ends with both wallets asserted to the atom."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from tests.client.fake_server import BTC, LTC, MARKET
from tests.client.world import FUNDS, RATE, SYMBOLS, World, world

from twinlock.chain.tx import Tx
from twinlock.client.events import SwapStep
from twinlock.client.store.records import SwapRecord
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.orders import Side, TimeInForce

pytestmark = pytest.mark.anyio

QUANTITY = 10_000_000
STEPS = (
    "contract_signed",
    "swap_sent",
    "swap_accepted",
    "swap_confirmed",
    "audited",
    "counterparty_swap_confirmed",
    "redeemed",
    "redeem_accepted",
)


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


def fee(it: World, asset: int, raw: bytes) -> int:
    """What a transaction paid, by the chain's own account of its inputs; nothing for one that never came to be."""
    chain = it.chains[asset]
    tx = Tx.parse(raw)
    paid = sum(chain.tx(txin.point.txid).outputs[txin.prev_index].value for txin in tx.inputs)
    return paid - tx.total_out


def bond_fees(it: World, name: str) -> int:
    """Bonds are renewed and refunded while the locks of a swap pass."""
    txs = [raw for bond in it.traders[name].bonds() for raw in (bond.raw_tx, bond.refund_tx) if raw]
    return sum(fee(it, BTC, raw) for raw in txs)


async def assert_books(it: World, name: str, record: SwapRecord) -> None:
    """The wallets hold what was funded, less what was paid and every fee, plus what was received; to the atom."""
    await it.mine(2)
    await it.clock.advance(5)
    symbols = {asset: SYMBOLS[asset] for asset in (record.own_asset, record.other_asset)}
    expected = dict.fromkeys(SYMBOLS.values(), FUNDS)
    expected["btc"] -= bond_fees(it, name)
    own, other = symbols[record.own_asset], symbols[record.other_asset]
    amounts = record.swap.terms.amounts
    if record.own_tx:
        expected[own] -= fee(it, record.own_asset, record.own_tx)
    if record.outcome == "swapped":
        expected[own] -= amounts[record.party]
        expected[other] += amounts[record.party.other] - fee(it, record.other_asset, record.redeem_tx)
    if record.outcome == "refunded":
        expected[own] -= fee(it, record.own_asset, record.refund_tx)
    assert it.total(name) == expected
    btc = it.traders[name].wallet("btc").balance()
    ltc = it.traders[name].wallet("ltc").balance()
    assert (btc.in_swap, ltc.locked, ltc.in_swap) == (0, 0, 0)


def reached(it: World, name: str, step: str) -> bool:
    return any(isinstance(event, SwapStep) and event.step == step for event in it.events.get(name, ()))


async def assert_swapped(it: World) -> None:
    await it.settle(lambda: all(it.swap(name).outcome for name in ("alice", "bob")))
    for name in ("alice", "bob"):
        assert it.swap(name).outcome == "swapped"
        await assert_books(it, name, it.swap(name))


@pytest.mark.parametrize("maker_sells", [True, False])
async def test_two_traders_swap(it: World, maker_sells: bool) -> None:
    maker, _ = await it.matched(maker_sells, QUANTITY)
    assert (maker.own_asset == LTC) == maker_sells
    await assert_swapped(it)


@pytest.mark.parametrize("name", ["alice", "bob"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_trader_killed_at_any_step_finishes_after_its_restart(it: World, name: str, step: str) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, name, step))
    await it.crash(name)
    await it.mine()
    await it.start(name)
    await assert_swapped(it)


async def test_the_taker_never_acts_and_the_maker_is_refunded(it: World) -> None:
    maker, _ = await it.matched()
    await it.crash("bob")
    await it.settle(lambda: reached(it, "alice", "swap_confirmed"))
    lock = maker.swap.terms.locks[maker.party]
    await it.pass_locks(lock - 100)
    assert not maker.refund_tx
    await it.pass_locks(lock)
    await it.settle(lambda: bool(maker.outcome))
    assert maker.outcome == "refunded"
    await assert_books(it, "alice", maker)


async def test_the_maker_disappears_after_the_takers_contract_and_both_are_refunded(it: World) -> None:
    maker, taker = await it.matched()
    await it.settle(lambda: reached(it, "bob", "contract_signed"))
    await it.crash("alice")
    await it.settle(lambda: reached(it, "bob", "swap_confirmed"))
    await it.pass_locks(taker.swap.terms.locks[taker.party])
    await it.settle(lambda: bool(taker.outcome))
    assert taker.outcome == "refunded"
    await assert_books(it, "bob", taker)
    await it.pass_locks(maker.swap.terms.locks[maker.party])
    await it.start("alice")
    await it.settle(lambda: bool(it.swap("alice").outcome))
    assert it.swap("alice").outcome == "refunded"
    await assert_books(it, "alice", it.swap("alice"))


@pytest.mark.parametrize("server_alive", [True, False])
async def test_the_maker_redeems_while_the_taker_sleeps(it: World, server_alive: bool) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "audited"))
    await it.crash("bob")
    await it.settle(lambda: reached(it, "alice", "redeem_accepted"))
    if not server_alive:
        it.server.down = True
        await it.server.hang_up()
    await it.mine(3)
    await it.start("bob")
    await assert_swapped(it)
    assert it.swap("bob").redeem_tx


async def test_a_taker_that_knows_more_than_the_server_waits_with_its_report_for_the_makers(it: World) -> None:
    it.server.bend = lambda route, payload: (
        replace(payload, broadcast_timeout_ms=12 * 60_000) if route == "config:result" else payload
    )
    await it.server.hang_up()
    await it.clock.advance(8)
    _, taker = await it.matched()
    it.server.refuse["redeem"] = RpcError(ErrorCode.TRY_AGAIN_LATER, "not now")
    await it.settle(lambda: reached(it, "alice", "redeemed"))
    await it.crash("alice")
    it.server.refuse.clear()
    await it.settle(lambda: reached(it, "bob", "redeemed"))

    def reports() -> int:
        return sum(report.order_id == taker.order_id for report in it.server.asked("redeem"))

    before = reports()
    await it.until(lambda: reports() > before)
    early = reports()
    for _ in range(30):
        await it.clock.advance(2)
    assert reports() == early
    assert not taker.closed

    await it.start("alice")
    await it.settle(lambda: taker.closed and it.swap("alice").closed)
    assert reports() == early + 1
    await assert_swapped(it)


async def test_the_server_dies_after_both_contracts_and_the_swap_completes(it: World) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "audited"))
    it.server.down = True
    await it.server.hang_up()
    await assert_swapped(it)


async def test_the_server_revokes_after_both_contracts_and_the_swap_completes(it: World) -> None:
    maker, _ = await it.matched()
    await it.settle(lambda: reached(it, "alice", "audited"))
    await it.server.revoke(it.server.matches[maker.match_id])
    await assert_swapped(it)


async def test_a_match_revoked_before_any_contract_costs_nothing(it: World) -> None:
    it.server.bend = lambda route, payload: None if route == "counterparty_address" else payload
    maker, taker = await it.matched()
    await it.server.revoke(it.server.matches[maker.match_id])
    await it.settle(lambda: maker.outcome == taker.outcome == "void")
    for name, record in (("alice", maker), ("bob", taker)):
        assert not record.own_tx
        await assert_books(it, name, record)


async def test_no_report_of_ours_is_lost_when_the_server_comes_and_goes(it: World) -> None:
    await it.matched()
    for _ in range(6):
        await it.server.hang_up()
        await it.clock.advance(6)
        await it.mine()
    await assert_swapped(it)


async def test_a_swap_that_is_over_for_us_is_not_begun_again_at_the_next_login(it: World) -> None:
    maker, _ = await it.matched()
    await it.settle(lambda: reached(it, "alice", "audited"))
    await it.crash("bob")
    await it.settle(lambda: maker.closed)
    sent = maker.redeem_tx
    await it.server.hang_up()
    await it.clock.advance(8)
    (again,) = it.traders["alice"].swaps()
    assert (again.redeem_tx, again.closed, again.outcome) == (sent, True, "swapped")
    await it.start("bob")
    await assert_swapped(it)


async def test_the_funding_coins_of_an_order_that_ends_unmatched_are_free_again(it: World) -> None:
    alice = it.traders["alice"]

    await it.call(alice.limit(MARKET, Side.SELL, QUANTITY, RATE, TimeInForce.IMMEDIATE))
    assert alice.wallet("ltc").balance().locked > 0
    await it.close_epoch()
    await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS)


async def test_a_trader_matched_with_its_own_order_settles_both_sides(it: World) -> None:
    alice = it.traders["alice"]
    before = it.total("alice")
    await it.call(alice.limit(MARKET, Side.SELL, QUANTITY, RATE))
    await it.close_epoch()
    await it.call(alice.limit(MARKET, Side.BUY, QUANTITY, RATE))
    await it.close_epoch()
    assert sorted(swap.role for swap in alice.swaps()) == ["maker", "taker"]
    await it.settle(lambda: all(swap.outcome == "swapped" for swap in alice.swaps()))
    await it.mine(2)
    await it.clock.advance(5)
    fees = {"ltc": 0, "btc": 0}
    for swap in alice.swaps():
        fees[SYMBOLS[swap.own_asset]] += fee(it, swap.own_asset, swap.own_tx)
        fees[SYMBOLS[swap.other_asset]] += fee(it, swap.other_asset, swap.redeem_tx)
    assert {symbol: before[symbol] - paid for symbol, paid in fees.items()} == it.total("alice")
