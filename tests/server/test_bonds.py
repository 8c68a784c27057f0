"""Bonds: waiting, repeating, expiring (protocol sections 4.5, 4.6)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.server.conftest import BOND, BTC, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.jump_clock import JumpClock

from twinlock.chain.families import family_of
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import BOND_POLL_MS
from twinlock.protocol.orders import Side
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.signing import check
from twinlock.seams import SystemClock
from twinlock.server.db.accounts import Point

pytestmark = pytest.mark.anyio

REGTEST_EXPIRY_S = 240


def now_s() -> int:
    return SystemClock().now_ms() // 1000


async def test_a_bond_waits_for_its_confirmation_and_says_so_when_asked_again(
    tmp_path: Path, anyio_backend: str
) -> None:
    exchange = Exchange(tmp_path)
    exchange.clock = clock = JumpClock()
    await exchange.start()
    trader = await exchange.guest()
    chain = exchange.chains[BTC]
    payment = trader.bond_payment(BTC, BOND, now_s() + 86_400)
    coin_id = family_of(chain.coin).coin_id(chain.send(payment), 0)
    waiting = asyncio.create_task(trader.post_bond(BTC, coin_id))
    await until(lambda: exchange.running.manager.bonds.confirming == 1)
    with pytest.raises(RpcError) as caught:
        await trader.post_bond(BTC, coin_id)
    assert caught.value.rpc_code == ErrorCode.BOND_CONFIRMING
    chain.mine()
    clock.jump(BOND_POLL_MS / 1000)
    result = await waiting
    assert (result.strength, result.bond_id, result.amount) == (1, coin_id, BOND)
    assert check(exchange.running.key.public, result.signed_bytes(), result.sig)
    again = await trader.post_bond(BTC, coin_id)
    assert again.reputation.bonded_tier == 1
    await exchange.close()


async def test_a_bond_belongs_to_the_account_it_commits_to(exchange: Exchange) -> None:
    owner, thief = await exchange.trader(), await exchange.guest()
    account = exchange.running.manager.accounts.get(owner.account)
    assert account is not None
    [(_, coin_id)] = account.bonds
    with pytest.raises(RpcError) as caught:
        await thief.post_bond(BTC, coin_id)
    assert caught.value.rpc_code == ErrorCode.BOND


async def test_a_spent_bond_is_refused(exchange: Exchange) -> None:
    trader = await exchange.guest()
    chain = exchange.chains[BTC]
    funds = chain.spend(chain.fund(trader.new_key(), BOND), trader.new_key())
    chain.spend(funds, trader.new_key())
    with pytest.raises(RpcError) as caught:
        await trader.post_bond(BTC, family_of(chain.coin).coin_id(funds.point.txid, 0))
    assert caught.value.rpc_code == ErrorCode.BOND


async def test_an_expired_bond_takes_the_tier_and_no_order_with_it(tmp_path: Path, anyio_backend: str) -> None:
    exchange = Exchange(tmp_path)
    exchange.clock = clock = JumpClock()
    await exchange.start()
    trader = await exchange.guest()
    chain = exchange.chains[BTC]
    lock_time = clock.now_ms() // 1000 + REGTEST_EXPIRY_S + 5
    payment = trader.bond_payment(BTC, BOND, lock_time)
    coin_id = family_of(chain.coin).coin_id(chain.send(payment), 0)
    chain.mine()
    await trader.post_bond(BTC, coin_id)
    await trader.connect()
    funds = [exchange.chains[LTC].fund(trader.new_key(), 3 * LOT) for _ in range(2)]
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds[0]))
    await trader.booked(receipt.order_id, MARKET)
    clock.jump(6)
    await exchange.running.manager.bonds.sweep()
    expired = await trader.note(routes.BONDEXPIRED)
    assert (expired.coin_id, expired.tier, expired.reputation.bonded_tier) == (coin_id, 0, 0)
    assert check(exchange.running.key.public, expired.signed_bytes(), expired.sig)
    again = await trader.connect()
    assert (again.active_bonds, [order.id for order in again.active_orders]) == ([], [receipt.order_id])
    with pytest.raises(RpcError) as caught:
        await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds[1]))
    assert caught.value.rpc_code == ErrorCode.ACCOUNT_CLOSED
    # A bond that ran out is no offence.
    assert not trader.notes[routes.TIERCHANGE.name] + trader.notes[routes.PENALTY.name]
    # What it leaves on the book binds it: an offence that costs a tier takes it off, as it would with a bond.
    manager = exchange.running.manager
    points = [Point(account_id=trader.account, outcome=Outcome.NO_SWAP_AS_TAKER, link=bytes(32), stamp=1)] * 2
    manager.reputations.take_effect(points)
    assert (await trader.note(routes.REVOKE_ORDER)).order_id == receipt.order_id
    assert (await trader.note(routes.TIERCHANGE)).tier == -1
    await exchange.close()
