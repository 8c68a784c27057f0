"""After each login: what the server has of our orders, compared with what we have (protocol section 7.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twinlock.client.desk import Desk
from twinlock.client.evidence import accuse
from twinlock.client.order_messages import message_of, stamped
from twinlock.client.store.records import OrderRecord
from twinlock.errors import TwinlockError
from twinlock.protocol import orders as rules
from twinlock.protocol.messages.orders import Coin
from twinlock.protocol.messages.status import ActiveOrder, OrderStatusRequest
from twinlock.protocol.orders import OrderStatus
from twinlock.protocol.routes import ORDER_STATUS
from twinlock.protocol.wire import Hex, encode

RECEIPT_MS = range(-5_000, 65_000)
"""Where the server's time of an order may lie, counted from ours: it may have waited 60 s for the coins."""


class OwnOrders(Protocol):
    """Our orders at that server; `twinlock.client.orders.Orders` is it."""

    def active(self) -> list[OrderRecord]: ...

    def name(self, order: OrderRecord, order_id: bytes, server_time: int) -> None: ...

    def set_status(self, order: OrderRecord, status: str) -> None: ...

    async def send_cancel(self, market: str, base: int, quote: int, target: bytes) -> OrderRecord: ...


async def reconcile(desk: Desk, orders: OwnOrders, listed: Sequence[ActiveOrder]) -> None:
    """Adopt orders whose receipt was lost, cancel what we do not know, and ask about what is not listed."""
    by_id = {bytes(entry.id): OrderStatus(entry.status) for entry in listed}
    doubtful: list[OrderRecord] = []
    for order in orders.active():
        status = by_id.pop(order.order_id, None) if order.order_id else None
        if status is None:
            doubtful.append(order)
        elif status is OrderStatus.BOOKED:
            orders.set_status(order, "booked")
    unanswered = [order for order in doubtful if not order.order_id]
    for order_id in by_id:
        if not any(_adopt(desk, orders, order, order_id) for order in unanswered):
            await _cancel_blindly(desk, orders, order_id)
    for order in unanswered:
        if not order.order_id:
            orders.set_status(order, "failed")
    await _ask_status(desk, orders, [order for order in doubtful if order not in unanswered])


def _adopt(desk: Desk, orders: OwnOrders, order: OrderRecord, order_id: bytes) -> bool:
    """Whether a listed order is the one whose receipt was lost: then some server time gives that ID."""
    assert desk.account is not None
    message = message_of(order, desk.account.account_id, [Coin(coin_id=Hex(coin_id)) for coin_id in order.coins])
    for offset in RECEIPT_MS:
        if rules.accept(message, order.tclient + offset).id == order_id:
            orders.name(order, order_id, order.tclient + offset)
            orders.set_status(order, "epoch")
            return True
    return False


async def _cancel_blindly(desk: Desk, orders: OwnOrders, order_id: bytes) -> None:
    desk.notice(f"the server has an order of ours that we do not know: {order_id.hex()}; it is cancelled")
    for market in desk.require_config().markets:
        try:
            await orders.send_cancel(market.name, market.base, market.quote, order_id)
        except TwinlockError:
            continue
        return


async def _ask_status(desk: Desk, orders: OwnOrders, doubtful: list[OrderRecord]) -> None:
    if not doubtful:
        return
    questions = [
        OrderStatusRequest(base=order.base, quote=order.quote, order_id=Hex(order.order_id)) for order in doubtful
    ]
    answers = await desk.session.request(ORDER_STATUS, questions)
    statuses = {bytes(answer.id): OrderStatus(answer.status) for answer in answers}
    for order in doubtful:
        status = statuses.get(order.order_id)
        if status is None:
            _accuse_of_dropping(desk, order)
        orders.set_status(order, (status or OrderStatus.REVOKED).name.lower())


def _accuse_of_dropping(desk: Desk, order: OrderRecord) -> None:
    """It signed for the order, and now knows nothing of it."""
    assert desk.account is not None
    coins = [Coin(coin_id=Hex(coin_id)) for coin_id in order.coins]
    message = message_of(order, desk.account.account_id, coins)
    if not order.receipt:  # It was adopted from the server's own list; nothing that it signed tells of it.
        return
    body = {
        "server_key": Hex(desk.account.server_pubkey),
        "order_id": Hex(order.order_id),
        "signed": Hex(stamped(message, order.tserver).signed_bytes()),
        "receipt": Hex(order.receipt),
        "answer": "order_status does not know the order",
    }
    text = f"our order {order.order_id.hex()} was accepted, and the server knows nothing of it any more"
    accuse(desk, order.market, f"dropped/{order.order_id.hex()}", text, encode(body))
