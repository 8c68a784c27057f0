"""The same seed in two clients at once: they get in each other's way, and no coin is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.client.recovery.test_rescue import FEES, PRICE, QUANTITY, Losing, losing
from tests.client.test_settlement import reached
from tests.client.world import Fuse, FusedStore

from twinlock.client.events import Disconnected
from twinlock.client.recovery.rescue import prepare
from twinlock.client.seed import Phrase
from twinlock.client.store.records import SwapRecord
from twinlock.protocol.swap import Party

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Losing]:
    async with losing(tmp_path) as it:
        yield it


async def start_twin(it: Losing, name: str, *, with_file: bool) -> str:
    """Another client with the same words, beside the first."""
    twin = f"twin of {name}"
    it.fuses[twin] = Fuse()
    store = it.stores[twin] = FusedStore(it.fuses[twin])
    it._starting = twin
    prepare(store, it.config(), Phrase(it.words(name)), it.file(name) if with_file else None)
    await it.start(twin)
    return twin


@pytest.mark.parametrize("with_file", [True, False])
@pytest.mark.parametrize(
    ("name", "step"),
    [("alice", ""), ("bob", ""), ("alice", "swap_accepted"), ("bob", "swap_sent"), ("alice", "redeemed")],
)
async def test_one_match_is_paid_for_once(it: Losing, name: str, step: str, with_file: bool) -> None:
    before = {who: it.total(who) for who in ("alice", "bob")}
    await it.matched()
    if step:
        await it.settle(lambda: reached(it, name, step))
    await start_twin(it, name, with_file=with_file)
    await it.settle(lambda: bool(it.swap("alice").outcome and it.swap("bob").outcome), rounds=400)
    await it.mine(3)
    await it.clock.advance(10)
    for asset, value in ((2, QUANTITY), (0, PRICE)):
        contracts = [tx for block in it.chains[asset].blocks for tx in block if tx.outputs[0].value == value]
        assert len(contracts) <= 1
    outcomes = {it.swap(who).outcome for who in before}
    for who in before:
        sign = -1 if who == "alice" else 1
        gain = {symbol: it.total(who)[symbol] - before[who][symbol] for symbol in ("ltc", "btc")}
        if outcomes == {"swapped"}:
            assert 0 <= sign * QUANTITY - gain["ltc"] < FEES
            assert 0 <= -sign * PRICE - gain["btc"] < FEES
        else:
            assert all(-FEES < change <= 0 for change in gain.values())


async def test_they_are_told_of_each_other(it: Losing) -> None:
    twin = await start_twin(it, "alice", with_file=False)
    for _ in range(120):
        await it.clock.advance(5)
    for name in ("alice", twin):
        reasons = [event.reason for event in it.events[name] if isinstance(event, Disconnected)]
        assert any("session.shared" in reason for reason in reasons)
    # They do not drive each other out all the time.
    lost = [event for event in it.events["alice"] if isinstance(event, Disconnected)]
    assert len(lost) < 60


async def test_who_was_away_while_the_other_finished_learns_how_it_ended(it: Losing) -> None:
    """The one who comes back has never seen the contract that the other redeemed; the server no longer lists it."""
    await it.matched()
    await it.until(lambda: reached(it, "alice", "swap_accepted"))  # before a block, so that it is not answered yet
    asleep = it.copy("alice")
    [swap] = asleep.all(SwapRecord)
    assert [swap.swap.legs[party].known for party in Party] == [True, False]
    await it.settle(lambda: bool(it.swap("alice").outcome and it.swap("bob").outcome), rounds=400)
    await it.crash("alice")
    it.file("alice").unlink()
    it.stores["alice"] = asleep
    await it.start("alice")
    await it.settle(lambda: bool(it.swap("alice").outcome), rounds=200)
    assert it.swap("alice").outcome == "swapped"
