"""Building and signing transactions: swaps, redemptions, refunds, bonds, payments.

Pure: inputs and keys go in, a signed transaction comes out, the same one for the same arguments. Where somebody else
holds a key (a node, a hardware wallet), a `Draft` is what there is to sign.
Fees are counted to the atom on the largest size the signatures could have, so the paid rate is never
below the asked one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from twinlock.chain import script, sighash, sizes, taproot
from twinlock.chain.bond import BondScript, Commitment
from twinlock.chain.coin import Coin
from twinlock.chain.contract import SwapContract, is_secret
from twinlock.chain.errors import ContractError, FundsError, KeyFormatError, ScriptError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.script import Kind
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import FINAL, MAX_MONEY, Tx, TxIn, TxOut
from twinlock.kernels.ripemd160 import hash160

REFUND_SEQUENCE = FINAL - 1
"""Any sequence below the final one lets the lock time count (BIP 65)."""

_WORST_SIGNATURE = bytes(72)
"""As long as a low-S signature and its hash type byte can be."""

_WORST_PUBKEY = bytes(33)

_TRUE = b"\x01"
_FALSE = b""


class Input(msgspec.Struct, frozen=True):
    """An output to be spent and the key that may.

    value: atoms. script: the output's. script_code: what the signature covers. rest: what the
    unlocking stack holds above the signature, bottom first. key: None where somebody else signs. sequence:
    REFUND_SEQUENCE for lock times. nested: the witness program that a P2SH output hides (BIP 141), if it does.
    The signature of a segwit input covers the value, so that a wrong one is refused by the chain; that of
    an older input does not, so take the value from the transaction itself and from nobody's word.
    """

    point: CoinPoint
    value: int
    script: bytes
    script_code: bytes
    rest: tuple[bytes, ...]
    key: PrivateKey | None
    sequence: int = FINAL
    nested: bytes = b""

    def __repr__(self) -> str:
        # What unlocks the output may hold the secret of a swap.
        return f"Input(point={self.point}, value={self.value})"


class Draft(msgspec.Struct, frozen=True):
    """A transaction before anybody signed it. fee, change: as in `Payment`."""

    tx: Tx
    inputs: tuple[Input, ...]
    fee: int
    change: int | None = None

    @property
    def spent(self) -> tuple[TxOut, ...]:
        """The outputs that it spends, in the order of its inputs."""
        return tuple(TxOut(each.value, each.script) for each in self.inputs)


class Payment(msgspec.Struct, frozen=True):
    """A signed transaction. fee: atoms, exact. change: index of the change output, if there is one."""

    tx: Tx
    fee: int
    change: int | None = None

    @property
    def raw(self) -> bytes:
        """The bytes to store and broadcast."""
        return self.tx.serialize()

    @property
    def unsigned(self) -> bytes:
        """The bytes before signing; the same transaction ID where all inputs are segwit."""
        bare = tuple(TxIn(txin.prev_hash, txin.prev_index, b"", txin.sequence) for txin in self.tx.inputs)
        return Tx(self.tx.version, bare, self.tx.outputs, self.tx.lock_time).serialize()

    @property
    def txid(self) -> str:
        """Display hex."""
        return self.tx.txid


def key_input(point: CoinPoint, value: int, output_script: bytes, key: PrivateKey) -> Input:
    """A P2WPKH, P2SH-P2WPKH, P2TR (BIP 86), P2PKH or P2PK output of that key.

    Raises KeyFormatError if it is somebody else's.
    """
    if script.kind(output_script) is Kind.P2TR and taproot.output_script(key.public) == output_script:
        return Input(point, value, output_script, b"", (), taproot.tweaked(key))
    key_hash = hash160(key.public)
    program = script.p2wpkh(key_hash)
    if output_script == script.p2sh_of(program):
        return Input(point, value, output_script, script.p2pkh(key_hash), (key.public,), key, nested=program)
    spendable = {
        program: (script.p2pkh(key_hash), (key.public,)),
        script.p2pkh(key_hash): (script.p2pkh(key_hash), (key.public,)),
        script.p2pk(key.public): (script.p2pk(key.public), ()),
    }
    if output_script not in spendable:
        raise KeyFormatError("the key does not unlock this output", fault="twinlock", numbers={"output": str(point)})
    script_code, rest = spendable[output_script]
    return Input(point, value, output_script, script_code, rest, key)


def foreign_input(point: CoinPoint, value: int, output_script: bytes, sequence: int = FINAL) -> Input:
    """A P2WPKH, P2TR or P2PKH output that somebody else signs for. Raises ScriptError for other kinds."""
    match script.kind(output_script):
        case Kind.P2WPKH | Kind.P2PKH:
            rest: tuple[bytes, ...] = (_WORST_PUBKEY,)
        case Kind.P2TR:
            rest = ()
        case _:
            raise ScriptError("outputs of this kind cannot be signed for elsewhere", fault="user")
    return Input(point, value, output_script, b"", rest, None, sequence)


def redeem_input(coin: Coin, point: CoinPoint, value: int, contract: bytes, key: PrivateKey, secret: bytes) -> Input:
    """A contract taken by its recipient. Raises ContractError if key or secret do not open it."""
    terms = SwapContract.parse(contract)
    if not is_secret(secret, terms.secret_hash):
        raise ContractError("the secret is not the contract's", code="chain.contract.secret", fault="twinlock")
    _check_party(terms.recipient, key)
    return _locked_input(coin, point, value, contract, (key.public, secret, _TRUE), key, FINAL)


def refund_input(coin: Coin, point: CoinPoint, value: int, contract: bytes, key: PrivateKey) -> Input:
    """A contract taken back by its sender. Raises ContractError if the key is not the sender's."""
    _check_party(SwapContract.parse(contract).sender, key)
    return _locked_input(coin, point, value, contract, (key.public, _FALSE), key, REFUND_SEQUENCE)


