"""Transactions as evidence: only those bytes that a block or a signature vouches for.

A transaction's ID covers all but its witnesses. So a funding is shown without any, and a spending with that of the
contract's input alone, whose signature is checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from twinlock.chain import script, sighash
from twinlock.chain.coin import Coin
from twinlock.chain.contract import SwapContract
from twinlock.chain.errors import ContractError
from twinlock.chain.keys import verify
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxIn
from twinlock.kernels.ripemd160 import hash160

_REFUND, _REDEEM = 4, 5
"""Items on the stack that spends a contract: signature, key, then b"" or secret and 1, then the contract."""


def bare(raw: bytes, keep: CoinPoint | None = None) -> bytes:
    """The transaction without its witnesses but that of the input which spends `keep`. Raises MalformedError."""
    tx = Tx.parse(raw)
    inputs = (txin if txin.point == keep else _with_witness(txin, ()) for txin in tx.inputs)
    return Tx(tx.version, tuple(inputs), tx.outputs, tx.lock_time).serialize()


def check_spending(coin: Coin, raw: bytes, point: CoinPoint, value: int, contract: bytes) -> None:
    """Is this, without other witnesses, a transaction that a party of the contract signed to spend it at `point`?

    value: atoms of the contract's output. Raises ContractError, MalformedError.
    """
    if bare(raw, point) != raw:
        raise ContractError("the transaction holds more than it can prove", code="chain.contract.evidence")
    tx = Tx.parse(raw)
    index = next((i for i, txin in enumerate(tx.inputs) if txin.point == point), None)
    if index is None:
        raise ContractError("the transaction does not spend the contract", code="chain.contract.point")
    stack = tx.inputs[index].witness if coin.segwit else script.pushes(tx.inputs[index].script)
    key_hash = _signer(stack, contract)
    unsigned = Tx(tx.version, tuple(_with_witness(txin, ()) for txin in tx.inputs), tx.outputs, tx.lock_time)
    if coin.segwit:
        digest = sighash.segwit_v0_digest(unsigned, index, contract, value, stack[0][-1])
    else:
        digest = sighash.legacy_digest(unsigned, index, contract, stack[0][-1])
    if hash160(stack[1]) != key_hash or not verify(stack[1], digest, stack[0][:-1]):
        raise ContractError("no party of the contract signed this", code="chain.contract.signature")


def _signer(stack: Sequence[bytes], contract: bytes) -> bytes:
    """The hash of the key that must have signed, by the branch that the stack takes."""
    terms = SwapContract.parse(contract)
    if len(stack) not in (_REFUND, _REDEEM) or stack[-1] != contract or not stack[0]:
        raise ContractError("the stack does not unlock the contract", code="chain.contract.stack")
    branch, wanted = (stack[2], b"") if len(stack) == _REFUND else (stack[3], b"\x01")
    if branch != wanted:
        raise ContractError("the stack takes no branch of the contract", code="chain.contract.stack")
    return terms.sender if len(stack) == _REFUND else terms.recipient


def _with_witness(txin: TxIn, witness: tuple[bytes, ...]) -> TxIn:
    return TxIn(txin.prev_hash, txin.prev_index, txin.script, txin.sequence, witness)
