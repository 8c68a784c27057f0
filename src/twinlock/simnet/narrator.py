"""Turns what the client's events say into sentences of a timeline: the table `SENTENCES` and the table `STEPS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from twinlock.client.events import (
    BondChanged,
    Connected,
    Disconnected,
    EpochReplayed,
    Event,
    MatchMade,
    Notice,
    OrderChanged,
    ServerAccused,
    SwapEnded,
    SwapStep,
    TierChanged,
)
from twinlock.client.trader import Trader
from twinlock.protocol.rates import base_to_quote
from twinlock.simnet.timeline import Timeline
from twinlock.simnet.traders import amount

STEPS = {
    "contract_signed": "signs and stores a contract over {amount}",
    "swap_sent": "locks {amount} in the contract {coin}",
    "swap_confirmed": "contract confirmed ({confirmations} of {needed}): {coin}",
    "audited": "audits the counterparty's contract over {amount}: as agreed",
    "redeemed": "{how} {amount}: {coin}",
    "refunded": "takes its {amount} back: {coin}",
    "counterparty_refunded": "sees the counterparty take its {amount} back",
    "swap_lost": "no longer sees its contract on chain: {coin}",
    "counterparty_swap_lost": "no longer sees the counterparty's contract on chain: {coin}",
    "revoked": "is told that the match is revoked",
}
"""What is told of each step; the others only repeat, from the other side, what was told already."""

REDEEMS = {"maker": "reveals the secret to redeem", "taker": "reads the secret on the chain to redeem"}

BONDS = {
    "broadcast": "posts a bond of {amount}: {coin}",
    "confirmed": "the bond has {confirmations} of {needed} confirmations",
    "posted": "the server accepts the bond",
    "expired": "the bond of {amount} has expired",
    "refunded": "takes the bond of {amount} back",
}
ORDERS = {
    "epoch": "{side}s {quantity} at {rate}: order {order_id}",
    "booked": "the order stands on the book",
    "canceled": "the order is cancelled",
    "revoked": "the server revokes the order",
    "failed": "the order failed",
}


_NOT_FACTS = ("at", "host", "text")


class Narrator:
    """Tells one trader's events until its stream ends. `ended` is called with each finished swap."""

    def __init__(
        self,
        who: str,
        trader: Trader,
        timeline: Timeline,
        *,
        steps: bool = True,
        ended: Callable[[SwapEnded], None] = lambda _event: None,
    ) -> None:
        self._who = who
        self._trader = trader
        self._timeline = timeline
        self._steps = steps
        self._ended = ended
        self._told: set[tuple[str, ...]] = set()
        self._events = trader.events()

    async def run(self) -> None:
        """Follow the trader until cancelled."""
        async with aclosing(self._events) as events:  # type: ignore[type-var]
            async for event in events:
                self._hear(event)

    def _hear(self, event: Event) -> None:
        if isinstance(event, SwapEnded):
            self._ended(event)
        if (sentence := SENTENCES.get(type(event))) is None:
            return
        text = sentence(self, event)
        key = _sameness(event)
        if text and key not in self._told:
            self._told.add(key)
            members = msgspec.structs.asdict(event).items()
            facts = {name: value for name, value in members if value != "" and name not in _NOT_FACTS}
            self._timeline.tell(_name(event), self._who, text, **facts)

    # One method for each kind of event: the sentence, or nothing if there is nothing to say --------------------

    def _connected(self, event: Connected) -> str:
        if event.account_id:
            return f"logs in as account {event.account_id[:16]}, tier {event.tier}"
        return "connects to the exchange"

    def _disconnected(self, event: Disconnected) -> str:
        return f"loses the server: {event.reason}"

    def _notice(self, event: Notice) -> str:
        return "" if event.level == "info" else event.text

    def _accused(self, event: ServerAccused) -> str:
        return f"ACCUSES THE SERVER: {event.accusation}"

    def _bond(self, event: BondChanged) -> str:
        return self._fill(BONDS, event.state, event, amount=self._amount(event.asset, event.amount))

    def _tier(self, event: TierChanged) -> str:
        return f"now trades at tier {event.tier}"

    def _order(self, event: OrderChanged) -> str:
        if event.type == "cancel":  # its target says the rest
            return ""
        base, quote = event.market.split("_")
        price = self._amount(quote, base_to_quote(event.rate, self._trader.coins[base].coin.conversion_factor))
        return self._fill(ORDERS, event.status, event, quantity=self._amount(base, event.quantity), rate=price)

    def _epoch(self, event: EpochReplayed) -> str:
        if not event.matches or not self._steps:
            return ""
        return f"replays epoch {event.epoch}, orders {event.orders}, matches {event.matches}: as the server said"

    def _match(self, event: MatchMade) -> str:
        return f"is the {event.role} of match {event.match_id[:16]}"

    def _step(self, event: SwapStep) -> str:
        if event.needed and "swap" in event.step:
            state = f"{event.confirmations} of {event.needed} confirmations, {event.coin[:16]}…"
            self._timeline.status(f"{event.asset} contract", state)
        if not self._steps:
            return ""
        how, value = REDEEMS[event.role], self._amount(event.asset, event.amount)
        return self._fill(STEPS, event.step, event, how=how, amount=value)

    def _end(self, event: SwapEnded) -> str:
        return f"the swap is over: {event.outcome}"

    def _fill(self, sentences: Mapping[str, str], key: str, event: Event, **members: str) -> str:
        facts: dict[str, Any] = msgspec.structs.asdict(event)
        return sentences.get(key, "").format(**{**facts, **members})

    def _amount(self, symbol: str, atoms: int) -> str:
        return amount(atoms, self._trader.coins[symbol].coin)


def _name(event: Event) -> str:
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def _sameness(event: Event) -> tuple[str, ...]:
    """What makes an event the same as one told before: all but its time and its growing number of confirmations."""
    members = msgspec.structs.asdict(event)
    return (_name(event), *(str(value) for name, value in members.items() if name not in ("at", "confirmations")))


SENTENCES: dict[type[Event], Callable[[Narrator, Any], str]] = {
    Connected: Narrator._connected,
    Disconnected: Narrator._disconnected,
    Notice: Narrator._notice,
    ServerAccused: Narrator._accused,
    BondChanged: Narrator._bond,
    TierChanged: Narrator._tier,
    OrderChanged: Narrator._order,
    EpochReplayed: Narrator._epoch,
    MatchMade: Narrator._match,
    SwapStep: Narrator._step,
    SwapEnded: Narrator._end,
}
