"""The seam between trading and coins: what orders, bonds and swaps ask of a wallet, whoever holds its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from twinlock.chain.keys import PrivateKey
from twinlock.chain.presigned import Rung
from twinlock.client.wallet.types import (
    Balance,
    BondDraft,
    Funding,
    Payment,
    Reach,
    SignedTx,
    Stake,
    StakeKind,
    WalletCoin,
)


class Wallet(Protocol):
    """Light, node and cold wallets are such; docstrings stand at `LightWallet`.

    Swap keys follow from our own seed in all of them. What signs stores what it signed, and never broadcasts.
    """

    @property
    def scanned(self) -> bool: ...

    @property
    def reach(self) -> Reach: ...

    def balance(self) -> Balance: ...

    def coins(self) -> tuple[WalletCoin, ...]: ...

    def stakes(self) -> tuple[Stake, ...]: ...

    def history(self) -> tuple[Payment, ...]: ...

    def changes(self) -> AsyncIterator[Balance]: ...

    async def new_address(self) -> str: ...

    # Orders

    def fund(
        self, value: int, lots: int, max_fee_rate: int, *, reference: str, coins: Sequence[bytes] = ()
    ) -> Funding: ...

    async def fund_splits(
        self, asks: Sequence[tuple[int, int, str]], max_fee_rate: int, fee_rate: int
    ) -> tuple[Funding, ...]: ...

    def plan(self, value: int, lots: int, max_fee_rate: int, *, coins: Sequence[bytes] = ()) -> Funding: ...

    def unsent(self, purpose: str) -> tuple[str, ...]: ...

    async def coin_proof(self, coin_id: bytes) -> tuple[list[bytes], list[bytes], bytes]: ...

    def lock(self, coin_ids: Sequence[bytes], reference: str) -> None: ...

    def unlock(self, coin_ids: Sequence[bytes]) -> None: ...

    # Swaps

    def swap_key(self, match_id: bytes, purpose: str) -> PrivateKey: ...

    def swap_address(self, match_id: bytes, purpose: str = ...) -> str: ...

    async def sign_swap(
        self,
        coin_ids: Sequence[bytes],
        contracts: Sequence[tuple[bytes, bytes, int]],
        fee_rate: int,
        *,
        lock_change: str = "",
    ) -> SignedTx: ...

    async def sign_redeem(
        self, match_id: bytes, contract: bytes, coin_id: bytes, value: int, secret: bytes, fee_rate: int
    ) -> SignedTx: ...

    async def sign_refund(
        self, match_id: bytes, contract: bytes, coin_id: bytes, value: int, fee_rate: int
    ) -> SignedTx: ...

    async def presign(
        self, match_id: bytes, purpose: str, contract: bytes, coin_id: bytes, value: int, fee_rate: int
    ) -> tuple[Rung, ...]: ...

    def add_stake(self, coin_id: bytes, kind: StakeKind, script: bytes, lock_time: int, reference: str) -> None: ...

    # Bonds

    async def make_bond(
        self, amount: int, lock_time: int, account_id: bytes, pubkey: bytes, fee_rate: int
    ) -> BondDraft: ...

    async def refund_bond(
        self, coin_id: bytes, amount: int, script: bytes, key: PrivateKey, fee_rate: int
    ) -> SignedTx: ...

    # Transactions

    async def send(self, address: str, amount: int, fee_rate: int) -> SignedTx: ...

    async def pull(self, txid: str, fee_rate: int, budget: int) -> SignedTx: ...

    async def broadcast(self, raw: bytes) -> str: ...

    def abandon(self, txid: str) -> None: ...
