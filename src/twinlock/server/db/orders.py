"""Orders as rows: stored before their receipt is sent, changed with their epoch."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from twinlock.protocol.epoch import epoch_index
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import (
    CancelOrder,
    LimitOrder,
    MarketOrder,
    Order,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradeOrder,
    server_cancel,
)
from twinlock.server.db.backend import Database, Row, Write
from twinlock.server.db.schema import ORDER_ACTIVE, orders

NEVER_EFFECTIVE = -1
"""The epoch gap of a cancel that took nothing off the book."""


class StoredOrder(msgspec.Struct, frozen=True, gc=False):
    """An order and where it stands."""

    order: Order
    market: str
    status: OrderStatus
    epoch: int
    preimage: bytes


class OrderChange(msgspec.Struct, frozen=True, gc=False):
    """What an epoch or a revocation does to a stored order."""

    order_id: bytes
    status: OrderStatus
    filled: int = 0
    matches: int = 0
    preimage: bytes = b""
    epoch_gap: int = NEVER_EFFECTIVE


_ADD = orders.insert()
_CHANGE = (
    orders.update()
    .where(orders.c.order_id == sa.bindparam("key"))
    .values(
        status=sa.bindparam("new_status"),
        filled=sa.bindparam("new_filled"),
        matches=sa.bindparam("new_matches"),
        epoch_gap=sa.bindparam("new_gap"),
    )
)
_CHANGE_REVEALED = _CHANGE.values(preimage=sa.bindparam("new_preimage"))
_RESTATE = orders.update().where(orders.c.order_id == sa.bindparam("key")).values(status=sa.bindparam("new_status"))


def add_order(order: Order, market: str, epoch_ms: int) -> Write:
    """A new order, in epoch status."""
    row: dict[str, object] = {
        "order_id": order.id,
        "market": market,
        "account_id": order.account_id,
        "base": order.base,
        "quote": order.quote,
        "order_type": int(order.order_type),
        "status": int(OrderStatus.EPOCH),
        "client_time": order.client_time,
        "server_time": order.server_time,
        "commitment": order.commitment,
        "epoch": epoch_index(order.server_time, epoch_ms),
        "epoch_ms": epoch_ms,
        "sell": False,
        "quantity": 0,
        "coins": b"[]",
        "address": "",
        "rate": 0,
        "force": 0,
        "post_only": False,
        "expiry": 0,
        "max_matches": 0,
        "target": b"",
    }
    if isinstance(order, CancelOrder):
        row["target"] = order.target_id
    else:
        row |= {
            "sell": order.side is Side.SELL,
            "quantity": order.quantity,
            "coins": msgspec.json.encode([coin.hex() for coin in order.coins]),
            "address": order.address,
            "post_only": order.options.post_only,
            "expiry": order.options.expiry,
            "max_matches": order.options.max_matches,
        }
    if isinstance(order, LimitOrder):
        row |= {"rate": order.rate, "force": int(order.time_in_force)}
    return Write(_ADD, [row])


def add_revocations(revoked: Iterable[TradeOrder], market: str, epoch_ms: int, now_ms: int) -> list[Write]:
    """A cancel made by the server for each order that it revoked; it took nothing off the book by itself."""
    rows: list[Row] = []
    for order in revoked:
        (row,) = add_order(server_cancel(order, now_ms), market, epoch_ms).rows
        rows.append({**row, "status": int(OrderStatus.REVOKED)})
    return [Write(_ADD, rows)] if rows else []


def change_orders(changes: Iterable[OrderChange]) -> list[Write]:
    """New statuses and fills, and the preimages of those that name one."""
    plain: list[dict[str, object]] = []
    revealed: list[dict[str, object]] = []
    for change in changes:
        row = {
            "key": change.order_id,
            "new_status": int(change.status),
            "new_filled": change.filled,
            "new_matches": change.matches,
            "new_gap": change.epoch_gap,
        }
        if change.preimage:
            revealed.append({**row, "new_preimage": change.preimage})
        else:
            plain.append(row)
    return [Write(statement, rows) for statement, rows in ((_CHANGE, plain), (_CHANGE_REVEALED, revealed)) if rows]


def restate(order_ids: Iterable[bytes], status: OrderStatus) -> list[Write]:
    """A new status alone."""
    rows = [{"key": order_id, "new_status": int(status)} for order_id in order_ids]
    return [Write(_RESTATE, rows)] if rows else []


async def load_active(database: Database, market: str) -> list[StoredOrder]:
    """All orders of a market in epoch or booked status, in the order of their times."""
    query = sa.select(orders).where(orders.c.market == market, ORDER_ACTIVE)
    return await database.fetch(query.order_by(orders.c.server_time, orders.c.order_id), stored_order)


async def load_order(database: Database, order_id: bytes) -> StoredOrder | None:
    """One order, whatever its status."""
    return await database.fetch_one(sa.select(orders).where(orders.c.order_id == order_id), stored_order)


async def load_statuses(database: Database, account_id: bytes, order_ids: Iterable[bytes]) -> dict[bytes, OrderStatus]:
    """The statuses of an account's own orders; others are left out."""
    found: dict[bytes, OrderStatus] = {}
    wanted = list(order_ids)
    for start in range(0, len(wanted), 500):  # SQLite takes a bounded number of parameters
        query = sa.select(orders.c.order_id, orders.c.status).where(
            orders.c.account_id == account_id, orders.c.order_id.in_(wanted[start : start + 500])
        )
        found |= dict(await database.fetch(query, lambda row: (bytes(row["order_id"]), OrderStatus(row["status"]))))
    return found


def stored_order(row: Row) -> StoredOrder:
    """The value of a row."""
    return StoredOrder(
        order=_BUILDERS[OrderType(row["order_type"])](row),
        market=row["market"],
        status=OrderStatus(row["status"]),
        epoch=row["epoch"],
        preimage=bytes(row["preimage"]),
    )


def _limit(row: Row) -> TradeOrder:
    trade = _market(row)
    return LimitOrder(
        **{name: getattr(trade, name) for name in trade.__struct_fields__},
        rate=row["rate"],
        time_in_force=TimeInForce(row["force"]),
    )


def _market(row: Row) -> MarketOrder:
    return MarketOrder(
        id=bytes(row["order_id"]),
        account_id=bytes(row["account_id"]),
        base=row["base"],
        quote=row["quote"],
        client_time=row["client_time"],
        server_time=row["server_time"],
        commitment=bytes(row["commitment"]),
        coins=tuple(bytes.fromhex(coin) for coin in msgspec.json.decode(row["coins"])),
        side=Side.SELL if row["sell"] else Side.BUY,
        quantity=row["quantity"],
        address=row["address"],
        filled=row["filled"],
        options=_options(row),
        matches=row["matches"],
    )


def _options(row: Row) -> OrderOptions:
    if not (row["post_only"] or row["expiry"] or row["max_matches"]):
        return PLAIN
    return OrderOptions(post_only=row["post_only"], expiry=row["expiry"], max_matches=row["max_matches"])


def _cancel(row: Row) -> CancelOrder:
    return CancelOrder(
        id=bytes(row["order_id"]),
        account_id=bytes(row["account_id"]),
        base=row["base"],
        quote=row["quote"],
        client_time=row["client_time"],
        server_time=row["server_time"],
        commitment=bytes(row["commitment"]),
        target_id=bytes(row["target"]),
    )


_BUILDERS = {OrderType.LIMIT: _limit, OrderType.MARKET: _market, OrderType.CANCEL: _cancel}
