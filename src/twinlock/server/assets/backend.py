"""The seam between the exchange and a chain, and the values that cross it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from twinlock.chain.coins import Coin
from twinlock.chain.family import Family
from twinlock.chain.terms import BondTerms, ContractTerms
from twinlock.errors import Fault, TwinlockError
from twinlock.protocol.messages.orders import Coin as CoinProof


class CoinNotFoundError(TwinlockError):
    """The chain and the mempool do not show this coin now; it may appear later."""

    code = "asset.coin_not_found"
    fault: Fault = "peer"


class CoinSpentError(TwinlockError):
    """The coin is there, but something spends it."""

    code = "asset.coin_spent"
    fault: Fault = "peer"


class FeeUnknownError(TwinlockError):
    """An unconfirmed transaction has more inputs than are looked up, so nobody can say what it pays."""

    code = "asset.fee_unknown"
    fault: Fault = "user"

    def __init__(self, txid: str, inputs: int, most: int) -> None:
        super().__init__(
            f"transaction {txid} has {inputs} inputs, too many to look up what it pays",
            numbers={"inputs": inputs, "most": most},
            fix="wait for its first confirmation",
        )


class RedemptionError(TwinlockError):
    """The transaction does not redeem the contract it should."""

    code = "asset.redemption"
    fault: Fault = "peer"


class AssetTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set for an asset. Fee rates: atoms per fee unit; bond_amount: atoms, 0 for no bonds.

    fee_scale: as configured; what was set since then is the backend's.
    """

    max_fee_rate: int
    swap_conf: int
    bond_amount: int = 0
    bond_confs: int = 1
    fee_scale: float = 1.0


class FundingCoin(msgspec.Struct, frozen=True):
    """A coin that may fund an order. value: atoms; input_size: fee units of spending it.

    fee_rate: of its transaction while that is unconfirmed, else None.
    """

    coin_id: bytes
    value: int
    input_size: int
    confirmations: int
    fee_rate: int | None = None


class SwapCoin(msgspec.Struct, frozen=True):
    """A contract as the chain shows it. value: atoms; fee_rate: atoms per fee unit, None once confirmed."""

    terms: ContractTerms
    value: int
    confirmations: int
    fee_rate: int | None
    raw_tx: bytes


class Redeeming(msgspec.Struct, frozen=True):
    """A redemption: the coin ID of the input that spends the contract, and the secret that it shows."""

    coin_id: bytes
    secret: bytes


class BondCoin(msgspec.Struct, frozen=True):
    """An unspent bond as the chain shows it."""

    terms: BondTerms
    confirmations: int


class AssetBackend(Protocol):
    """One asset. Every method but `run` ends within a bounded time."""

    @property
    def coin(self) -> Coin: ...

    @property
    def family(self) -> Family: ...

    @property
    def terms(self) -> AssetTerms: ...

    @property
    def synced(self) -> bool:
        """The chain is in view and up to date."""
        ...

    @property
    def fee_rate(self) -> int:
        """The last known rate for swaps, at most `terms.max_fee_rate` (protocol section 6.4)."""
        ...

    @property
    def chain_fee_rate(self) -> int:
        """What the chain itself said last, neither scaled nor capped; 0 before it said anything."""
        ...

    def on_block(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after each new tip."""
        ...

    async def run(self) -> None:
        """Follow the chain for ever."""
        ...

    async def refresh_fee_rate(self) -> int:
        """Ask for the rate, at most a second long, and return the one to use."""
        ...

    def set_fee_scale(self, factor: float) -> None:
        """Scale the rates that the chain gives by the operator's factor."""
        ...

    async def funding(self, proof: CoinProof) -> FundingCoin:
        """Check that the coin is unspent and that the proof shows control over it.

        Raises CoinNotFoundError, CoinSpentError, FeeUnknownError, and the family's CoinIdError and CoinProofError.
        """
        ...

    async def unspent(self, coin_id: bytes) -> bool:
        """Whether the coin exists and nothing spends it."""
        ...

    async def swap(self, coin_id: bytes, contract: bytes) -> SwapCoin:
        """The contract at that coin. Raises CoinNotFoundError, FeeUnknownError, ContractError, CoinIdError."""
        ...

    async def swap_confirmations(self, coin_id: bytes, contract: bytes) -> int | None:
        """How deep a contract is; None if the chain no longer shows it."""
        ...

    async def redemption(self, coin_id: bytes, swap_coin: bytes, contract: bytes) -> None:
        """Check that the input `coin_id` names spends the contract at `swap_coin`.

        Raises CoinNotFoundError, RedemptionError, CoinIdError.
        """
        ...

    async def redeemed(self, swap_coin: bytes, contract: bytes) -> Redeeming | None:
        """Who has redeemed the contract at `swap_coin`, be it only in the mempool; None if nobody has.

        Raises ElectrumError where the chain cannot be asked.
        """
        ...

    async def bond(self, coin_id: bytes) -> BondCoin:
        """The bond at that coin. Raises CoinNotFoundError, CoinSpentError, BondError, CoinIdError."""
        ...
