"""PSBTs of a wallet: filled with all that signers want to know, and signed as far as the wallet's keys go."""

from __future__ import annotations

from twinlock.chain import psbt_sign, script
from twinlock.chain.psbt import In, Out, Psbt, PsbtError, field
from twinlock.chain.script import Kind
from twinlock.chain.spend import Draft
from twinlock.chain.tx import TxOut
from twinlock.client.wallet.keys import KeyPath, WalletKeys
from twinlock.client.wallet.ledger import Ledger

LOCK = "psbt:"
"""Begins the reference of coins that an unsigned PSBT spends."""


def of_draft(ledger: Ledger, draft: Draft) -> Psbt:
    """The draft with the outputs that it spends, and the transactions that made them."""
    psbt = Psbt.of(draft.tx)
    for index, source in enumerate(draft.inputs):
        fields = {field(In.SPENT_OUTPUT): TxOut(source.value, source.script).serialize()}
        parent = ledger.tx(source.point.txid)
        if parent is not None and script.kind(source.script) is not Kind.P2TR:
            # Signers that fear to be lied to about amounts want the whole transaction (BIP 174).
            fields[field(In.WHOLE_TX)] = parent.serialize()
        psbt = psbt.with_input(index, fields)
    return psbt


def with_origins(ledger: Ledger, keys: WalletKeys, psbt: Psbt) -> Psbt:
    """Where the keys of our inputs and outputs come from."""
    for index in range(len(psbt.inputs)):
        out = psbt.spent(index)
        if out is not None and (path := ledger.path(out.script)) is not None:
            psbt = psbt.with_input(
                index, _origin(keys, path, out.script, (In.DERIVATION, In.TAP_KEY, In.TAP_DERIVATION))
            )
    for index, out in enumerate(psbt.tx.outputs):
        if (path := ledger.path(out.script)) is not None:
            kinds = (Out.DERIVATION, Out.TAP_KEY, Out.TAP_DERIVATION)
            psbt = psbt.with_output(index, _origin(keys, path, out.script, kinds))
    return psbt


def signed(ledger: Ledger, keys: WalletKeys, psbt: Psbt) -> Psbt:
    """With the signatures of our inputs whose keys are here. Raises PsbtError if there is no such input."""
    before = psbt
    for index in range(len(psbt.inputs)):
        out = psbt.spent(index)
        path = ledger.path(out.script) if out is not None else None
        if path is not None and not keys.outside(path) and not psbt_sign.is_final(psbt, index):
            psbt = psbt_sign.sign(psbt, index, keys.key(path))
    if psbt == before:
        raise PsbtError("no input of this PSBT is ours to sign", code="chain.psbt.not_ours", fault="user")
    return psbt


def fee_of(psbt: Psbt) -> int:
    """Atoms. Raises PsbtError where the PSBT does not tell what it spends, or spends less than it pays."""
    fee = psbt.fee
    if fee is None or fee < 0:
        raise PsbtError("the PSBT does not tell what its inputs hold", code="chain.psbt.fee")
    return fee


def _origin(
    keys: WalletKeys, path: KeyPath, output: bytes, kinds: tuple[In, In, In] | tuple[Out, Out, Out]
) -> dict[bytes, bytes]:
    plain, tap_key, tap_origin = kinds
    public, origin = keys.origin(path)
    if script.kind(output) is Kind.P2TR:
        # No leaf of a tree of scripts needs this key.
        return {field(tap_key): public[1:], field(tap_origin, public[1:]): b"\0" + origin.serialize()}
    return {field(plain, public): origin.serialize()}
