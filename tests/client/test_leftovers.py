"""The owner of a cold wallet is told once what a swap left in its hot part, when all of it is free."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from twinlock.chain.coins import coin
from twinlock.client.events import Event, EventStream, Notice, SwapEnded, WalletChanged
from twinlock.client.leftovers import Leftovers
from twinlock.client.wallet.types import Balance
from twinlock.seams import VirtualClock

pytestmark = pytest.mark.anyio

ENDED = SwapEnded(at=0, match_id="ab", role="maker", outcome="swapped")
CHANGED = WalletChanged(at=0, asset="btc", available=0, locked=0, unconfirmed=0)


class Shown:
    """A wallet that holds what the test says."""

    now = Balance()

    def balance(self) -> Balance:
        return self.now


async def told(*moments: tuple[Event, Balance]) -> list[str]:
    """What is told when these events come, the wallet holding this at each."""
    stream, clock, wallet = EventStream(), VirtualClock(), Shown()
    found: list[Event] = []
    side: Any = SimpleNamespace(coin=coin("btc", "regtest"), wallet=wallet)
    watching = asyncio.create_task(Leftovers([side], clock, found.append).run(stream.subscribe()))
    for event, wallet.now in moments:
        stream.emit(event)
        await clock.advance(0)
    watching.cancel()
    return [event.text for event in found if isinstance(event, Notice)]


async def test_once_when_everything_is_free() -> None:
    (text,) = await told(
        (CHANGED, Balance(available=9)),
        (ENDED, Balance(available=5, locked=4)),
        (CHANGED, Balance(available=5, in_swap=4)),
        (CHANGED, Balance(available=150_000, outside=70)),
        (CHANGED, Balance(available=150_001)),
    )
    assert text.startswith("0.0015 ") and text.endswith("`twinlock client wallet sweep btc`")


async def test_nothing_where_nothing_is_left() -> None:
    assert await told((ENDED, Balance(outside=5)), (CHANGED, Balance(outside=9))) == []
