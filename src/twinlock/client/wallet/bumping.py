"""Raising the fee of what waits in the mempool: by a replacement (BIP 125), or by a child that pays for its parents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from twinlock.chain import script, spend
from twinlock.chain.errors import FundsError
from twinlock.chain.spend import Draft
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import FINAL, Tx
from twinlock.client.wallet.errors import BudgetError, FeeError
from twinlock.client.wallet.keys import Use
from twinlock.client.wallet.ledger import OwnCoin
from twinlock.client.wallet.purse import Purse
from twinlock.client.wallet.scanner import WalletView
from twinlock.client.wallet.types import SignedTx

REPLACEABLE = FINAL - 2

RELAY_RATE = 1
"""Atoms per vbyte that a replacement pays on top of what it replaces (BIP 125, rule 4)."""

BUMPABLE = ("send", "sweep", "bump")
"""Purposes whose transaction may get another ID. Contracts, bonds and splits may not: others rely on their IDs."""


class Parents(NamedTuple):
    """What waits in the mempool and is to be lifted. coins: what of the last one is ours to spend."""

    size: int
    fee: int
    coins: list[OwnCoin]

    @property
    def rate(self) -> int:
        """Atoms per vbyte of all of them together, rounded down."""
        return self.fee // self.size


async def replace(purse: Purse, txid: str, fee_rate: int, budget: int) -> SignedTx:
    """See `Payments.bump`."""
    record = purse.record(txid)
    if not purse.coin.replaceable:
        raise FeeError(f"{purse.coin.name}'s nodes replace nothing", fix="let a child pay for it")
    if record is None or record.purpose not in BUMPABLE:
        raise FeeError("only payments of this wallet can be replaced", fix="let a child pay for it")
    tx = _waiting(purse, txid)
    draft = _higher(purse, tx, fee_rate, record.fee)
    _check_budget(draft.fee - record.fee, budget)
    payment = await purse.sign(draft)
    asked = len(tx.outputs) if draft.change is None else len(draft.tx.outputs) - 1
    signed = purse.signed_tx(payment, asked)
    label = purse.journal.labels().get(txid, "")
    with purse.journal.store.transaction():
        purse.keep(signed, "bump", None)
        purse.journal.label(signed.txid, label)
        purse.replaced(txid)
    return signed


async def child(purse: Purse, view: WalletView, txid: str, fee_rate: int, budget: int) -> SignedTx:
    """See `Payments.pull`."""
    parents = await weigh(purse, view, txid)
    inputs = [purse.own_input(coin, REPLACEABLE) for coin in parents.coins]
    if not inputs:
        raise FeeError("nothing of this transaction is ours to spend", numbers={"coins": 0})
    if parents.rate >= fee_rate:
        raise FeeError("it pays that rate already", code="wallet.fee.enough", numbers={"rate": parents.rate})
    place = await purse.fresh(Use.CHANGE)
    debt = max(0, fee_rate * parents.size - parents.fee)
    draft = spend.draft_child(purse.coin, inputs, place.script, fee_rate, debt)
    _check_budget(draft.fee, budget)
    payment = await purse.sign(draft)
    signed = purse.signed_tx(payment, 1)
    with purse.journal.store.transaction():
        purse.keep(signed, "pull", place)
    return signed


async def weigh(purse: Purse, view: WalletView, txid: str) -> Parents:
    """A transaction in the mempool, with those above and below it that a child would have to lift too."""
    _waiting(purse, txid)
    last = txid
    while (below := _own_child(purse, last)) is not None:
        last = below
    waiting = set(_family(purse, last))
    size, fee = 0, 0
    for each in waiting:
        tx = purse.ledger.tx(each)
        assert tx is not None, "_family gives known transactions"
        size += tx.vsize
        fee += await _fee(purse, view, each, tx)
    free = [coin for coin in purse.ledger.coins() if coin.point.txid == last and not coin.locked_for]
    return Parents(size, fee, [coin for coin in free if not purse.keys.outside(coin.path)])


def _higher(purse: Purse, tx: Tx, fee_rate: int, old_fee: int) -> Draft:
    """The same payment at the rate, and at least so much dearer that nodes take it."""
    inputs = [purse.held_input(txin.point, REPLACEABLE) for txin in tx.inputs]
    least = old_fee + RELAY_RATE * tx.vsize
    rate = max(fee_rate, -(-least // tx.vsize))
    change = _change(purse, tx)
    if change is None and len(tx.outputs) == 1:
        return spend.draft_sweep(purse.coin, inputs, tx.outputs[0].script, rate)
    if change is None:
        raise FeeError("it has no change to take the fee from", fix="let a child pay for it")
    outputs, change_script = tx.outputs[:change], tx.outputs[change].script
    try:
        return spend.draft_payment(purse.coin, inputs, outputs, change_script, rate)
    except FundsError:
        # Only confirmed coins may join a replacement (BIP 125, rule 2).
        spare = sorted((c for c in purse.available() if c.height is not None), key=lambda coin: -coin.out.value)
        if not spare:
            raise
        return spend.draft_payment(
            purse.coin, [*inputs, purse.own_input(spare[0], REPLACEABLE)], outputs, change_script, rate
        )


def _change(purse: Purse, tx: Tx) -> int | None:
    """The output that came back to us, always the last one."""
    last = len(tx.outputs) - 1
    return last if last > 0 and purse.ledger.path(tx.outputs[last].script) is not None else None


def _waiting(purse: Purse, txid: str) -> Tx:
    tx = purse.ledger.tx(txid)
    if tx is None or purse.ledger.height(txid) is not None:
        raise FeeError(
            "no such transaction waits in the mempool", fix="look at the history: it may be in a block already"
        )
    return tx


def _own_child(purse: Purse, txid: str) -> str | None:
    """A transaction of ours that spends an output of ours of this one and waits too: an earlier child."""
    tx = purse.ledger.tx(txid)
    assert tx is not None, "the caller knows it"
    tx_hash = tx.hash
    for index, out in enumerate(tx.outputs):
        if purse.ledger.path(out.script) is None or script.is_unspendable(out.script):
            continue
        for spender in purse.ledger.spenders(CoinPoint(tx_hash, index)):
            record = purse.record(spender)
            if record is not None and record.purpose == "pull" and purse.ledger.height(spender) is None:
                return spender
    return None


def _family(purse: Purse, txid: str) -> Iterator[str]:
    """The transaction and those above it that wait, as far as this wallet knows them."""
    tx = purse.ledger.tx(txid)
    if tx is None or purse.ledger.height(txid) is not None:
        return
    yield txid
    for txin in tx.inputs:
        yield from _family(purse, txin.point.txid)


async def _fee(purse: Purse, view: WalletView, txid: str, tx: Tx) -> int:
    record = purse.record(txid)
    if record is not None:
        return record.fee
    parents = await view.transactions(sorted({txin.point.txid for txin in tx.inputs}))
    spent = sum(parents[txin.point.txid].outputs[txin.point.index].value for txin in tx.inputs)
    return spent - tx.total_out


def _check_budget(cost: int, budget: int) -> None:
    if cost > budget:
        raise BudgetError(
            f"raising the fee costs {cost} atoms, {budget} are allowed",
            numbers={"fee": cost, "budget": budget},
            fix="allow more, or take a lower rate",
        )
