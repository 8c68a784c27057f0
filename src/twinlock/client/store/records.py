"""The records themselves. Amounts are atoms, times milliseconds, lock times seconds; IDs and other byte members raw."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from twinlock.client.store.base import LIVE, Record
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import OrderType
from twinlock.protocol.swap.state import Party, Swap

ACTIVE = ("sent", "epoch", "booked")
"""States in which an order can still match."""


class MetaRecord(Record, kw_only=True):
    """A single value by name, such as the seed."""

    kind: ClassVar[str] = "meta"
    name: str
    value: bytes

    @property
    def key(self) -> str:
        return self.name


class AccountRecord(Record, kw_only=True):
    """Our account on one server. The server's key is pinned: it is an input of the account key (protocol 4.3)."""

    kind: ClassVar[str] = "account"
    host: str
    server_pubkey: bytes
    key_index: int
    account_id: bytes
    exists: bool = False
    """The server has accepted a bond of this account."""
    last_order_ms: int = 0
    """The newest `tclient` used; preimages derive from it, so it never repeats."""
    bond_asset: str = ""
    target_tier: int = 0
    """The tier that bonds are renewed to keep; 0 until the trader registers."""

    @property
    def key(self) -> str:
        return self.host


class BondRecord(Record, kw_only=True):
    """One bond, from the moment it is signed until its refund is on chain.

    state: signed, broadcast, confirmed, posted, expired, refunding, refunded.
    """

    kind: ClassVar[str] = "bond"
    host: str
    asset_id: int
    version: int
    index: int
    amount: int
    lock_time: int
    coin_id: bytes
    script: bytes
    raw_tx: bytes
    needed: int
    """Confirmations that the server wants."""
    strength: int = 0
    state: str = "signed"
    refund_tx: bytes = b""

    @property
    def key(self) -> str:
        return f"{self.asset_id}:{self.coin_id.hex()}"


class OrderRecord(Record, kw_only=True):
    """One order, stored before it is sent. The commitment names it until the server has given it an ID."""

    kind: ClassVar[str] = "order"
    host: str
    market: str
    base: int
    quote: int
    type: int
    side: int
    quantity: int
    rate: int = 0
    force: int = 0
    target: bytes = b""
    commitment: bytes
    preimage: bytes
    tclient: int
    tserver: int = 0
    order_id: bytes = b""
    address: str = ""
    coins: tuple[bytes, ...] = ()
    """Coin IDs that funded the order."""
    funds: tuple[bytes, ...] = ()
    """Coin IDs that the next swap of this order spends: the funding coins, then the change."""
    base_fee_limit: int = 0
    quote_fee_limit: int = 0
    """`maxfeerate` of both assets when the order was placed; a match above them is refused."""
    base_conf: int = 0
    quote_conf: int = 0
    filled: int = 0
    options: OrderOptions = PLAIN
    matches: int = 0
    status: str = "sent"
    """sent, epoch, booked, executed, canceled, revoked, failed."""
    tag: str = ""
    """The caller's own name for the order; placing it again under this name changes nothing."""
    csum: bytes | None = None
    """The checksum under which the preimage was given away; it is given once."""
    funds_released: bool = False
    receipt: bytes = b""
    """The server's signature of the order as it accepted it."""

    @property
    def key(self) -> str:
        return self.commitment.hex()

    @property
    def active(self) -> bool:
        """Whether it can still match."""
        return self.status in ACTIVE

    @property
    def live(self) -> bool:
        """Whether it can still match, or coins are set aside for it; of a cancel there are none."""
        return self.active or not (self.funds_released or self.type == OrderType.CANCEL)

    @property
    def marks(self) -> tuple[str, ...]:
        """The host, the market there, the server's ID and, unless it failed, the caller's tag."""
        found = [self.host, f"{self.host}/{self.market}"]
        if self.live:
            found.append(LIVE)
        if self.order_id:
            found.append(id_mark(self.host, self.order_id))
        if self.tag and self.status != "failed":
            found.append(tag_mark(self.host, self.tag))
        return tuple(found)

    @property
    def at(self) -> int:
        return self.tclient


def id_mark(host: str, order_id: bytes) -> str:
    """Of the order that the server knows under that ID."""
    return f"{host} id {order_id.hex()}"


def tag_mark(host: str, tag: str) -> str:
    """Of the order that was placed there under that name."""
    return f"{host} tag {tag}"


class EvidenceRecord(Record, kw_only=True):
    """What proves a server's misbehaviour: the accusation and the frames, as JSON text."""

    kind: ClassVar[str] = "evidence"
    name: str
    host: str
    at: int
    accusation: str
    body: bytes

    @property
    def key(self) -> str:
        return self.name


class LedgerRecord(Record, kw_only=True):
    """The newest entry of a market's epoch ledger that the server showed us; what it shows later must follow it."""

    kind: ClassVar[str] = "ledger"
    host: str
    market: str
    line: bytes

    @property
    def key(self) -> str:
        return f"{self.host}/{self.market}"


class SwapRecord(Record, kw_only=True):
    """One match from our side: the facts (`swap`), and the transactions that we keep so as to repeat their bytes.

    `own` is the chain on which we pay, `other` the one on which we are paid. A trader matched with its own order
    has two records, one for each side.
    """

    kind: ClassVar[str] = "swap"
    host: str
    party: Party
    order_key: str
    order_id: bytes
    market: str
    base: int
    quote: int
    quantity: int
    rate: int
    own_asset: int
    other_asset: int
    fee_limit: int
    """The highest fee rate of our contract's transaction that the order's funds cover, atoms per vbyte."""
    swap: Swap
    own_tx: bytes = b""
    their_tx: bytes = b""
    their_value: int = 0
    redeem_tx: bytes = b""
    refund_tx: bytes = b""
    papers: dict[str, bytes] = msgspec.field(default_factory=dict)
    """By route, what the server signed of this match, as JSON: for a swap proof."""
    outcome: str = ""
    """Empty while coins can still move, then swapped, refunded, void or lost."""
    closed: bool = False
    """It has an outcome, and the server has heard of everything that it wants to hear."""

    @property
    def key(self) -> str:
        return f"{self.match_id.hex()}:{self.role}"

    @property
    def marks(self) -> tuple[str, ...]:
        """The host, the market there, the hash of the secret, and of both contracts the coin and the script."""
        found = [self.host, f"{self.host}/{self.market}"]
        if not self.closed:
            found.append(LIVE)
        if self.swap.secret_hash:
            found.append(secret_mark(self.swap.secret_hash))
        for leg in self.swap.legs:
            if leg.known:
                found += [coin_mark(leg.coin_id), contract_mark(leg.contract)]
        return tuple(dict.fromkeys(found))

    @property
    def at(self) -> int:
        return self.swap.terms.made_ms

    @property
    def match_id(self) -> bytes:
        return self.swap.terms.match_id

    @property
    def role(self) -> str:
        """maker or taker."""
        return self.party.name.lower()


def secret_mark(secret_hash: bytes) -> str:
    """Of the swaps with that hash."""
    return f"secret {secret_hash.hex()}"


def coin_mark(coin_id: bytes) -> str:
    """Of the swaps one of whose contracts holds that coin."""
    return f"coin {coin_id.hex()}"


def contract_mark(contract: bytes) -> str:
    """Of the swaps with that contract."""
    return f"contract {contract.hex()}"
