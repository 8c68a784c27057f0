"""A package of its own adds a coin through the entry point, and the server trades it; our tree knows nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, RATE, Exchange
from tests.server.memory_chain import MemoryChain

from twinlock.chain.coins import COINS, Network, coin
from twinlock.protocol import routes
from twinlock.protocol.orders import Side
from twinlock.server.config import Config, MarketSection

pytestmark = pytest.mark.anyio


def test_the_coin_comes_from_the_entry_point_alone() -> None:
    names = [point.name for point in entry_points(group="twinlock.assets")]
    assert "sample" in names, "run tools/setup --tests: it installs tests/plugins/twinlock-sample-coin"
    assert ("smpl", Network.REGTEST) not in COINS
    assert coin("smpl", Network.REGTEST).name == "Samplecoin"


class Sampled(Exchange):
    """Samplecoin in place of Litecoin."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sample = coin("smpl", Network.REGTEST)
        self.chains = {BTC: self.chains[BTC], self.sample.asset_id: MemoryChain(self.sample)}

    market_name = "smpl_btc"

    def config(self) -> Config:
        config = super().config()
        btc, ltc = config.assets
        [market] = config.markets
        own = MarketSection(
            base="smpl", quote="btc", lot_size=LOT, rate_step=market.rate_step, epoch_ms=market.epoch_ms
        )
        return replace(config, assets=(btc, replace(ltc, symbol="smpl")), markets=(own,))


@pytest.fixture
async def sampled(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Sampled]:
    exchange = Sampled(tmp_path)
    await exchange.start()
    yield exchange
    await exchange.close()


async def test_the_server_matches_and_audits_it(sampled: Sampled) -> None:
    number = sampled.sample.asset_id
    market = (number, BTC)
    maker, taker = await sampled.trader(), await sampled.trader()
    [asset] = [asset for asset in (await maker.ask(routes.CONFIG, None)).assets if asset.id == number]
    assert (asset.symbol, asset.unit_info.atomic_unit) == ("smpl", "grains")
    funds = sampled.chains[number].fund(maker.new_key(), 10 * LOT)
    money = sampled.chains[BTC].fund(taker.new_key(), 10 * LOT)
    sold = await maker.place(maker.limit_order(market, Side.SELL, LOT, RATE, funds))
    await maker.booked(sold.order_id, market)
    await taker.place(taker.limit_order(market, Side.BUY, LOT, RATE, money))
    [made] = await taker.note(routes.MATCH)
    match_id = bytes(made.match_id)
    _, secret_hash = maker.new_secret()
    lock = made.server_time // 1000 + 20 * 3600
    await maker.ask(routes.INIT, await maker.make_contract(match_id, number, LOT, secret_hash, lock, funds))
    audit = await taker.note(routes.AUDIT)
    assert audit.match_id == match_id
