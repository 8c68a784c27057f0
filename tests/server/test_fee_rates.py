"""The fee rate of an epoch: the chain's, or the last that was known, scaled, capped, and slow to rise (section 6.4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.conftest import BTC, LTC, MARKET, Exchange
from tests.server.jump_clock import JumpClock

from twinlock.protocol import routes
from twinlock.protocol.messages.book import BookSubscription

pytestmark = pytest.mark.anyio


async def test_a_chain_without_an_estimate_keeps_its_last_rate_and_none_means_the_most(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path)
    exchange.clock = clock = JumpClock()
    chain = exchange.chains[BTC]
    chain.mute = True
    try:
        await exchange.start()
        backend, guest = exchange.running.assets[BTC], await exchange.guest()
        assert await backend.refresh_fee_rate() == backend.terms.max_fee_rate == 10
        chain.mute, chain.rate = False, 4
        assert await backend.refresh_fee_rate() == 4
        chain.mute = True
        assert await backend.refresh_fee_rate() == 4
        chain.mute, chain.rate = False, 50
        assert await backend.refresh_fee_rate() == 4  # a rise waits for a minute
        for _ in range(5):
            await guest.ask(routes.CONFIG, None)
            clock.jump(15)
        assert await backend.refresh_fee_rate() == 10  # and ends at the most
        backend.set_fee_scale(0.1)
        assert await backend.refresh_fee_rate() == 5
        assert await guest.ask(routes.FEE_RATE, BTC) == 5
        book = await guest.ask(routes.ORDERBOOK, BookSubscription(base=MARKET[0], quote=MARKET[1]))
        assert (book.base_fee_rate, book.quote_fee_rate) == (exchange.running.assets[LTC].fee_rate, 5)
        chain.rate = 0
        backend.set_fee_scale(0.001)
        assert await backend.refresh_fee_rate() == 5  # none, so the last
        chain.rate = 1
        assert await backend.refresh_fee_rate() == 1  # never less
    finally:
        await exchange.close()
