"""Orders as the exchange holds them, and the serialization that an order's ID hashes (protocol sections 5.1, 5.5).

This serialization is not the signed one of `twinlock.protocol.messages.orders`: sides and times in force have other
numbers, and the address stands before rate and force.

Invariants: an order is a value; filling it makes another value with the same ID. `filled` and `remaining` count what
`quantity` counts: base atoms, except quote atoms in a market buy. `matches` counts only where `max_matches` caps it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import ClassVar, TypeAlias, final

import msgspec

from twinlock.kernels.blake256 import blake256
from twinlock.protocol.constants import HASH_BYTES
from twinlock.protocol.messages.orders import PLAIN, OrderOptions, OrderPrefix, PlaceCancel, PlaceLimit, PlaceMarket
from twinlock.protocol.wire import u8, u32, u64

_MATCH = Struct(">32s32sQQ").pack


class OrderType(IntEnum):
    """The same numbers in messages and in the order ID."""

    LIMIT = 1
    MARKET = 2
    CANCEL = 3


class Side(IntEnum):
    """As messages and book notes number it."""

    BUY = 1
    SELL = 2

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(IntEnum):
    """As messages and book notes number it."""

    STANDING = 1
    IMMEDIATE = 2


class OrderStatus(IntEnum):
    """Where an order stands; EPOCH and BOOKED are active."""

    UNKNOWN = 0
    EPOCH = 1
    BOOKED = 2
    EXECUTED = 3
    CANCELED = 4
    REVOKED = 5

    @property
    def active(self) -> bool:
        """Whether the order can still match."""
        return self in (OrderStatus.EPOCH, OrderStatus.BOOKED)


# Orders hold no references that could form a cycle; a book of them is kept out of the garbage collector's rounds.


class _Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every order has. IDs and commitment are 32 bytes, times ms."""

    order_type: ClassVar[OrderType]

    id: bytes
    account_id: bytes
    base: int
    quote: int
    client_time: int
    server_time: int
    commitment: bytes

    def _prefix(self) -> bytes:
        head = self.account_id + u32(self.base) + u32(self.quote) + u8(self.order_type)
        return head + u64(self.client_time) + u64(self.server_time) + self.commitment


class _Trade(_Order, frozen=True, kw_only=True, gc=False):
    """What limit and market orders share; `coins` are coin IDs."""

    coins: tuple[bytes, ...]
    side: Side
    quantity: int
    address: str
    filled: int = 0
    options: OrderOptions = PLAIN
    matches: int = 0

    @property
    def remaining(self) -> int:
        """What is still to fill."""
        return self.quantity - self.filled

    def _trade(self) -> bytes:
        sell = self.side is Side.SELL
        coins = u8(len(self.coins)) + b"".join(self.coins)
        return self._prefix() + coins + u8(sell) + u64(self.quantity) + self.address.encode()


@final
class LimitOrder(_Trade, frozen=True, kw_only=True, gc=False):
    """An order with a worst acceptable message-rate; a standing one rests on the book."""

    order_type = OrderType.LIMIT

    rate: int
    time_in_force: TimeInForce

    def serialized(self) -> bytes:
        """What the ID hashes."""
        standing = self.time_in_force is TimeInForce.STANDING
        return self._trade() + u64(self.rate) + u8(standing) + self.options.suffix()


@final
class MarketOrder(_Trade, frozen=True, kw_only=True, gc=False):
    """An order at any rate, never booked."""

    order_type = OrderType.MARKET

    def serialized(self) -> bytes:
        """What the ID hashes."""
        return self._trade() + self.options.suffix()


@final
class CancelOrder(_Order, frozen=True, kw_only=True, gc=False):
    """Takes a standing limit order off the book, in its turn of the shuffled epoch."""

    order_type = OrderType.CANCEL

    target_id: bytes

    def serialized(self) -> bytes:
        """What the ID hashes."""
        return self._prefix() + self.target_id


TradeOrder: TypeAlias = LimitOrder | MarketOrder
Order: TypeAlias = LimitOrder | MarketOrder | CancelOrder


def commit(preimage: bytes) -> bytes:
    """The commitment to a 32-byte preimage."""
    return blake256(preimage)


def order_id(order: Order) -> bytes:
    """The 32-byte ID that the order's content and its server time give."""
    return blake256(order.serialized())


def match_id(taker_id: bytes, maker_id: bytes, quantity: int, rate: int) -> bytes:
    """The 32-byte ID of a match; the taker's order comes first."""
    return blake256(_MATCH(taker_id, maker_id, quantity, rate))


def accept(message: OrderPrefix, server_time: int) -> Order:
    """The order that a checked message becomes when it is stamped with the server's time (ms).

    A client calls it with the time of its receipt, to recompute the ID that the server claims.
    """
    unnamed = _BUILDERS[type(message)](message, server_time)
    return msgspec.structs.replace(unnamed, id=order_id(unnamed))


def server_cancel(order: TradeOrder, now_ms: int) -> CancelOrder:
    """The record of a revocation: a cancel that the server itself makes, so with a commitment of zeros."""
    unnamed = CancelOrder(
        id=b"",
        account_id=order.account_id,
        base=order.base,
        quote=order.quote,
        client_time=now_ms,
        server_time=now_ms,
        commitment=bytes(HASH_BYTES),
        target_id=order.id,
    )
    return msgspec.structs.replace(unnamed, id=order_id(unnamed))


def _limit(message: PlaceLimit, server_time: int) -> LimitOrder:
    return LimitOrder(
        id=b"",
        account_id=bytes(message.account_id),
        base=message.base,
        quote=message.quote,
        client_time=message.client_time,
        server_time=server_time,
        commitment=bytes(message.commitment),
        coins=tuple(bytes(coin.coin_id) for coin in message.coins),
        side=Side(message.side),
        quantity=message.quantity,
        address=message.address,
        options=message.asked,
        rate=message.rate,
        time_in_force=TimeInForce(message.time_in_force),
    )


def _market(message: PlaceMarket, server_time: int) -> MarketOrder:
    return MarketOrder(
        id=b"",
        account_id=bytes(message.account_id),
        base=message.base,
        quote=message.quote,
        client_time=message.client_time,
        server_time=server_time,
        commitment=bytes(message.commitment),
        coins=tuple(bytes(coin.coin_id) for coin in message.coins),
        side=Side(message.side),
        quantity=message.quantity,
        address=message.address,
        options=message.asked,
    )


def _cancel(message: PlaceCancel, server_time: int) -> CancelOrder:
    return CancelOrder(
        id=b"",
        account_id=bytes(message.account_id),
        base=message.base,
        quote=message.quote,
        client_time=message.client_time,
        server_time=server_time,
        commitment=bytes(message.commitment),
        target_id=bytes(message.target_id),
    )


_BUILDERS: dict[type[OrderPrefix], Callable[..., Order]] = {
    PlaceLimit: _limit,
    PlaceMarket: _market,
    PlaceCancel: _cancel,
}
