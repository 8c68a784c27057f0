"""The client's events become sentences, each told once."""

from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from twinlock.chain.coins import Network, coin
from twinlock.client.events import BondChanged, Event, EventStream, MatchMade, Notice, OrderChanged, SwapEnded, SwapStep
from twinlock.client.swapper.matches import STEPS as ALL_STEPS
from twinlock.client.trader import Trader
from twinlock.seams import VirtualClock
from twinlock.simnet.narrator import STEPS, Narrator
from twinlock.simnet.timeline import JsonTimeline

pytestmark = pytest.mark.anyio


async def tell(*events: Event, steps: bool = True) -> list[dict[str, Any]]:
    stream, out = EventStream(), io.StringIO()
    coins = {symbol: SimpleNamespace(coin=coin(symbol, Network.REGTEST)) for symbol in ("btc", "ltc")}
    trader = cast("Trader", SimpleNamespace(events=stream.subscribe, coins=coins))
    ended = asyncio.Event()
    narrator = Narrator("alice", trader, JsonTimeline(VirtualClock(), out), steps=steps, ended=lambda _: ended.set())
    task = asyncio.create_task(narrator.run())
    for event in (*events, SwapEnded(match_id="end", role="maker", outcome="swapped")):
        stream.emit(event)
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    task.cancel()
    return [json.loads(line) for line in out.getvalue().splitlines()][:-1]


def step(name: str, role: str = "maker", **members: Any) -> SwapStep:
    return SwapStep(
        match_id="ab", role=role, step=name, asset="ltc", coin="cd:0", amount=200_000_000, needed=2, **members
    )


async def test_numbers_are_in_the_facts_and_sentences_in_the_text() -> None:
    (bond,) = await tell(BondChanged(at=5, asset="btc", coin="ef:0", amount=1_000_000, state="broadcast"))
    assert bond["text"] == "posts a bond of 0.01000000 BTC: ef:0"
    assert (bond["event"], bond["who"], bond["amount"], bond["coin"]) == ("bond_changed", "alice", 1_000_000, "ef:0")


async def test_growing_confirmations_are_told_once() -> None:
    told = await tell(step("swap_confirmed", confirmations=1), step("swap_confirmed", confirmations=2))
    assert [row["text"] for row in told] == ["contract confirmed (1 of 2): cd:0"]


async def test_the_maker_reveals_the_secret_and_the_taker_reads_it() -> None:
    told = await tell(step("redeemed"), step("redeemed", "taker"))
    assert [row["text"] for row in told] == [
        "reveals the secret to redeem 2.00000000 LTC: cd:0",
        "reads the secret on the chain to redeem 2.00000000 LTC: cd:0",
    ]


async def test_an_order_shows_its_price() -> None:
    order = OrderChanged(
        order_id="07",
        market="ltc_btc",
        type="limit",
        side="sell",
        quantity=50_000_000,
        rate=150_000,
        filled=0,
        status="epoch",
    )
    (row,) = await tell(order)
    assert row["text"] == "sells 0.50000000 LTC at 0.00150000 BTC: order 07"


async def test_steps_can_be_left_out_but_matches_and_warnings_are_told() -> None:
    match = MatchMade(match_id="ab", order_id="07", market="ltc_btc", role="taker", side="buy", quantity=1, rate=1)
    told = await tell(step("swap_sent"), match, Notice(text="low on money", level="warning"), steps=False)
    assert [row["text"] for row in told] == ["is the taker of match ab", "low on money"]


def test_every_step_told_is_one_that_the_client_takes() -> None:
    assert set(STEPS) <= set(ALL_STEPS)
