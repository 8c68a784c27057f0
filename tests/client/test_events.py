"""The stream of events: everybody hears everything from the moment of subscribing, and nobody slows the trader."""

from __future__ import annotations

import msgspec
import pytest

from twinlock.client.events import BondChanged, EventStream, Notice, SwapEnded, TierChanged, until

pytestmark = pytest.mark.anyio


def notice(text: str) -> Notice:
    return Notice(text=text)


async def test_everybody_hears_what_came_after_the_subscription() -> None:
    stream = EventStream()
    stream.emit(notice("before"))
    first, second = stream.subscribe(), stream.subscribe()
    stream.emit(notice("one"))
    stream.emit(notice("two"))
    for subscription in (first, second):
        assert [await anext(subscription), await anext(subscription)] == [notice("one"), notice("two")]


async def test_who_lags_loses_the_oldest() -> None:
    stream = EventStream(limit=2)
    lagging = stream.subscribe()
    for text in "abc":
        stream.emit(notice(text))
    assert [await anext(lagging), await anext(lagging)] == [notice("b"), notice("c")]


async def test_until_finds_the_event_that_is_wanted_and_ends_its_subscription() -> None:
    stream = EventStream()
    events = stream.subscribe()
    stream.emit(TierChanged(tier=0, score=0))
    stream.emit(notice("x"))
    stream.emit(TierChanged(tier=1, score=0))
    assert await until(events, TierChanged, tier=1) == TierChanged(tier=1, score=0)
    assert not stream._queues


def test_events_carry_their_name_as_a_tag() -> None:
    bond = BondChanged(asset="btc", coin="c:0", amount=1, state="signed", host="h", at=5)
    assert msgspec.json.decode(msgspec.json.encode(bond))["event"] == "bond_changed"
    union = BondChanged | SwapEnded | Notice
    assert msgspec.json.decode(msgspec.json.encode(bond), type=union) == bond
