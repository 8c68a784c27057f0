"""What a wallet gives and takes. Amounts are atoms, fee rates atoms per vbyte, coin IDs those of the exchange."""

from __future__ import annotations

from typing import Literal

import msgspec

CoinState = Literal["available", "locked", "unconfirmed", "immature", "outside"]
"""What a coin of ours is good for: to be spent; promised to an order or a transaction of ours; not yet, as it
comes from somebody else's unconfirmed transaction; not yet, as it was mined less than `maturity` blocks ago; to be
spent only with a signature from elsewhere, such as a hardware wallet's."""

StakeKind = Literal["swap", "bond"]


class WalletCoin(msgspec.Struct, frozen=True):
    """An unspent output of ours. height: its block, None in the mempool."""

    coin_id: bytes
    value: int
    address: str
    height: int | None
    state: CoinState
    locked_for: str = ""


class Stake(msgspec.Struct, frozen=True):
    """Money of ours in an output that is not ours alone: a swap contract or a bond, as long as nothing spends it.

    lock_time: s, when it may be taken back. reference: the match ID (hex) or the bond's account (hex).
    """

    coin_id: bytes
    kind: StakeKind
    value: int
    lock_time: int
    reference: str
    height: int | None = None


class Balance(msgspec.Struct, frozen=True):
    """Each atom once. locked: promised to orders or to signed transactions. in_swap: in contracts not yet redeemed or
    refunded. bonded: in bonds. unconfirmed: coming from others, not in a block yet. outside: ours, but only a
    signature from elsewhere can spend it.
    """

    available: int = 0
    locked: int = 0
    in_swap: int = 0
    bonded: int = 0
    immature: int = 0
    unconfirmed: int = 0
    outside: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        spendable = self.available + self.locked + self.immature + self.unconfirmed + self.outside
        return spendable + self.in_swap + self.bonded


class SignedTx(msgspec.Struct, frozen=True):
    """A transaction ready to be stored and broadcast.

    outputs: the coin IDs of what was asked for, in that order (contracts, the bond, payments). change: coin ID of the
    change, None without. inputs: coin IDs spent.
    """

    txid: str
    raw: bytes
    fee: int
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    change: bytes | None = None


class Funding(msgspec.Struct, frozen=True):
    """Coins set aside for an order. required: the sum that the server asks for (protocol section 5.8).

    split: if the coins come out of a split transaction, that transaction; broadcast it before the order is sent.
    """

    coins: tuple[WalletCoin, ...]
    required: int
    split: SignedTx | None = None

    @property
    def total(self) -> int:
        """Sum of the coins' values."""
        return sum(coin.value for coin in self.coins)


class BondDraft(msgspec.Struct, frozen=True):
    """A bond before and after signing; both have the same txid, as its inputs are segwit.

    unsigned: raw bytes for `prevalidatebond`. signed: what to broadcast, once the server agreed.
    """

    unsigned: bytes
    script: bytes
    signed: SignedTx


class Payment(msgspec.Struct, frozen=True):
    """One line of the wallet's history. net: what the wallet gained, fees included, negative if it paid.

    fee: None where others paid it. height: None in the mempool. time: s, of the block; None in the mempool.
    """

    txid: str
    net: int
    fee: int | None
    height: int | None
    time: int | None
    label: str = ""


class Reach(msgspec.Struct, frozen=True):
    """How far back a wallet looks. birthday: height below which it does not; older: transactions that lie there all the
    same; first_block: the lowest block with anything of ours, 0 for none.
    """

    birthday: int
    older: int
    first_block: int
