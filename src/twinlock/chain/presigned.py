"""Transactions that are signed long before they are sent, so that somebody without any key can send them.

A refund is complete and only waits for its lock time. A redemption lacks the secret, which no signature covers:
whoever learns the secret puts it into its place. Both pay one output that the signer chose, at a fee that cannot be
changed, so a signer hands out a ladder of them, each rung at a higher fee rate than the one below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from twinlock.chain import script, sighash, spend
from twinlock.chain.coin import Coin
from twinlock.chain.contract import SECRET_SIZE, SwapContract, is_secret
from twinlock.chain.errors import ContractError, FundsError
from twinlock.chain.keys import PrivateKey, verify
from twinlock.chain.spend import Input
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import FINAL, Tx, TxIn
from twinlock.kernels.ripemd160 import hash160

REPLACEABLE = FINAL - 2
"""A sequence that lets lock times count and allows a replacement with a higher fee (BIP 125)."""

NO_SECRET = bytes(SECRET_SIZE)
"""Stands where the secret belongs."""

STEP = 2
"""Each rung's fee rate is so many times the one below."""

_TRUE = b"\x01"
_SECRET_PLACE = 2


class Locked(msgspec.Struct, frozen=True):
    """A contract's output. value: atoms."""

    point: CoinPoint
    value: int
    contract: bytes


class Rung(msgspec.Struct, frozen=True):
    """One transaction of a ladder. fee_rate: atoms per vbyte, rounded down."""

    fee_rate: int
    raw: bytes


Check = Callable[[Coin, Locked, bytes], Rung]
"""`check_refund` or `check_redeem`."""


def refund_ladder(coin: Coin, locked: Locked, key: PrivateKey, to_script: bytes, fee_rate: int) -> tuple[Rung, ...]:
    """Refunds of a contract, from `fee_rate` up to what the coin allows or the value bears. Raises ContractError."""
    source = spend.refund_input(coin, locked.point, locked.value, locked.contract, key)
    source = msgspec.structs.replace(source, sequence=REPLACEABLE)
    lock_time = SwapContract.parse(locked.contract).lock_time
    return _ladder(coin, source, to_script, fee_rate, lock_time)


def redeem_ladder(coin: Coin, locked: Locked, key: PrivateKey, to_script: bytes, fee_rate: int) -> tuple[Rung, ...]:
    """Redemptions of a contract, complete but for the secret. Raises ContractError for somebody else's key."""
    if hash160(key.public) != SwapContract.parse(locked.contract).recipient:
        raise ContractError("the key is not the recipient's", code="chain.contract.key", fault="twinlock")
    source = Input(
        point=locked.point,
        value=locked.value,
        script=spend.lock_script(coin, locked.contract),
        script_code=locked.contract,
        rest=(key.public, NO_SECRET, _TRUE, locked.contract),
        key=key,
        sequence=REPLACEABLE,
    )
    return _ladder(coin, source, to_script, fee_rate, 0)


def _ladder(coin: Coin, source: Input, to_script: bytes, fee_rate: int, lock_time: int) -> tuple[Rung, ...]:
    rungs: list[Rung] = []
    rate = min(max(1, fee_rate), coin.max_fee_rate)
    while True:
        try:
            payment = spend.build_sweep(coin, [source], to_script, rate, lock_time)
        except FundsError:
            break  # the fee would eat the contract
        rungs.append(Rung(rate, payment.raw))
        if rate >= coin.max_fee_rate:
            break
        rate = min(rate * STEP, coin.max_fee_rate)
    return tuple(rungs)


def complete(coin: Coin, raw: bytes, secret: bytes) -> bytes:
    """A redemption with the secret in its place. Raises ContractError if it is not the contract's secret."""
    tx, stack = _single(coin, raw)
    if len(stack) != 5 or not is_secret(secret, SwapContract.parse(stack[-1]).secret_hash):
        raise ContractError("that is not the secret of this contract", code="chain.contract.secret")
    filled = (*stack[:_SECRET_PLACE], secret, *stack[_SECRET_PLACE + 1 :])
    return Tx(tx.version, (_with_stack(coin, tx.inputs[0], filled),), tx.outputs, tx.lock_time).serialize()


def check_refund(coin: Coin, locked: Locked, raw: bytes) -> Rung:
    """Is this a refund of the contract that a chain will take once the lock time has passed? Raises ContractError."""
    tx, stack = _single(coin, raw)
    terms = SwapContract.parse(locked.contract)
    _require(len(stack) == 4 and stack[2] == b"" and stack[3] == locked.contract, "shape")
    _require(tx.lock_time == terms.lock_time and tx.inputs[0].sequence < FINAL, "lock_time")
    return _check(coin, locked, raw, tx, stack, terms.sender)


def check_redeem(coin: Coin, locked: Locked, raw: bytes) -> Rung:
    """Is this a redemption that only lacks the secret? Raises ContractError."""
    tx, stack = _single(coin, raw)
    _require(len(stack) == 5 and stack[3] == _TRUE and stack[4] == locked.contract, "shape")
    _require(tx.lock_time == 0, "lock_time")
    return _check(coin, locked, raw, tx, stack, SwapContract.parse(locked.contract).recipient)


def _check(coin: Coin, locked: Locked, raw: bytes, tx: Tx, stack: Sequence[bytes], key_hash: bytes) -> Rung:
    signature, pubkey = stack[0], stack[1]
    _require(tx.inputs[0].point == locked.point, "point")
    _require(hash160(pubkey) == key_hash and signature[-1:] == bytes((sighash.ALL,)), "key")
    bare = Tx(tx.version, (_with_stack(coin, tx.inputs[0], ()),), tx.outputs, tx.lock_time)
    if coin.segwit:
        digest = sighash.segwit_v0_digest(bare, 0, locked.contract, locked.value)
    else:
        digest = sighash.legacy_digest(bare, 0, locked.contract)
    _require(verify(pubkey, digest, signature[:-1]), "signature")
    fee = locked.value - tx.total_out
    _require(fee > 0 and len(tx.outputs) == 1, "fee")
    return Rung(fee // tx.vsize, raw)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ContractError(
            f"the transaction would not spend the contract: {reason}", code=f"chain.contract.presigned_{reason}"
        )


def _single(coin: Coin, raw: bytes) -> tuple[Tx, tuple[bytes, ...]]:
    """The transaction and what its one input puts on the stack."""
    tx = Tx.parse(raw)
    _require(len(tx.inputs) == 1, "inputs")
    txin = tx.inputs[0]
    return tx, tuple(txin.witness) if coin.segwit else script.pushes(txin.script)


def _with_stack(coin: Coin, txin: TxIn, stack: Sequence[bytes]) -> TxIn:
    if coin.segwit:
        return TxIn(txin.prev_hash, txin.prev_index, b"", txin.sequence, tuple(stack))
    unlocking = b"".join(script.push_shortest(item) for item in stack)
    return TxIn(txin.prev_hash, txin.prev_index, unlocking, txin.sequence)