def bond_input(coin: Coin, point: CoinPoint, value: int, bond_script: bytes, key: PrivateKey) -> Input:
    """A bond taken back by its owner. Raises BondError, ContractError."""
    _check_party(BondScript.parse(bond_script).pubkey_hash, key)
    return _locked_input(coin, point, value, bond_script, (key.public,), key, REFUND_SEQUENCE)


def build_swap(
    coin: Coin, inputs: Sequence[Input], contracts: Sequence[tuple[bytes, int]], change_script: bytes, fee_rate: int
) -> Payment:
    """Fund (contract, atoms) pairs at outputs 0, 1, ...; change comes last. Raises FundsError."""
    return build_payment(coin, inputs, swap_outputs(coin, contracts), change_script, fee_rate)


def swap_outputs(coin: Coin, contracts: Sequence[tuple[bytes, int]]) -> list[TxOut]:
    """The outputs that fund (contract, atoms) pairs."""
    return [TxOut(value, lock_script(coin, contract)) for contract, value in contracts]


def build_redeem(coin: Coin, inputs: Sequence[Input], to_script: bytes, fee_rate: int) -> Payment:
    """Take contracts (`redeem_input`) to one output of one's own. Raises FundsError."""
    return build_sweep(coin, inputs, to_script, fee_rate)


def build_refund(coin: Coin, refund: Input, to_script: bytes, fee_rate: int) -> Payment:
    """Take a contract back (`refund_input`); valid once the median time passes its lock time. Raises FundsError."""
    lock_time = SwapContract.parse(refund.script_code).lock_time
    return build_sweep(coin, [refund], to_script, fee_rate, lock_time)


def build_bond(
    coin: Coin,
    inputs: Sequence[Input],
    amount: int,
    account_id: bytes,
    bond: BondScript,
    change_script: bytes,
    fee_rate: int,
) -> Payment:
    """Post a bond of `amount` atoms for the account (protocol section 4.5). Raises FundsError, BondError."""
    return build_payment(coin, inputs, bond_outputs(coin, amount, account_id, bond), change_script, fee_rate)


def bond_outputs(coin: Coin, amount: int, account_id: bytes, bond: BondScript) -> list[TxOut]:
    """The bond and the commitment to its account."""
    commitment = Commitment(account_id, bond.lock_time, bond.pubkey_hash)
    return [TxOut(amount, lock_script(coin, bond.serialize())), TxOut(0, commitment.serialize())]


