"""What the exchange reads out of transactions and contracts, the same for every family."""

from __future__ import annotations

import msgspec


class CoinPoint(msgspec.Struct, frozen=True, order=True):
    """A place in a transaction: an output, or for a redemption an input.

    tx_hash: 32 bytes in internal order (the reverse of the displayed hex).
    """

    tx_hash: bytes
    index: int

    @property
    def txid(self) -> str:
        """The displayed transaction ID."""
        return self.tx_hash[::-1].hex()

    def __str__(self) -> str:
        return f"{self.txid}:{self.index}"


class ContractTerms(msgspec.Struct, frozen=True):
    """Who gets a contract's funds: recipient with the secret, sender from lock_time (s) on."""

    recipient: str
    sender: str
    secret_hash: bytes
    lock_time: int


class ContractAudit(msgspec.Struct, frozen=True):
    """A contract as a transaction funds it; value in atoms."""

    terms: ContractTerms
    value: int
    point: CoinPoint


class BondTerms(msgspec.Struct, frozen=True):
    """A version 0 bond as its transaction states it.

    account_id: 32 bytes. amount: atoms. lock_time: s. pubkey_hash: 20 bytes. script: the bond script.
    point: the bond's output, always index 0.
    """

    version: int
    account_id: bytes
    amount: int
    lock_time: int
    pubkey_hash: bytes
    script: bytes
    point: CoinPoint
