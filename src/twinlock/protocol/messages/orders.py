"""Placing and cancelling orders, and the preimage exchange (protocol sections 3.10, 3.11 and 5).

The signed bytes here are not those of the order ID: side, time in force and the place of the address differ.
Options are ours, not the reference's: an order without them travels and is signed as if there were none, and a server
that does not know them finds the signature wrong, so it cannot take the order without them by mistake.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from twinlock.protocol.constants import MAX_COINS
from twinlock.protocol.wire import U8, U32, U64, U64_MAX, WIDE, Hex, Payload, Signed, u8, u32, u64


class OrderPrefix(Signed, kw_only=True, frozen=True):
    """What every order has. Times are ms; `server_time` is 0 until the server stamps the order."""

    account_id: Hex = field(name="accountid")
    base: U32
    quote: U32
    order_type: U8 = field(name="ordertype")
    client_time: U64 = field(name="tclient")
    server_time: U64 = field(name="tserver", default=0)
    commitment: Hex = field(name="com")

    def prefix_bytes(self) -> bytes:
        """The first 89 bytes."""
        return b"".join(
            (
                self.account_id,
                u32(self.base),
                u32(self.quote),
                u8(self.order_type),
                u64(self.client_time),
                u64(self.server_time),
                self.commitment,
            )
        )


class Coin(Payload, kw_only=True, frozen=True):
    """An output that funds an order, with the proof that the account controls it."""

    coin_id: Hex = field(name="coinid")
    public_keys: list[Hex] = field(name="pubkeys", default_factory=list)
    signatures: list[Hex] = field(name="sigs", default_factory=list)
    redeem: Hex = Hex()


class OrderOptions(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """What an order may ask beyond the reference.

    post_only: rather end than take. expiry: ms; no epoch that ends later matches the order; 0 for none.
    max_matches: after so many matches the rest of the order ends; 0 for no cap.
    """

    post_only: bool = field(name="postonly", default=False)
    expiry: U64 = 0
    max_matches: U32 = field(name="maxmatches", default=0)

    @property
    def plain(self) -> bool:
        """Whether nothing is asked."""
        return not (self.post_only or self.expiry or self.max_matches)

    def suffix(self) -> bytes:
        """What follows the reference's bytes in the signature and in the order ID: nothing, or 14 bytes.

        A zero byte, which no address contains, then post_only u8, expiry u64, max_matches u32.
        """
        if self.plain:
            return b""
        return b"\x00" + u8(self.post_only) + u64(self.expiry) + u32(self.max_matches)


PLAIN = OrderOptions()
OPTION_NAMES = ("postonly", "expiry", "maxmatches")
"""What a server that knows all of `OrderOptions` lists in `config`."""


class Trade(OrderPrefix, kw_only=True, frozen=True):
    """What limit and market orders share. Quantity is base atoms, except quote atoms in a market buy."""

    side: U8
    quantity: WIDE = field(name="ordersize")
    coins: list[Coin] = field(default_factory=list)
    address: str
    options: OrderOptions | UnsetType = UNSET

    @property
    def asked(self) -> OrderOptions:
        """The options, all off where there are none."""
        return PLAIN if isinstance(self.options, UnsetType) else self.options

    def trade_bytes(self) -> bytes:
        """The prefix and what follows it in both kinds."""
        coins = b"".join(coin.coin_id for coin in self.coins)
        return self.prefix_bytes() + u8(len(self.coins)) + coins + u8(self.side) + u64(self.quantity)

    def __post_init__(self) -> None:
        if self.quantity > U64_MAX or len(self.coins) > MAX_COINS:
            raise ValueError("The order's size or its number of coins is out of range")


class PlaceLimit(Trade, kw_only=True, frozen=True):
    """The payload of `limit`."""

    rate: WIDE
    time_in_force: U8 = field(name="timeinforce")

    def signed_bytes(self) -> bytes:
        address = self.address.encode()
        return self.trade_bytes() + u64(self.rate) + u8(self.time_in_force) + address + self.asked.suffix()

    def __post_init__(self) -> None:
        Trade.__post_init__(self)
        if self.rate > U64_MAX:
            raise ValueError("The rate is out of range")


class PlaceMarket(Trade, kw_only=True, frozen=True):
    """The payload of `market`."""

    def signed_bytes(self) -> bytes:
        return self.trade_bytes() + self.address.encode() + self.asked.suffix()


class PlaceCancel(OrderPrefix, kw_only=True, frozen=True):
    """The payload of `cancel`."""

    target_id: Hex = field(name="targetid")

    def signed_bytes(self) -> bytes:
        return self.prefix_bytes() + self.target_id


class OrderResult(Payload, kw_only=True, frozen=True):
    """The receipt of an order; `sig` is the server's over the order's signed bytes with `server_time` in place."""

    sig: Hex
    order_id: Hex = field(name="orderid")
    server_time: U64 = field(name="tserver")


class PreimageRequest(Payload, kw_only=True, frozen=True):
    """The server asks for the preimage of a commitment. `csum` commits it to the closed epoch's set of orders."""

    order_id: Hex = field(name="orderid")
    commitment: Hex = field(name="commit")
    csum: Hex


class PreimageResponse(Payload, kw_only=True, frozen=True):
    """The 32-byte preimage."""

    preimage: Hex = field(name="pimg")


class NoMatch(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """The order went through its epoch without a match. crossed: it was post-only, would have taken, and ended."""

    order_id: Hex = field(name="orderid")
    crossed: bool = False


class RevokeOrder(Signed, kw_only=True, frozen=True):
    """The server took an order off its book, or dropped it for a missing preimage."""

    order_id: Hex = field(name="orderid")

    def signed_bytes(self) -> bytes:
        return self.order_id + bytes(32)
