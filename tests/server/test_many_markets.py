"""Three coins on three markets at once, one of them from a package of its own, and blocks that concern nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.memory_chain import MemoryChain
from tests.server.settlement import settle

from twinlock.chain.coins import Network, coin
from twinlock.protocol import routes
from twinlock.protocol.messages.status import MatchStatusRequest
from twinlock.protocol.wire import Hex
from twinlock.server.config import Config, MarketSection

pytestmark = pytest.mark.anyio

SMPL = coin("smpl", Network.REGTEST).asset_id
MARKETS = (MARKET, (SMPL, BTC), (SMPL, LTC))


class Three(Exchange):
    """Bitcoin, Litecoin and Samplecoin, each pair of them a market."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.chains[SMPL] = MemoryChain(coin("smpl", Network.REGTEST))

    def config(self) -> Config:
        config = super().config()
        btc, ltc = config.assets
        [first] = config.markets
        terms = {"lot_size": LOT, "rate_step": first.rate_step, "epoch_ms": first.epoch_ms}
        more = [MarketSection(base="smpl", quote=quote, **terms) for quote in ("btc", "ltc")]
        return replace(config, assets=(btc, ltc, replace(ltc, symbol="smpl")), markets=(first, *more))


@pytest.fixture
async def three(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Three]:
    exchange = Three(tmp_path)
    await exchange.start()
    yield exchange
    await exchange.close()


async def test_swaps_on_all_markets_settle_side_by_side(three: Three) -> None:
    """The same two traders, makers on one market and takers on another, while every chain grows."""
    one, other = await three.trader(tiers=6), await three.trader(tiers=6)

    def unrelated() -> None:
        for chain in three.chains.values():
            chain.mine()

    with structlog.testing.capture_logs() as logs:
        matches = await asyncio.gather(
            settle(three, one, other, MARKETS[0], between=unrelated),
            settle(three, other, one, MARKETS[1], between=unrelated),
            settle(three, one, other, MARKETS[2], between=unrelated),
        )
    asked = [
        MatchStatusRequest(base=base, quote=quote, match_id=Hex(match_id))
        for (base, quote), match_id in zip(MARKETS, matches, strict=True)
    ]
    assert [found.status for found in await one.ask(routes.MATCH_STATUS, asked)] == [4, 4, 4]
    assert [(await trader.connect()).score for trader in (one, other)] == [3, 3]
    assert len(three.running.manager.executor) == 0
    assert all(not market.services.locks[asset].coins() for market in three.running.data.markets() for asset in MARKET)
    for match_id in matches:
        told = [entry["event"] for entry in logs if entry.get("match") == match_id.hex()]
        assert told == [
            *("match made", "contract accepted", "contract accepted"),
            *("redemption accepted", "redemption accepted", "match complete"),
        ]


async def test_a_trade_with_oneself_settles_and_counts_for_nothing(three: Three) -> None:
    trader = await three.trader(tiers=4)
    await settle(three, trader, trader, MARKET)
    assert (await trader.connect()).score == 0
    [price] = [spot for spot in three.running.data.spots() if (spot.base, spot.quote) == MARKET]
    assert (price.rate, price.vol24) == (RATE, LOT)  # it is a trade like any other for everybody else


async def test_prices_and_subscriptions_are_each_markets_own(three: Three) -> None:
    watcher = await three.guest()
    prices = await watcher.ask(routes.PRICE_FEED, None)
    assert list(prices) == ["ltc_btc", "smpl_btc", "smpl_ltc"]
    maker, taker = await three.trader(), await three.trader()
    await settle(three, maker, taker, MARKETS[1])
    update = await watcher.note(routes.PRICE_UPDATE, lambda note: note.vol24 > 0)
    assert (update.base, update.quote, update.rate) == (SMPL, BTC, RATE)
    assert not watcher.notes[routes.BOOK_ORDER.name]
