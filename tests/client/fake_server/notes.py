"""The fake's market, and the notes of its feed."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.protocol.messages import book as books
from twinlock.protocol.messages import config as configs
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Order, OrderType
from twinlock.protocol.wire import Hex

MARKET = "ltc_btc"
LTC, BTC = 2, 0
LOT = 1_000_000
EPOCH_MS = 10_000
BOND = 500_000
BROADCAST_TIMEOUT_MS = 60_000


def asset_of(symbol: str, asset_id: int, version: int) -> configs.Asset:
    unit = configs.Denomination(unit=symbol.upper(), conversion_factor=10**8)
    info = configs.UnitInfo(atomic_unit="Sats", conventional=unit)
    return configs.Asset(symbol=symbol, id=asset_id, version=version, max_fee_rate=20, swap_conf=1, unit_info=info)


def note_of(order: LimitOrder, seq: int) -> books.BookOrder:
    return books.BookOrder(
        seq=seq,
        market=MARKET,
        order_id=Hex(order.id),
        side=order.side,
        quantity=order.remaining,
        rate=order.rate,
        time_in_force=order.time_in_force,
        time=order.server_time,
        options=msgspec.UNSET if order.options.plain else order.options,
        matches=order.matches,
    )


def epoch_note(order: Order, seq: int, epoch: int) -> books.EpochOrder:
    common: dict[str, Any] = {
        "seq": seq,
        "market": MARKET,
        "order_id": Hex(order.id),
        "time": order.server_time,
        "commitment": Hex(order.commitment),
        "epoch": epoch,
    }
    if isinstance(order, CancelOrder):
        return books.EpochOrder(**common, order_type=OrderType.CANCEL, target=Hex(order.target_id))
    common |= {"side": order.side, "quantity": order.remaining}
    if not order.options.plain:
        common["options"] = order.options
    if isinstance(order, MarketOrder):
        return books.EpochOrder(**common, order_type=OrderType.MARKET)
    return books.EpochOrder(**common, order_type=OrderType.LIMIT, rate=order.rate, time_in_force=order.time_in_force)
