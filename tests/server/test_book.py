"""The public book: what a subscriber is told first is the book as it stands, whatever was asked for before."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.test_market_core import TERMS, random_log

from twinlock.protocol.messages.book import OrderBook
from twinlock.protocol.wire import decode, encode
from twinlock.server.book import BookManager
from twinlock.server.market.core import MarketCore, Processed, Unbook


def told(public: BookManager) -> list[Any]:
    """The orders of a snapshot as its receiver reads them, without the numbers of their notes."""
    orders = decode(encode(public.snapshot(1, 2, 3)), OrderBook).orders
    return [msgspec.structs.replace(order, seq=0) for order in orders]


def agree(public: BookManager, core: MarketCore) -> None:
    """What was asked for before changes nothing."""
    fresh = BookManager(TERMS.name, core.book)
    assert told(public) == told(fresh)
    for levels in (0, 1, 2):
        assert public.depth(levels) == fresh.depth(levels)


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_snapshots_and_levels_follow_every_change(seed: int, pause: int) -> None:
    core = MarketCore(TERMS)
    public = BookManager(TERMS.name, core.book)
    for event in random_log(seed, 12):
        output = core.apply(event)
        if isinstance(output, Processed):
            public.matched(output.matched, output.match_time)
            if output.epoch % pause == 0:
                agree(public, core)
    for order in list(core.book):
        core.apply(Unbook((order.id,)))
        public.unbooked((order.id,))
        agree(public, core)


def test_a_book_that_a_suspension_emptied_is_empty() -> None:
    core = MarketCore(TERMS)
    public = BookManager(TERMS.name, core.book)
    for event in random_log(7, 12):
        output = core.apply(event)
        if isinstance(output, Processed):
            public.matched(output.matched, output.match_time)
    assert told(public)
    core.apply(Unbook(tuple(order.id for order in core.book)))
    public.suspended(13, persist=False)
    assert (told(public), public.depth()) == ([], ([], []))
