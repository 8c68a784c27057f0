"""The disk is gone in mid-swap; the words, the server and the chains bring everything back."""

from __future__ import annotations

import pytest
from tests.client.test_settlement import reached
from tests.client.world import World, world

pytestmark = pytest.mark.anyio


async def lose_disk(it: World, name: str) -> None:
    await it.stop(name)
    del it.stores[name]
    await it.start(name)
    await it.until(it.traders[name].venue().desk.session.ready.is_set)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("alice", "swap_accepted"),
        ("alice", "audited"),
        ("alice", "redeemed"),
        ("bob", "swap_accepted"),
        ("bob", "counterparty_redeemed"),
    ],
)
@pytest.mark.parametrize("maker_sells", [True, False])
async def test_a_swap_in_flight_completes_after_the_disk_is_gone(name: str, step: str, maker_sells: bool) -> None:
    async with world() as it:
        await it.funded("alice", "bob")
        before = {who: it.total(who) for who in ("alice", "bob")}
        await it.matched(maker_sells)
        await it.settle(lambda: reached(it, name, step))
        await lose_disk(it, name)
        if step in ("swap_accepted", "audited"):
            assert it.traders[name].swaps()
        await it.settle(lambda: all(swap.outcome for trader in it.traders.values() for swap in trader.swaps()))
        await it.mine(3)
        await it.clock.advance(10)
        for who in ("alice", "bob"):
            sells = maker_sells == (who == "alice")
            gain = {symbol: it.total(who)[symbol] - before[who][symbol] for symbol in ("ltc", "btc")}
            assert 0 <= (-10_000_000 if sells else 10_000_000) - gain["ltc"] < 3_000
            assert 0 <= (25_000 if sells else -25_000) - gain["btc"] < 3_000


async def test_a_contract_is_refunded_after_the_disk_is_gone() -> None:
    async with world() as it:
        await it.funded("alice", "bob")
        before = it.total("alice")
        maker, _ = await it.matched()
        await it.crash("bob")
        await it.settle(lambda: reached(it, "alice", "swap_accepted"))
        await lose_disk(it, "alice")
        await it.pass_locks(maker.swap.terms.locks[0])
        await it.settle(lambda: it.swap("alice").outcome == "refunded")
        await it.mine(2)
        await it.clock.advance(5)
        assert 0 < before["ltc"] - it.total("alice")["ltc"] < 3_000
