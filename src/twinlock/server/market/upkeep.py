"""Keeping a book honest: which stored orders rest on it, and which lose their place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from twinlock.electrum.errors import ElectrumError
from twinlock.protocol.orders import LimitOrder, OrderStatus
from twinlock.protocol.reputation import Outcome
from twinlock.server.db.accounts import Point
from twinlock.server.db.orders import StoredOrder
from twinlock.server.market.manager import MarketManager

log = structlog.get_logger(__name__)


def resting(stored: Iterable[StoredOrder]) -> list[LimitOrder]:
    """The orders of a stored market that belong on its book."""
    booked = (entry.order for entry in stored if entry.status is OrderStatus.BOOKED)
    return [order for order in booked if isinstance(order, LimitOrder)]


async def drop_spent(market: MarketManager, orders: Iterable[LimitOrder], *, counted: bool) -> None:
    """Revoke the unfilled orders whose coins somebody has spent (protocol sections 6.2 and 6.10).

    counted: as an early cancel of the owner, who took the funds away.
    """
    services = market.services
    for order in orders:
        if order.filled or await _funded(market, order):
            continue
        log.info("coin of a booked order is spent", order=order.id.hex())
        points = [_early_cancel(order, services.clock.now_ms())] if counted else []
        await market.revoke([order], services.reputations.writes(points))
        services.reputations.take_effect(points)


async def _funded(market: MarketManager, order: LimitOrder) -> bool:
    """Whether all coins are still there; a chain out of view proves nothing against an order."""
    asset = market.services.assets[market.funded_by(order)]
    try:
        return all(await asyncio.gather(*(asset.unspent(coin) for coin in order.coins)))
    except ElectrumError as error:
        log.warning("coins out of view", order=order.id.hex(), error=str(error))
        return True


def _early_cancel(order: LimitOrder, stamp: int) -> Point:
    return Point(account_id=order.account_id, outcome=Outcome.ORDER_CANCELED, link=order.id, stamp=stamp)
