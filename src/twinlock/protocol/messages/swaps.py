"""The messages of settlement (protocol sections 3.9 and 3.12).

`order_id` is always the order of the party that sends or receives the message as a client.
"""

from __future__ import annotations

from msgspec import field

from twinlock.protocol.wire import U8, U64, Hex, Payload, Signed, u64


class Match(Signed, kw_only=True, frozen=True):
    """One match. `server_time` (ms, the epoch's end) is the base of all lock times.

    `address` is the counterparty's address of its order, never a contract's recipient; "" in a cancel match.
    """

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

    def signed_bytes(self) -> bytes:
        return b"".join(
            (
                self.order_id,
                self.match_id,
                u64(self.quantity),
                u64(self.rate),
                u64(self.server_time),
                self.address.encode(),
                u64(self.fee_rate_base),
                u64(self.fee_rate_quote),
            )
        )


class Acknowledgement(Payload, kw_only=True, frozen=True):
    """The receiver's signature over the bytes that the originator signed.

    `address` is the own receiving address in the answer to `match`, "" everywhere else.
    """

    match_id: Hex = field(name="matchid")
    sig: Hex
    address: str = ""


class CounterpartyAddress(Signed, kw_only=True, frozen=True):
    """Where the contract of this match has to pay."""

    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")
    address: str

    def signed_bytes(self) -> bytes:
        return self.order_id + self.match_id + self.address.encode()


class Init(Signed, kw_only=True, frozen=True):
    """A client reports its contract."""

    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")
    coin_id: Hex = field(name="coinid")
    contract: Hex

    def signed_bytes(self) -> bytes:
        return self.order_id + self.match_id + self.coin_id + self.contract


class Audit(Signed, kw_only=True, frozen=True):
    """The counterparty's contract. `tx` is not covered by the signature: check its ID before trusting it."""

    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")
    timestamp: U64
    coin_id: Hex = field(name="coinid")
    contract: Hex
    tx: Hex = field(name="txdata", default=Hex())

    def signed_bytes(self) -> bytes:
        return self.order_id + self.match_id + u64(self.timestamp) + self.coin_id + self.contract


class Redeem(Signed, kw_only=True, frozen=True):
    """A client reports its redemption. A UTXO coin ID names the input here."""

    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")
    coin_id: Hex = field(name="coinid")
    secret: Hex

    def signed_bytes(self) -> bytes:
        return self.order_id + self.match_id + self.coin_id + self.secret


class Redemption(Signed, kw_only=True, frozen=True):
    """The counterparty's redemption."""

    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")
    coin_id: Hex = field(name="coinid")
    secret: Hex = Hex()
    timestamp: U64

    def signed_bytes(self) -> bytes:
        return self.order_id + self.match_id + self.coin_id + self.secret + u64(self.timestamp)


class RevokeMatch(Signed, kw_only=True, frozen=True):
    """The server gave up on a match. What is on chain goes on."""

    order_id: Hex = field(name="orderid")
    match_id: Hex = field(name="matchid")

    def signed_bytes(self) -> bytes:
        return self.order_id + self.match_id
