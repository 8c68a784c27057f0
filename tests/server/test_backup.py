"""A backup taken while traders trade opens as an exchange of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from tests.server.conftest import LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.settlement import settle
from tests.server.trader import Trader

from twinlock.protocol.audit import Auditor
from twinlock.protocol.codes import RpcError
from twinlock.protocol.orders import Side
from twinlock.server.db.backup import BackupError, backup, restore

pytestmark = pytest.mark.anyio


async def test_a_backup_restores_accounts_orders_and_identity(exchange: Exchange, tmp_path: Path) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    settings, key = exchange.config().server, exchange.running.key
    saved, fresh = tmp_path / "saved", tmp_path / "fresh"
    written = await backup(settings.database_url, settings.data_dir, saved)
    assert {path.relative_to(saved).as_posix() for path in written} >= {"server.db", "signing.key.json"}
    await exchange.stop()
    await restore(saved, fresh)
    exchange.folder = fresh
    await exchange.start()
    assert exchange.running.key == key
    await exchange.reconnect(trader)
    assert [order.id for order in (await trader.connect()).active_orders] == [receipt.order_id]


async def test_nothing_is_overwritten(exchange: Exchange, tmp_path: Path) -> None:
    settings = exchange.config().server
    with pytest.raises(BackupError):
        await backup(settings.database_url, settings.data_dir, settings.data_dir)
    await backup(settings.database_url, settings.data_dir, tmp_path / "saved")
    with pytest.raises(BackupError):
        await restore(tmp_path / "saved", settings.data_dir)
    with pytest.raises(BackupError):
        await restore(tmp_path / "saved" / "tls", tmp_path / "fresh")
    with pytest.raises(BackupError, match="already"):
        await restore(tmp_path / "saved", tmp_path / "fresh", settings.database_url)


async def test_a_backup_taken_under_load_goes_on_as_an_exchange_on_the_other_engine(
    any_exchange: Exchange, other_url: str, tmp_path: Path
) -> None:
    """Whatever moment it caught: the ledger replays, memory and rows agree, and a trade settles on it."""
    exchange = any_exchange
    traders = [await exchange.trader(tiers=8) for _ in range(3)]
    settings, saved, stop = exchange.config().server, tmp_path / "saved", asyncio.Event()

    async def load(trader: Trader) -> None:
        while not stop.is_set():
            funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
            with suppress(RpcError):  # the tier is used up at some point
                receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
                await trader.place(trader.cancel_order(MARKET, receipt.order_id))

    loads = [asyncio.create_task(load(trader)) for trader in traders]
    market = exchange.running.manager.markets["ltc_btc"]
    await until(lambda: len(market.book) > 0)
    await backup(settings.database_url, settings.data_dir, saved)
    stop.set()
    await asyncio.gather(*loads)
    await exchange.stop()
    await restore(saved, tmp_path / "fresh", other_url)
    exchange.folder, exchange.db_url = tmp_path / "fresh", other_url
    await exchange.start()
    market, auditor, number = exchange.running.manager.markets["ltc_btc"], Auditor(exchange.running.key.public), 0
    while entries := await exchange.running.data.ledger(*MARKET, number, 500):
        for entry in entries:
            auditor.take_entry(entry)
        number += len(entries)
    assert {order.id for order in auditor.book} == {order.id for order in market.book}
    for trader in traders:
        await exchange.reconnect(trader)
        await trader.connect()
    maker, taker = await exchange.trader(), await exchange.trader()
    await settle(exchange, maker, taker, MARKET, rate=RATE // 2)
    assert (await maker.connect()).score == 1
