"""Raising the fee of a redemption or refund that waits in the mempool, the more the nearer its deadline: table `STEPS`.

Where nodes replace transactions, the same one is signed again at a higher rate; elsewhere, and where the replacement is
refused, a child pays for it.

>>> urgency(left_s=7 * 3600, span_s=8 * 3600).target, urgency(left_s=-5, span_s=8 * 3600).target
(6, 1)
"""

from __future__ import annotations

from typing import NamedTuple

import structlog

from twinlock.client.desk import CoinSide, Desk
from twinlock.client.store.records import SwapRecord
from twinlock.client.swapper.matches import Matches
from twinlock.client.wallet import SignedTx
from twinlock.client.wallet.errors import BudgetError, FeeError
from twinlock.electrum.errors import RejectedError
from twinlock.protocol.swap import LegStatus

log = structlog.get_logger(__name__)

CEILING = 2_000
"""Atoms per vbyte that no estimate is believed beyond."""


class Step(NamedTuple):
    """eighths: of the lock's span that are left at least. target: blocks that the estimate is for. percent: of it that
    is paid. budget: percent of the contract's value that all fees together may cost.
    """

    eighths: int
    target: int
    percent: int
    budget: int


STEPS = (Step(4, 6, 100, 3), Step(2, 3, 110, 10), Step(1, 2, 150, 25), Step(0, 1, 200, 50))
"""Losing the race costs the whole contract, so that at last half of it is a fair price."""

WORTH = 125
"""Percent of the present rate below which a higher one is not worth a transaction."""

REFUND = Step(2, 3, 100, 10)
"""A refund runs against nobody but a counterparty that may still find the secret."""


class Waiting(NamedTuple):
    """A transaction of ours that no block holds yet. value: atoms of the contract that it spends."""

    side: CoinSide
    raw: bytes
    value: int
    step: Step
    redeems: bool

    @property
    def txid(self) -> str:
        return self.side.family.tx_id(self.raw)

    @property
    def rate(self) -> int:
        """Atoms per vbyte that it pays by itself."""
        return self.side.family.fee_rate(self.raw, self.value)

    @property
    def budget(self) -> int:
        """Atoms that all fees together may cost."""
        return self.value * self.step.budget // 100

    @property
    def fee(self) -> int:
        """Atoms that it pays by itself."""
        return self.value - self.side.family.output_value(self.raw, 0)


def urgency(left_s: int, span_s: int) -> Step:
    """The step for so many seconds before the deadline, of a span of so many."""
    eighths = 8 * left_s // max(1, span_s)
    return next((step for step in STEPS if eighths >= step.eighths), STEPS[-1])


class Escalation:
    """Looks at one swap at a time; doing so twice raises nothing twice."""

    def __init__(self, desk: Desk, matches: Matches) -> None:
        self._desk = desk
        self._matches = matches
        self._lifted: dict[str, tuple[str, int]] = {}
        """By swap, the transaction that a child has lifted, and to which rate."""

    async def consider(self, record: SwapRecord) -> None:
        """Raise the fee of what waits, if the chain now wants more. Raises what wallets and chains raise."""
        waiting = self._waiting(record)
        if waiting is None:
            self.forget(record)
            return
        estimate = await waiting.side.chain.fee_rate(waiting.step.target, ceiling=CEILING)
        wanted = -(-estimate * waiting.step.percent // 100)
        lifted, rate = self._lifted.get(record.key, ("", 0))
        present = max(waiting.rate, rate if lifted == waiting.txid else 0)
        if 100 * wanted < WORTH * present:
            return
        if waiting.side.coin.replaceable and await self._replace(record, waiting, wanted):
            return
        await self._pull(record, waiting, wanted)

    def forget(self, record: SwapRecord) -> None:
        """Nothing of the swap waits any more."""
        self._lifted.pop(record.key, None)

    def _waiting(self, record: SwapRecord) -> Waiting | None:
        swap, own, theirs = record.swap, record.party, record.party.other
        deadline, made = swap.terms.locks[theirs], swap.terms.made_ms // 1000
        if record.redeem_tx and swap.legs[theirs].status is LegStatus.REDEEMED and swap.legs[theirs].depth == 0:
            now = max(self._desk.clock.now_ms() // 1000, swap.legs[theirs].median_time)
            step = urgency(deadline - now, deadline - made)
            return Waiting(
                self._desk.coin(record.other_asset), record.redeem_tx, record.their_value, step, redeems=True
            )
        if record.refund_tx and swap.legs[own].status is LegStatus.REFUNDED and swap.legs[own].depth == 0:
            amount = swap.terms.amounts[own]
            return Waiting(self._desk.coin(record.own_asset), record.refund_tx, amount, REFUND, redeems=False)
        return None

    async def _replace(self, record: SwapRecord, waiting: Waiting, wanted: int) -> bool:
        """Did the network take a better paid one?"""
        size = max(1, waiting.fee // max(1, waiting.rate))
        rate = min(wanted, waiting.budget // size)
        if rate <= waiting.rate:
            return False
        signed = await self._sign(record, waiting, rate)
        # Stored before it is sent, as ever; should it be refused, the first one still stands.
        self._keep(record, waiting, signed.raw)
        try:
            await waiting.side.wallet.broadcast(signed.raw)
        except RejectedError as error:
            log.info("a replacement was refused", match=record.match_id.hex()[:16], reason=error.reason)
            self._keep(record, waiting, waiting.raw)
            waiting.side.wallet.abandon(signed.txid)
            return False
        self._tell(record, waiting, rate)
        return True

    async def _sign(self, record: SwapRecord, waiting: Waiting, rate: int) -> SignedTx:
        wallet, swap = waiting.side.wallet, record.swap
        leg = swap.legs[record.party.other if waiting.redeems else record.party]
        if not waiting.redeems:
            return await wallet.sign_refund(record.match_id, leg.contract, leg.coin_id, waiting.value, rate)
        assert swap.secret is not None, "it was redeemed with it"
        return await wallet.sign_redeem(record.match_id, leg.contract, leg.coin_id, waiting.value, swap.secret, rate)

    def _keep(self, record: SwapRecord, waiting: Waiting, raw: bytes) -> None:
        self._matches.note(record, **{"redeem_tx" if waiting.redeems else "refund_tx": raw})

    async def _pull(self, record: SwapRecord, waiting: Waiting, wanted: int) -> None:
        unit, budget = waiting.side.coin.atomic_unit, waiting.budget - waiting.fee
        for rate in (wanted, wanted * 3 // 4, wanted // 2, wanted // 4):
            try:
                child = await waiting.side.wallet.pull(waiting.txid, rate, budget)
            except BudgetError:
                continue  # less is better than nothing
            except FeeError as error:
                # It pays enough, or is in a block by now.
                log.debug("no child can pay", txid=waiting.txid, reason=str(error))
                return
            await waiting.side.wallet.broadcast(child.raw)
            self._lifted[record.key] = waiting.txid, wanted
            self._desk.notice(f"a child lifts {waiting.txid[:16]} to {rate} {unit} per vbyte")
            return

    def _tell(self, record: SwapRecord, waiting: Waiting, rate: int) -> None:
        what = "redemption" if waiting.redeems else "refund"
        unit = waiting.side.coin.atomic_unit
        self._desk.notice(f"match {record.match_id.hex()[:16]}: the {what} now pays {rate} {unit} per vbyte")
