"""A package of its own adds a coin through the entry point, and the server trades it; our tree knows nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, Exchange
from tests.server.memory_chain import MemoryChain
from tests.server.settlement import settle

from twinlock.chain.coins import COINS, Network, coin
from twinlock.protocol import routes
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


async def test_the_server_trades_it_to_the_end(sampled: Sampled) -> None:
    number = sampled.sample.asset_id
    maker, taker = await sampled.trader(), await sampled.trader()
    [asset] = [asset for asset in (await maker.ask(routes.CONFIG, None)).assets if asset.id == number]
    assert (asset.symbol, asset.unit_info.atomic_unit) == ("smpl", "grains")
    await settle(sampled, maker, taker, (number, BTC))
    assert [(await trader.connect()).score for trader in (maker, taker)] == [1, 1]