def build_bond_refund(coin: Coin, refund: Input, to_script: bytes, fee_rate: int) -> Payment:
    """Take a bond back (`bond_input`); valid once the median time passes its lock time. Raises FundsError."""
    return build_sweep(coin, [refund], to_script, fee_rate, BondScript.parse(refund.script_code).lock_time)


def build_payment(
    coin: Coin, inputs: Sequence[Input], outputs: Sequence[TxOut], change_script: bytes, fee_rate: int
) -> Payment:
    """Pay the outputs; what is left goes to `change_script` unless it would be dust. Raises FundsError."""
    return sign(draft_payment(coin, inputs, outputs, change_script, fee_rate))


def build_sweep(coin: Coin, inputs: Sequence[Input], to_script: bytes, fee_rate: int, lock_time: int = 0) -> Payment:
    """Everything the inputs hold, less the fee, to one output. Raises FundsError if dust would be left."""
    return sign(draft_sweep(coin, inputs, to_script, fee_rate, lock_time))


def draft_payment(
    coin: Coin, inputs: Sequence[Input], outputs: Sequence[TxOut], change_script: bytes, fee_rate: int
) -> Draft:
    """`build_payment` before it is signed. Raises FundsError."""
    total = _check_inputs(inputs, fee_rate)
    paid = sum(output.value for output in outputs)
    needed = paid + fee_rate * _worst_size(inputs, outputs)
    if total < needed or paid > MAX_MONEY:
        raise FundsError(
            "the inputs do not cover the outputs and the fee",
            code="chain.funds.short",
            numbers={"have": total, "need": needed, "fee_rate": fee_rate},
            fix="add funds or lower the fee rate",
        )
    for output in outputs:
        _check_dust(coin, output)
    change = TxOut(total - paid, change_script)
    left = change.value - fee_rate * _worst_size(inputs, [*outputs, change])
    if left < _smallest_change(coin, change_script, fee_rate):
        return _draft(inputs, outputs, 0, total - paid)
    outputs = [*outputs, TxOut(left, change_script)]
    return _draft(inputs, outputs, 0, total - paid - left, len(outputs) - 1)


def draft_sweep(coin: Coin, inputs: Sequence[Input], to_script: bytes, fee_rate: int, lock_time: int = 0) -> Draft:
    """`build_sweep` before it is signed. Raises FundsError."""
    total = _check_inputs(inputs, fee_rate)
    return _sweep(coin, inputs, to_script, fee_rate * _worst_size(inputs, [TxOut(total, to_script)]), lock_time)


def draft_child(coin: Coin, inputs: Sequence[Input], to_script: bytes, fee_rate: int, debt: int) -> Draft:
    """The same with a fee that is `debt` atoms higher: what unconfirmed parents lack of the rate. Raises FundsError."""
    total = _check_inputs(inputs, fee_rate)
    return _sweep(coin, inputs, to_script, debt + fee_rate * _worst_size(inputs, [TxOut(total, to_script)]), 0)


def sign(draft: Draft) -> Payment:
    """Sign every input with its key. Raises KeyFormatError if somebody else has to sign one."""
    signed = [_sign(draft, index) for index in range(len(draft.inputs))]
    tx = draft.tx
    return Payment(Tx(tx.version, tuple(signed), tx.outputs, tx.lock_time), draft.fee, draft.change)


def lock_script(coin: Coin, inner: bytes) -> bytes:
    """The output that locks funds in a contract or bond script: P2WSH, or P2SH without segwit."""
    return script.p2wsh(inner) if coin.segwit else script.p2sh_of(inner)


def dust_threshold(coin: Coin, output_script: bytes) -> int:
    """Atoms below which nodes do not relay an output."""
    if script.is_unspendable(output_script):
        return 0
    spend = 67 if script.witness_program(output_script) else 148
    return coin.dust_rate * (len(TxOut(0, output_script).serialize()) + spend)


def _locked_input(
    coin: Coin, point: CoinPoint, value: int, inner: bytes, rest: tuple[bytes, ...], key: PrivateKey, sequence: int
) -> Input:
    return Input(point, value, lock_script(coin, inner), inner, (*rest, inner), key, sequence)


