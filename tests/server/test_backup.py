"""A backup taken while traders trade opens as an exchange of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.conftest import LOT, LTC, MARKET, RATE, Exchange

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
    restore(saved, fresh)
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
        restore(tmp_path / "saved", settings.data_dir)
    with pytest.raises(BackupError):
        restore(tmp_path / "saved" / "tls", tmp_path / "fresh")
