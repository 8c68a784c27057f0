"""What somebody who listens to everything hears of one epoch, in which order (protocol section 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.jump_clock import JumpClock
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.messages.book import SnapshotSubscription
from twinlock.protocol.messages.orders import OrderResult
from twinlock.protocol.orders import Side, commit
from twinlock.protocol.shuffle import shuffle

pytestmark = pytest.mark.anyio

EPOCH_MS = 10_000


@pytest.fixture
def clock() -> JumpClock:
    return JumpClock()


@pytest.fixture
async def slow(tmp_path: Path, clock: JumpClock, anyio_backend: str) -> AsyncIterator[Exchange]:
    """An exchange whose epochs end when a test says so."""
    exchange = Exchange(tmp_path)
    exchange.clock, exchange.epoch_ms = clock, EPOCH_MS
    await exchange.start()
    yield exchange
    await exchange.close()


def begin_epoch(clock: JumpClock) -> None:
    """To the first moments of the next epoch."""
    clock.jump((EPOCH_MS - clock.now_ms() % EPOCH_MS) / 1000)


async def test_the_notes_of_an_epoch_come_in_their_order(slow: Exchange, clock: JumpClock) -> None:
    maker, taker = await slow.trader(tiers=8), await slow.trader(tiers=8)

    async def place(trader: Trader, side: Side, lots: int, rate: int) -> OrderResult:
        asset = LTC if side is Side.SELL else BTC
        funds = slow.chains[asset].fund(trader.new_key(), 10 * LOT)
        return await trader.place(trader.limit_order(MARKET, side, lots * LOT, rate, funds))

    begin_epoch(clock)
    for lots, rate in ((1, RATE), (2, RATE + 100)):
        await place(maker, Side.SELL, lots, rate)
    begin_epoch(clock)
    await until(lambda: len(slow.running.manager.markets["ltc_btc"].book) == 2)
    await maker.ask(routes.ORDERBOOK, routes.ORDERBOOK.payload(base=LTC, quote=BTC))
    await maker.ask(routes.PRICE_FEED, None)
    await maker.ask(routes.SUBSCRIBE_MM_SNAPSHOTS, SnapshotSubscription(market="ltc_btc"))
    maker.heard.clear()

    # The first sell is filled, the second one in part; the maker's own buy rests below.
    await place(taker, Side.BUY, 2, RATE + 100)
    resting = await place(maker, Side.BUY, 1, RATE - 100)
    begin_epoch(clock)
    await maker.note(routes.MATCH)
    assert [route for route in maker.heard if route != routes.PREIMAGE.name] == [
        *(routes.EPOCH_ORDER.name, routes.EPOCH_ORDER.name),
        *(routes.MATCH_PROOF.name, routes.BOOK_ORDER.name, routes.UPDATE_REMAINING.name, routes.UNBOOK_ORDER.name),
        *(routes.NOMATCH.name, routes.EPOCH_REPORT.name, routes.PRICE_UPDATE.name, routes.MM_EPOCH_SNAPSHOT.name),
        routes.MATCH.name,
    ]
    assert maker.notes[routes.NOMATCH.name][-1].order_id == resting.order_id
    # The published preimages are in the order in which the orders were matched, which follows from them alone.
    [proof] = maker.notes[routes.MATCH_PROOF.name]
    entered = {bytes(note.commitment): bytes(note.order_id) for note in maker.notes[routes.EPOCH_ORDER.name]}
    revealed = {entered[commit(preimage)]: bytes(preimage) for preimage in proof.preimages}
    assert [revealed[order_id] for order_id in shuffle(revealed).order_ids] == proof.preimages
