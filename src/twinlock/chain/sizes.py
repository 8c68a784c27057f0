"""Sizes in vbytes and what follows from them: funds an order needs, smallest lot, smallest bond.

The figures are the protocol's (sections 5.8 and 8.2): both sides must count alike, so they stay as
they are even where a real transaction is a byte or two smaller or larger.
"""

from __future__ import annotations

import msgspec

from twinlock.chain import script
from twinlock.chain.errors import CoinProofError
from twinlock.chain.script import Kind
from twinlock.chain.wire import compact_len

SIGNATURE = 73
"""Worst-case DER signature with its hash type byte."""

PUBKEY = 33
"""A compressed key."""

REDEEM_DATA = 241
"""Bytes of a redemption's signature script or witness: signature, key, secret, branch, contract."""

REFUND_DATA = 208
"""The same of a refund: signature, key, branch, contract."""

BOND_DATA = 142
"""The same of a bond's refund: signature, key, script."""


class SizeTable(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of a kind of chain, in vbytes.

    swap_base: a swap transaction with one contract and change, without inputs; swap: the same with one
    standard input. contract_output: each further contract. payout_output: an output of the normal type.
    dust_input: what spending an output adds to its dust limit beside 41 bytes; dust_output: the output
    that the smallest lot and bond are reckoned with. discount: bytes of an input's unlocking data that
    make one vbyte; data_overhead: bytes that frame that data.
    """

    swap_base: int
    swap: int
    contract_output: int
    payout_output: int
    dust_input: int
    dust_output: int
    discount: int
    data_overhead: int

    def contract_spend(self, data: int) -> int:
        """A transaction with one input, which spends a contract with `data` bytes, and one output."""
        return 10 + 40 + -(-(data + self.data_overhead) // self.discount) + self.payout_output


SEGWIT = SizeTable(
    swap_base=84,
    swap=153,
    contract_output=43,
    payout_output=31,
    dust_input=26,
    dust_output=43,
    discount=4,
    data_overhead=2,
)
LEGACY = SizeTable(
    swap_base=76,
    swap=225,
    contract_output=32,
    payout_output=34,
    dust_input=107,
    dust_output=34,
    discount=1,
    data_overhead=0,
)


def required_funds(table: SizeTable, value: int, lots: int, inputs_size: int, max_fee_rate: int) -> int:
    """Atoms that the coins of an order must hold (section 5.8)."""
    return value + (lots * table.swap + inputs_size + table.swap_base - table.swap) * max_fee_rate


def swap_size(table: SizeTable, inputs_size: int, contracts: int) -> int:
    """A swap transaction with that many contracts and change."""
    return table.swap_base + inputs_size + (contracts - 1) * table.contract_output


def min_lot(table: SizeTable, max_fee_rate: int) -> int:
    """Smallest contract in atoms that is worth redeeming."""
    return _min_output(table, REDEEM_DATA, max_fee_rate)


def min_bond(table: SizeTable, max_fee_rate: int) -> int:
    """Smallest bond in atoms that is worth refunding."""
    return _min_output(table, BOND_DATA, max_fee_rate)


def _min_output(table: SizeTable, data: int, max_fee_rate: int) -> int:
    return dust_limit(table, table.dust_output, max_fee_rate) + table.contract_spend(data) * max_fee_rate


def dust_limit(table: SizeTable, output_size: int, fee_rate: int) -> int:
    """Atoms below which an output costs too large a part of itself to spend (section 8.2)."""
    return 3 * (output_size + 41 + table.dust_input) * fee_rate


def input_size(prevout_script: bytes, redeem_script: bytes) -> int:
    """Worst-case vbytes of spending the output. Raises CoinProofError for kinds that cannot fund orders."""
    match script.kind(prevout_script):
        case Kind.P2WPKH:
            return 41 + 28
        case Kind.P2PKH | Kind.P2PK:
            return _legacy_input(_unlock_size(prevout_script))
        case Kind.P2SH:
            # OP_CHECKMULTISIG takes one element in vain.
            extra = script.kind(redeem_script) == Kind.MULTISIG
            return _legacy_input(extra + _unlock_size(redeem_script) + 1 + len(redeem_script))
        case Kind.P2WSH:
            return 41 + -(-(_unlock_size(redeem_script) + 1 + len(redeem_script)) // 4)
    raise CoinProofError("outputs of this kind cannot fund an order", code="chain.coin_proof.kind")


def _legacy_input(script_size: int) -> int:
    return 40 + compact_len(script_size) + script_size


def _unlock_size(output: bytes) -> int:
    """Signatures and keys, each behind one byte of length, that satisfy a P2PK, P2PKH or multisig script."""
    match script.kind(output):
        case Kind.P2PKH:
            return 1 + SIGNATURE + 1 + PUBKEY
        case Kind.P2PK:
            return 1 + SIGNATURE
        case Kind.MULTISIG if (parsed := script.parse_multisig(output)) is not None:
            return parsed[0] * (1 + SIGNATURE)
    raise CoinProofError("the redeem script is not a standard one", code="chain.coin_proof.redeem_script")
