"""Two indexers serve one chain to a live exchange: one dies, one lies, and trading goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.server.conftest import LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.live_world import Indexer, PaidChain
from tests.server.trader import Trader

from twinlock.chain.coins import Network, coin
from twinlock.electrum import methods
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.messages.orders import OrderResult
from twinlock.protocol.orders import Side
from twinlock.seams import SeededEntropy
from twinlock.server.app import Server
from twinlock.server.config import Config
from twinlock.server.db.accounts import PrepaidCode, add_codes

pytestmark = pytest.mark.anyio


class Served(Exchange):
    """An exchange that sees its chains through indexers over TCP."""

    def __init__(self, folder: Path, served: dict[str, list[Indexer]]) -> None:
        super().__init__(folder)
        self.served = served
        own: Any = {found[0].chain.coin.asset_id: found[0].chain for found in served.values()}
        self.chains = own

    def config(self) -> Config:
        config = super().config()
        assets = [
            replace(asset, electrum=tuple(indexer.url for indexer in self.served[asset.symbol]))
            for asset in config.assets
        ]
        return replace(config, assets=tuple(assets))

    def build(self) -> Server:
        return Server(self.config(), self.clock)


@pytest.fixture
async def served(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Served]:
    found: dict[str, list[Indexer]] = {}
    for symbol, count in (("btc", 1), ("ltc", 2)):
        chain = PaidChain(coin(symbol, Network.REGTEST))
        chain.mine(120)
        found[symbol] = [Indexer(chain) for _ in range(count)]
        for indexer in found[symbol]:
            await indexer.start()
    exchange = Served(tmp_path, found)
    await exchange.start()
    yield exchange
    await exchange.close()
    for indexer in (indexer for each in found.values() for indexer in each):
        await indexer.stop()


async def trader_of(exchange: Served) -> Trader:
    trader, code = await exchange.guest(), SeededEntropy(1).token(16)
    later = exchange.clock.now_ms() // 1000 + 60 * 86_400
    await exchange.running.database.write(add_codes([PrepaidCode(code, 4, later)]))
    await trader.post_bond(PREPAID_ASSET_ID, code)
    await trader.connect()
    return trader


async def test_one_dies_and_one_lies_and_orders_are_taken(served: Served) -> None:
    trader = await trader_of(served)
    first, second = served.served["ltc"]

    async def sell() -> OrderResult:
        funds = served.chains[LTC].fund(trader.new_key(), 3 * LOT)
        return await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))

    await sell()
    asked, spare = (first, second) if first.server.requests.count(methods.TRANSACTION.name) else (second, first)
    await asked.stop()
    await until(lambda: spare.server.sessions > 0)
    await until(served.running.data.healthy)
    await sell()
    assert methods.TRANSACTION.name in spare.server.requests
    await asked.start()
    false = served.chains[LTC].fund(trader.new_key(), LOT).point.txid
    spare.server.lies[methods.TRANSACTION.name] = lambda _: served.served["ltc"][0].chain.tx(false).serialize().hex()
    before = asked.server.requests.count(methods.TRANSACTION.name)
    await sell()
    assert asked.server.requests.count(methods.TRANSACTION.name) > before
    assert len(served.running.manager.markets["ltc_btc"].active_orders(trader.account)) == 3
