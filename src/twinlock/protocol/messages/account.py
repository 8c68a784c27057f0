"""Accounts: connecting, bonds and reputation (protocol sections 3.3 to 3.5)."""

from __future__ import annotations

from msgspec import field

from twinlock.protocol.messages.status import ActiveMatch, ActiveOrder
from twinlock.protocol.wire import EMPTY, I32, I64, U8, U16, U32, U64, Hex, Payload, Signed, u8, u16, u32, u64


class Connect(Signed, kw_only=True, frozen=True):
    """Log in to an account. `timestamp` is ms; the server does not check it."""

    account_id: Hex = field(name="accountid")
    api_version: U16 = field(name="apiver", default=0)
    timestamp: U64

    def signed_bytes(self) -> bytes:
        return self.account_id + u16(self.api_version) + u64(self.timestamp)


class Reputation(Payload, kw_only=True, frozen=True):
    """Standing of an account. The effective tier is `bonded_tier - penalties`."""

    bonded_tier: I64 = field(name="bondedTier")
    penalties: U16
    score: I32


class ActiveBond(Payload, kw_only=True, frozen=True):
    """A bond that counts. `expiry` is the second at which it ceases to count, before its lock time."""

    version: U16
    amount: U64
    expiry: U64
    coin_id: Hex = field(name="coinID")
    asset_id: U32 = field(name="assetID")
    strength: U32


class ConnectResult(Payload, kw_only=True, frozen=True):
    """The answer to `connect`; `sig` is the server's, over the bytes that the client signed."""

    sig: Hex
    active_orders: list[ActiveOrder] = field(name="activeorderstatuses", default_factory=list)
    active_matches: list[ActiveMatch] = field(name="activematches", default_factory=list)
    score: I32
    active_bonds: list[ActiveBond] = field(name="activeBonds", default_factory=list)
    reputation: Reputation


class PreValidateBond(Signed, kw_only=True, frozen=True):
    """Ask whether an unsigned bond transaction would be accepted."""

    account_key: Hex = field(name="acctPubKey")
    asset_id: U32 = field(name="assetID")
    version: U16
    tx: Hex

    def signed_bytes(self) -> bytes:
        return self.account_key + u32(self.asset_id) + u16(self.version) + self.tx


class PreValidateBondResult(Payload, kw_only=True, frozen=True):
    """The server's promise to accept the bond. Its signature also covers the transaction that was asked about."""

    sig: Hex = EMPTY
    account_id: Hex = field(name="accountID")
    asset_id: U32 = field(name="assetID")
    amount: U64
    expiry: U64

    def signed_bytes(self, tx: bytes) -> bytes:
        """`tx` is the unsigned raw transaction of the request."""
        return self.account_id + u32(self.asset_id) + u64(self.amount) + u64(self.expiry) + tx


class PostBond(Signed, kw_only=True, frozen=True):
    """Claim a bond that is on chain, or redeem a prepaid code (asset 2^31 - 1, `coin_id` = the code)."""

    account_key: Hex = field(name="acctPubKey")
    asset_id: U32 = field(name="assetID")
    version: U16
    coin_id: Hex = field(name="coinid")

    def signed_bytes(self) -> bytes:
        return self.account_key + u32(self.asset_id) + u16(self.version) + self.coin_id


class PostBondResult(Signed, kw_only=True, frozen=True):
    """An accepted bond. The server signs only the account and the bond's coin ID."""

    account_id: Hex = field(name="accountID")
    asset_id: U32 = field(name="assetID")
    amount: U64
    expiry: U64
    strength: U32
    bond_id: Hex = field(name="bondID")
    reputation: Reputation

    def signed_bytes(self) -> bytes:
        return self.account_id + self.bond_id


class BondExpired(Signed, kw_only=True, frozen=True):
    """A bond stopped counting."""

    account_id: Hex = field(name="accountID")
    asset_id: U32 = field(name="assetid")
    coin_id: Hex = field(name="coinid")
    tier: I64
    reputation: Reputation

    def signed_bytes(self) -> bytes:
        return self.account_id + u32(self.asset_id) + self.coin_id + u64(self.tier)


class TierChange(Signed, kw_only=True, frozen=True):
    """The effective tier changed."""

    tier: I64
    reputation: Reputation
    reason: str

    def signed_bytes(self) -> bytes:
        return u64(self.tier) + self.reason.encode()


class ScoreChange(Signed, kw_only=True, frozen=True):
    """The score changed, but not the tier."""

    reputation: Reputation

    def signed_bytes(self) -> bytes:
        standing = self.reputation
        return u64(standing.bonded_tier) + u16(standing.penalties) + u32(standing.score & 0xFFFFFFFF)


class Penalty(Payload, kw_only=True, frozen=True):
    """A broken rule: 0 none, 1 preimage, 2 failure to act, 3 cancellation rate, 4 low fees. `timestamp` is ms."""

    rule: U8
    timestamp: U64
    details: str


class PenaltyNote(Signed, kw_only=True, frozen=True):
    """The payload of `penalty`."""

    penalty: Penalty

    def signed_bytes(self) -> bytes:
        return u8(self.penalty.rule) + u64(self.penalty.timestamp) + self.penalty.details.encode()
