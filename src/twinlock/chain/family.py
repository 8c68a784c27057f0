"""The seam between the exchange and a family of chains.

Everything above `chain` that handles coin IDs, swap contracts, bonds, proofs of funds or fees does it
through a `Family`. Coin IDs, contracts and raw transactions are opaque bytes to the callers, addresses
are text, amounts are atoms. "Script" below means an output script where a chain has outputs, and
elsewhere whatever key the family's own chain view watches: callers pass it on and never look inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twinlock.chain.coin import Coin
from twinlock.chain.keys import PrivateKey
from twinlock.chain.signatures import Claim
from twinlock.chain.terms import BondTerms, CoinPoint, ContractAudit, ContractTerms

__all__ = ["BondTerms", "CoinPoint", "ContractAudit", "ContractTerms", "Family"]


class Family(Protocol):
    """What the exchange needs to know of a chain; every member is pure."""

    @property
    def coin(self) -> Coin:
        """The coin that this value serves."""
        ...

    @property
    def redeem_size(self) -> int:
        """Fee units (vbytes, gas) of redeeming one contract as the protocol counts; a real one may need one more."""
        ...

    @property
    def refund_size(self) -> int:
        """Fee units of refunding one contract, counted likewise."""
        ...

    # Coin IDs (protocol section 8) ----------------------------------------------------------------

    def coin_id(self, txid: str, index: int) -> bytes:
        """From the displayed transaction ID and the output (for a redemption: input) index."""
        ...

    def parse_coin_id(self, coin_id: bytes) -> CoinPoint:
        """Raises CoinIdError."""
        ...

    def coin_id_text(self, coin_id: bytes) -> str:
        """For people. Raises CoinIdError."""
        ...

    # Addresses ------------------------------------------------------------------------------------

    def address_of(self, pubkey: bytes) -> str:
        """The canonical swap address paid to the holder of this public key (33 bytes)."""
        ...

    def check_receive_address(self, text: str) -> str:
        """`text` itself where it is the canonical spelling of a swap address of this network.

        Addresses are later compared as text, so any other spelling is refused too. Raises AddressError.
        """
        ...

    # Swap contracts (protocol section 8.2) --------------------------------------------------------

    def make_contract(self, recipient: str, sender: str, secret_hash: bytes, lock_time: int, value: int = 0) -> bytes:
        """The contract between two swap addresses; lock_time in s. Raises AddressError, ContractError.

        value: atoms that will fund it, for families whose contracts name their value.
        """
        ...

    def parse_contract(self, contract: bytes) -> ContractTerms:
        """Raises ContractError unless every byte is as the protocol says."""
        ...

    def contract_script(self, contract: bytes) -> bytes:
        """The output script that locks funds in the contract, by which a chain view sees it funded and spent."""
        ...

    def audit_contract(self, contract: bytes, coin_id: bytes, raw_tx: bytes) -> ContractAudit:
        """Check that `raw_tx` is the transaction of `coin_id` and pays the contract there.

        Raises ContractError, CoinIdError, MalformedError. Amounts, parties and times are the caller's
        to judge.
        """
        ...

    def find_secret(self, raw_tx: bytes, point: CoinPoint, secret_hash: bytes) -> bytes | None:
        """The 32-byte secret that `raw_tx` shows where it redeems the contract at `point`, if it does.

        Raises MalformedError.
        """
        ...

    # Transactions ---------------------------------------------------------------------------------

    def tx_id(self, raw_tx: bytes) -> str:
        """The displayed transaction ID. Raises MalformedError."""
        ...

    def spends(self, raw_tx: bytes, input_index: int) -> CoinPoint:
        """What that input spends. Raises MalformedError, CoinIdError if there is no such input."""
        ...

    def inputs(self, raw_tx: bytes) -> tuple[CoinPoint, ...]:
        """What every input spends, in order. Raises MalformedError."""
        ...

    def output_value(self, raw_tx: bytes, index: int) -> int:
        """Atoms of that output. Raises MalformedError, CoinIdError if there is no such output."""
        ...

    def fee_rate(self, raw_tx: bytes, inputs_value: int) -> int:
        """floor(fee / size) in atoms per fee unit, given the sum of the inputs in atoms. Raises MalformedError."""
        ...

    # Amounts (protocol sections 5.8, 8.2) ---------------------------------------------------------

    def required_funds(self, value: int, lots: int, inputs_size: int, max_fee_rate: int) -> int:
        """Atoms that an order's coins must hold together; inputs_size is a sum of `input_size`."""
        ...

    def swap_size(self, inputs_size: int, contracts: int) -> int:
        """Fee units of a swap transaction with that many contracts and a change output."""
        ...

    def min_lot(self, max_fee_rate: int) -> int:
        """The smallest sensible contract in atoms."""
        ...

    def min_bond(self, max_fee_rate: int) -> int:
        """The smallest sensible bond in atoms."""
        ...

    # Bonds (protocol section 4.5) -----------------------------------------------------------------

    def make_bond_script(self, lock_time: int, pubkey_hash: bytes) -> bytes:
        """Raises BondError."""
        ...

    def parse_bond_tx(self, raw_tx: bytes) -> BondTerms:
        """Raises BondError, MalformedError."""
        ...

    def pubkey_hash(self, pubkey: bytes) -> bytes:
        """20 bytes; the hash that contracts and bonds name."""
        ...

    # Proof of funds (protocol section 5.6) --------------------------------------------------------

    def coin_proof(self, coin_id: bytes, keys: Sequence[PrivateKey]) -> tuple[list[bytes], list[bytes]]:
        """(public keys, signatures) that prove control of the coin."""
        ...

    def coin_proof_claims(
        self,
        prevout_script: bytes,
        redeem_script: bytes,
        coin_id: bytes,
        pubkeys: Sequence[bytes],
        sigs: Sequence[bytes],
    ) -> list[Claim]:
        """The signatures that are left to check. Raises CoinProofError unless the keys satisfy the output."""
        ...

    def input_size(self, prevout_script: bytes, redeem_script: bytes) -> int:
        """Worst-case fee units of spending the output. Raises CoinProofError for unsupported kinds."""
        ...
