"""From an order's record to the message that places it, and to what the server signs."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.client.desk import CoinSide
from twinlock.client.store.records import OrderRecord
from twinlock.protocol.messages.orders import Coin, OrderPrefix, OrderResult, PlaceCancel, PlaceLimit, PlaceMarket
from twinlock.protocol.orders import OrderType
from twinlock.protocol.routes import CANCEL, LIMIT, MARKET, Route
from twinlock.protocol.wire import Hex

ROUTES: dict[OrderType, Route[OrderPrefix, OrderResult]] = {
    OrderType.LIMIT: LIMIT,  # type: ignore[dict-item]
    OrderType.MARKET: MARKET,  # type: ignore[dict-item]
    OrderType.CANCEL: CANCEL,  # type: ignore[dict-item]
}


async def proof_of(payer: CoinSide, coin_id: bytes) -> Coin:
    """An output of ours with the proof that we control it."""
    pubkeys, sigs, redeem = await payer.wallet.coin_proof(coin_id)
    return Coin(
        coin_id=Hex(coin_id),
        public_keys=[Hex(pubkey) for pubkey in pubkeys],
        signatures=[Hex(sig) for sig in sigs],
        redeem=Hex(redeem),
    )


def message_of(order: OrderRecord, account_id: bytes, coins: list[Coin]) -> OrderPrefix:
    """The message, unsigned and without a server time."""
    prefix: dict[str, Any] = {
        "account_id": Hex(account_id),
        "base": order.base,
        "quote": order.quote,
        "order_type": int(order.type),
        "client_time": order.tclient,
        "commitment": Hex(order.commitment),
    }
    if order.type == OrderType.CANCEL:
        return PlaceCancel(**prefix, target_id=Hex(order.target))
    trade = prefix | {"side": int(order.side), "quantity": order.quantity, "coins": coins, "address": order.address}
    if not order.options.plain:
        trade["options"] = order.options
    if order.type == OrderType.MARKET:
        return PlaceMarket(**trade)
    return PlaceLimit(**trade, rate=order.rate, time_in_force=int(order.force))


def stamped(message: OrderPrefix, server_time: int) -> OrderPrefix:
    """The message as the server signs it."""
    return msgspec.structs.replace(message, server_time=server_time)
