"""A chain view tells what the chain shows, whatever happens to the chain and to the server in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.electrum.worlds import PATIENCE_S, Purse, World, eventually, point

from twinlock.chain.script import p2wsh
from twinlock.chain.terms import CoinPoint
from twinlock.electrum.errors import RejectedError, UnknownTransactionError
from twinlock.electrum.states import OutputStatus, ScriptState
from twinlock.electrum.view import ChainView

pytestmark = pytest.mark.anyio


@pytest.fixture
async def view(world: World) -> AsyncIterator[ChainView]:
    async with world.view() as view:
        yield view


async def at_tip(view: ChainView, world: World) -> None:
    """Wait until the view has heard of all blocks."""
    height = await world.height()
    await eventually(view.tip, lambda tip: tip.height == height)


async def heights(states: AsyncIterator[ScriptState], wanted: list[int | None]) -> None:
    """Wait for a state with these heights. A server may tell of the undone block before the mempool that it fills."""
    async with asyncio.timeout(PATIENCE_S):
        async for state in states:
            if [entry.height for entry in state.history] == wanted:
                return


async def funded(view: ChainView, world: World, purse: Purse, value: int) -> CoinPoint:
    """A confirmed coin of the purse."""
    txid = await world.pay(purse.script, value)
    await world.mine()
    await at_tip(view, world)
    (coin,) = await eventually(lambda: view.unspent(purse.script), lambda coins: [c for c in coins if c.height] != [])
    assert coin.point.txid == txid
    return coin.point


async def test_the_tip_and_its_median_time_are_the_nodes(view: ChainView, world: World) -> None:
    await world.mine(3)
    await at_tip(view, world)
    assert await view.median_time_past() == await world.median_time()
    genesis = await view.header(0)
    assert genesis is not None
    assert genesis.hash_hex == world.coin.genesis_hash
    assert await view.header(await world.height() + 1) is None


async def test_each_new_tip_is_announced(view: ChainView, world: World) -> None:
    tips = view.subscribe_tip()
    first = await anext(tips)
    await world.mine()
    second = await anext(tips)
    assert second.height > first.height
    assert second.header[4:36][::-1].hex() == first.block_hash or second.height > first.height + 1


async def test_a_watched_script_goes_from_nothing_over_the_mempool_into_a_block(
    view: ChainView, world: World, purse: Purse
) -> None:
    states = view.watch(purse.script)
    assert (await anext(states)).history == ()
    txid = await world.pay(purse.script, 200_000)
    state = await anext(states)
    assert [(entry.txid, entry.height) for entry in state.history] == [(txid, None)]
    assert await view.confirmations(txid, purse.script) == 0
    await world.mine()
    state = await anext(states)
    assert [(entry.txid, entry.height) for entry in state.history] == [(txid, await world.height())]
    await world.mine(2)
    await at_tip(view, world)
    assert await view.confirmations(txid, purse.script) == 3


async def test_a_reorg_takes_a_confirmation_back_and_gives_it_again(
    view: ChainView, world: World, purse: Purse
) -> None:
    states = view.watch(purse.script)
    await anext(states)
    await world.pay(purse.script, 210_000)
    await anext(states)
    await world.mine(2)
    assert (await anext(states)).history[0].height == await world.height() - 1
    await world.undo(2)
    await heights(states, [None])
    await at_tip(view, world)
    await world.mine(3)
    await heights(states, [await world.height() - 2])


async def test_an_outputs_fate_is_told_from_funding_to_a_confirmed_spend(
    view: ChainView, world: World, purse: Purse, other: Purse
) -> None:
    assert await view.output(point("ab" * 32, 0)) is None
    coin = await funded(view, world, purse, 300_000)
    status = await view.output(coin)
    assert isinstance(status, OutputStatus)
    assert (status.value, status.confirmations, status.unspent, status.coinbase) == (300_000, 1, True, False)
    assert await view.output_status(coin, other.script) is None
    assert await view.output_status(CoinPoint(coin.tx_hash, coin.index + 7), purse.script) is None

    spend = purse.spend(coin, 300_000, other.script, 100_000)
    assert await view.broadcast(spend.raw) == spend.txid
    status = await eventually(lambda: view.output_status(coin, purse.script), lambda s: s is not None and not s.unspent)
    assert status is not None
    assert (status.spender, status.spender_height) == (spend.txid, None)
    await world.mine()
    await at_tip(view, world)
    status = await view.output(coin)
    assert status is not None
    assert (status.spender, status.spender_height) == (spend.txid, await world.height())


async def test_a_broadcast_may_be_repeated_before_and_after_it_is_mined(
    view: ChainView, world: World, purse: Purse, other: Purse
) -> None:
    coin = await funded(view, world, purse, 120_000)
    spend = purse.sweep(coin, 120_000, other.script)
    for _ in range(2):
        assert await view.broadcast(spend.raw) == spend.txid
    await eventually(lambda: view.script_history(other.script), lambda state: bool(state.history))
    await world.mine()
    await at_tip(view, world)
    assert await view.broadcast(spend.raw) == spend.txid
    assert await view.raw_transaction(spend.txid) == spend.raw
    assert (await view.transaction(spend.txid)).txid == spend.txid
    assert [unspent.value for unspent in await view.unspent(other.script)] == [120_000 - spend.fee]


async def test_a_refused_broadcast_says_why(view: ChainView, world: World, purse: Purse, other: Purse) -> None:
    coin = await funded(view, world, purse, 130_000)
    with pytest.raises(RejectedError) as cheap:
        await view.broadcast(purse.sweep(coin, 130_000, other.script, fee_rate=0).raw)
    assert cheap.value.reason == "fee_too_low"
    await view.broadcast(purse.sweep(coin, 130_000, other.script).raw)
    with pytest.raises(RejectedError) as twice:
        await view.broadcast(purse.spend(coin, 130_000, other.script, 50_000).raw)
    assert twice.value.reason in ("spent", "fee_too_low")
    with pytest.raises(UnknownTransactionError):
        await view.transaction("cd" * 32)


async def test_what_happened_while_the_server_was_gone_is_told_when_it_is_back(
    view: ChainView, world: World, purse: Purse
) -> None:
    states = view.watch(purse.script)
    assert (await anext(states)).history == ()
    txid = await world.pay(purse.script, 250_000)
    await world.mine()
    await world.restart()
    await world.mine()
    await heights(states, [await world.height() - 1])
    await at_tip(view, world)
    assert await view.confirmations(txid, purse.script) == 2


async def test_a_fee_rate_is_always_there_and_within_bounds(view: ChainView, world: World) -> None:
    for target in (0, 2, 5000):
        assert 1 <= await view.fee_rate(target) <= world.coin.max_fee_rate


async def test_a_script_nobody_ever_paid_has_no_history(view: ChainView) -> None:
    script = p2wsh(b"nobody")
    assert (await view.script_history(script)).history == ()
    assert await view.unspent(script) == ()
    assert await view.confirmations("ef" * 32, script) is None
