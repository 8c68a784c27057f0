"""`subscribe_mm_snapshots`: a market maker's own orders after every epoch, signed (protocol section 3.13)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.constants import SNAPSHOT_ORDERS
from twinlock.protocol.messages.book import EpochSnapshot, SnapshotLevel
from twinlock.protocol.orders import LimitOrder, Side
from twinlock.protocol.routes import MM_EPOCH_SNAPSHOT
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex
from twinlock.server.comms.channel import Channel
from twinlock.server.comms.outgoing import notification_frame
from twinlock.server.market.manager import MarketManager


class Snapshots:
    """Who wants snapshots of which market."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.subscribers: defaultdict[str, Channel] = defaultdict(Channel)

    def send(self, market: MarketManager, epoch: int) -> None:
        """Send every subscriber its own orders as they stand after an epoch."""
        for link in self.subscribers[market.terms.name]:
            if link.account is not None:
                note = signed(self._key, self._snapshot(market, epoch, link.account))
                link.send_frame(notification_frame(MM_EPOCH_SNAPSHOT, note))

    def _snapshot(self, market: MarketManager, epoch: int, account_id: bytes) -> EpochSnapshot:
        own = sorted(market.booked_of(account_id), key=lambda order: order.rate)
        buy, sell = market.book.buys.best(), market.book.sells.best()
        return EpochSnapshot(
            market=market.terms.name,
            base=market.terms.base,
            quote=market.terms.quote,
            epoch=epoch,
            epoch_ms=market.terms.epoch_ms,
            account_id=Hex(account_id),
            buys=_levels(order for order in own if order.side is Side.BUY),
            sells=_levels(order for order in own if order.side is Side.SELL),
            best_buy=buy.rate if buy else 0,
            best_sell=sell.rate if sell else 0,
        )


def _levels(orders: Iterable[LimitOrder]) -> list[SnapshotLevel]:
    return [SnapshotLevel(rate=order.rate, quantity=order.remaining) for order in orders][:SNAPSHOT_ORDERS]