def _check_party(pubkey_hash: bytes, key: PrivateKey) -> None:
    if hash160(key.public) != pubkey_hash:
        raise ContractError("the key is not this party's", code="chain.contract.key", fault="twinlock")


def _check_inputs(inputs: Sequence[Input], fee_rate: int) -> int:
    """The sum of the inputs in atoms."""
    if not inputs or len({spent.point for spent in inputs}) != len(inputs) or fee_rate < 0:
        raise FundsError("inputs must be there, each once, and the fee rate positive", fault="twinlock")
    return sum(spent.value for spent in inputs)


def _smallest_change(coin: Coin, change_script: bytes, fee_rate: int) -> int:
    table = sizes.SEGWIT if coin.segwit else sizes.LEGACY
    size = len(TxOut(0, change_script).serialize())
    return max(sizes.dust_limit(table, size, fee_rate), dust_threshold(coin, change_script), 1)


def _check_dust(coin: Coin, output: TxOut) -> None:
    smallest = dust_threshold(coin, output.script)
    if output.value < smallest:
        raise FundsError(
            "an output is too small for nodes to relay",
            code="chain.funds.dust",
            numbers={"value": output.value, "min": smallest},
        )


def _worst_size(inputs: Sequence[Input], outputs: Sequence[TxOut]) -> int:
    signed = [_unlock(spent, _worst_signature(spent)) for spent in inputs]
    return Tx(2, tuple(signed), tuple(outputs), 0).vsize


def _worst_signature(spent: Input) -> bytes:
    return bytes(taproot.SIGNATURE) if script.kind(spent.script) is Kind.P2TR else _WORST_SIGNATURE


def _sweep(coin: Coin, inputs: Sequence[Input], to_script: bytes, fee: int, lock_time: int) -> Draft:
    total = sum(spent.value for spent in inputs)
    if fee >= total:
        raise FundsError(
            "the fee would eat everything",
            code="chain.funds.fee",
            numbers={"have": total, "fee": fee},
            fix="lower the fee rate",
        )
    output = TxOut(total - fee, to_script)
    _check_dust(coin, output)
    return _draft(inputs, [output], lock_time, fee)


def _draft(
    inputs: Sequence[Input], outputs: Sequence[TxOut], lock_time: int, fee: int, change: int | None = None
) -> Draft:
    bare = tuple(TxIn(spent.point.tx_hash, spent.point.index, b"", spent.sequence) for spent in inputs)
    return Draft(Tx(2, bare, tuple(outputs), lock_time), tuple(inputs), fee, change)


def _sign(draft: Draft, index: int) -> TxIn:
    spent = draft.inputs[index]
    if spent.key is None:
        raise KeyFormatError("somebody else holds the key of an input", fault="user", numbers={"input": index})
    if script.kind(spent.script) is Kind.P2TR:
        return _unlock(spent, taproot.sign_schnorr(spent.key, taproot.digest(draft.tx, index, draft.spent)))
    if _is_segwit(spent):
        digest = sighash.segwit_v0_digest(draft.tx, index, spent.script_code, spent.value)
    else:
        digest = sighash.legacy_digest(draft.tx, index, spent.script_code)
    return _unlock(spent, spent.key.sign(digest) + bytes((sighash.ALL,)))


def _unlock(spent: Input, signature: bytes) -> TxIn:
    stack = (signature, *spent.rest)
    point = spent.point
    if _is_segwit(spent):
        unlocking = script.push_shortest(spent.nested) if spent.nested else b""
        return TxIn(point.tx_hash, point.index, unlocking, spent.sequence, stack)
    unlocking = b"".join(script.push_shortest(item) for item in stack)
    return TxIn(point.tx_hash, point.index, unlocking, spent.sequence)


def _is_segwit(spent: Input) -> bool:
    match script.kind(spent.script):
        case Kind.P2WPKH | Kind.P2WSH | Kind.P2TR:
            return True
        case Kind.P2SH:
            return bool(spent.nested)
        case Kind.P2PKH | Kind.P2PK:
            return False
    raise ScriptError("outputs of this kind cannot be signed for", fault="twinlock")
