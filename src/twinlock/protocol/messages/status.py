"""Where orders and matches stand: `connect`'s lists, `match_status` and `order_status` (protocol section 3.13)."""

from __future__ import annotations

from msgspec import field

from twinlock.protocol.wire import EMPTY, U8, U16, U32, U64, Hex, Payload


class ActiveOrder(Payload, kw_only=True, frozen=True):
    """An order in epoch or booked status."""

    id: Hex
    status: U16


class ActiveMatch(Payload, kw_only=True, frozen=True):
    """A running match in the `connect` result; the members of `match`, unsigned.

    `address` is the counterparty's address of this match, "" while it is not known.
    """

    sig: Hex = EMPTY
    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")
    quantity: U64 = field(name="qty")
    rate: U64
    server_time: U64 = field(name="tserver")
    address: str
    fee_rate_base: U64 = field(name="feeratebase")
    fee_rate_quote: U64 = field(name="feeratequote")
    status: U8
    side: U8


class MatchStatusRequest(Payload, kw_only=True, frozen=True):
    """One match to ask about."""

    base: U32
    quote: U32
    match_id: Hex = field(name="matchid")


class MatchStatusResult(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """What the server knows of a match; empty members are left out.

    `maker_tx` is given only to the taker at status 1, `taker_tx` only to the maker at status 2.
    """

    match_id: Hex = field(name="matchid")
    status: U8
    maker_contract: Hex = field(name="makercontract", default=EMPTY)
    taker_contract: Hex = field(name="takercontract", default=EMPTY)
    maker_swap: Hex = field(name="makerswap", default=EMPTY)
    taker_swap: Hex = field(name="takerswap", default=EMPTY)
    maker_redeem: Hex = field(name="makerredeem", default=EMPTY)
    taker_redeem: Hex = field(name="takerredeem", default=EMPTY)
    secret: Hex = EMPTY
    active: bool
    maker_tx: Hex = field(name="makertx", default=EMPTY)
    taker_tx: Hex = field(name="takertx", default=EMPTY)


class OrderStatusRequest(Payload, kw_only=True, frozen=True):
    """One order to ask about."""

    base: U32
    quote: U32
    order_id: Hex = field(name="orderid")


class OrderStatusResult(Payload, kw_only=True, frozen=True):
    """The status of one order (`twinlock.protocol.orders.OrderStatus`)."""

    id: Hex
    status: U16
