"""How facts change: one table for the legs, one small function per kind of event.

Two rules:

1. What a chain shows replaces what it showed before, since a reorg is only another view. What somebody signed, said
   or revealed is never unlearned.
2. Nobody remembers to do anything. What is to be done follows from the facts alone (`duties`), so a restart that
   replays the facts, twice or in another order, owes exactly what it owed before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from twinlock.protocol.swap import events
from twinlock.protocol.swap.state import Leg, LegStatus, Party, Swap, Verdict


class Sighting(Enum):
    """What moves a leg."""

    NAMED = "its contract became known"
    SHALLOW = "funded, below the required depth"
    DEEP = "funded at the required depth"
    SPENT = "spent, the spender not read"
    REDEEMED = "spent with the secret"
    REFUNDED = "spent by the refund branch"
    ABSENT = "not shown any more"


_S = LegStatus
_CHAIN: Final = {
    Sighting.SHALLOW: _S.MEMPOOL,
    Sighting.DEEP: _S.CONFIRMED,
    Sighting.SPENT: _S.SPENT,
    Sighting.REDEEMED: _S.REDEEMED,
    Sighting.REFUNDED: _S.REFUNDED,
}
_SHOWN: Final = {**_CHAIN, Sighting.NAMED: None, Sighting.ABSENT: _S.GONE}

LEG: Final[Mapping[LegStatus, Mapping[Sighting, LegStatus | None]]] = MappingProxyType(
    {
        _S.UNSEEN: {**_CHAIN, Sighting.NAMED: _S.ANNOUNCED, Sighting.ABSENT: None},
        _S.ANNOUNCED: {**_CHAIN, Sighting.NAMED: None, Sighting.ABSENT: None},
        _S.MEMPOOL: _SHOWN,
        _S.CONFIRMED: _SHOWN,
        _S.SPENT: _SHOWN,
        # A spender that was read stays read while the same spending is shown again unread.
        _S.REDEEMED: {**_SHOWN, Sighting.SPENT: None},
        _S.REFUNDED: {**_SHOWN, Sighting.SPENT: None},
        _S.GONE: {**_SHOWN, Sighting.ABSENT: None},
    }
)
"""From each status, by each sighting, to the next status; None stays."""


def moved(leg: Leg, sighting: Sighting) -> LegStatus:
    """The leg's next status."""
    return LEG[leg.status][sighting] or leg.status


def apply(swap: Swap, event: object) -> Swap:
    """The match after one more fact. Events that it does not know, or cannot use, change nothing and never raise."""
    change = _CHANGES.get(type(event))
    return change(swap, event) if change else swap


def _with_leg(swap: Swap, party: Party, leg: Leg) -> Swap:
    return replace(swap, legs=(leg, swap.legs[1]) if party is Party.MAKER else (swap.legs[0], leg))


def _address_known(swap: Swap, event: events.AddressKnown) -> Swap:
    if swap.addresses[event.party] or not event.address:
        return swap
    maker, taker = swap.addresses
    pair = (event.address, taker) if event.party is Party.MAKER else (maker, event.address)
    return replace(swap, addresses=pair, addressed_ms=event.at_ms if all(pair) else None)


def _contract_made(swap: Swap, event: events.ContractMade) -> Swap:
    leg = swap.legs[event.leg]
    if leg.known:
        return swap
    made = replace(
        leg,
        coin_id=event.coin_id,
        contract=event.contract,
        verdict=Verdict.SOUND,
        status=moved(leg, Sighting.NAMED),
    )
    return _with_hash(_with_leg(swap, event.leg, made), event.secret_hash)


def _announced(swap: Swap, event: events.Announced) -> Swap:
    leg = swap.legs[event.leg]
    refused = leg.verdict is Verdict.REFUSED and (leg.coin_id, leg.contract) != (event.coin_id, event.contract)
    if not event.contract or (leg.known and not refused):
        return swap
    fresh = Leg(median_time=leg.median_time) if refused else leg
    named = replace(fresh, coin_id=event.coin_id, contract=event.contract, status=moved(fresh, Sighting.NAMED))
    return _with_leg(swap, event.leg, named)


def _audited(swap: Swap, event: events.Audited) -> Swap:
    leg = swap.legs[event.leg]
    if leg.coin_id != event.coin_id or not leg.known or leg.verdict is not None:
        return swap
    judged = _with_leg(swap, event.leg, replace(leg, verdict=event.verdict))
    if event.verdict is Verdict.SOUND and event.leg is Party.MAKER:
        return _with_hash(judged, event.secret_hash)
    return judged


def _with_hash(swap: Swap, secret_hash: bytes) -> Swap:
    return replace(swap, secret_hash=secret_hash) if secret_hash and not swap.secret_hash else swap


def _learn(swap: Swap, secret: bytes) -> Swap:
    fits = sha256(secret).digest() == swap.secret_hash
    if not secret or secret == swap.candidate or (swap.candidate and not fits):
        return swap
    return replace(swap, candidate=secret)


def _secret_learned(swap: Swap, event: events.SecretLearned) -> Swap:
    return _learn(swap, event.secret)


def _redeem_sent(swap: Swap, event: events.RedeemSent) -> Swap:
    leg = swap.legs[event.leg]
    sent = replace(leg, redeem_coin_id=event.coin_id or leg.redeem_coin_id)
    return replace(_with_leg(swap, event.leg, sent), revealed=True)


def _redeem_accepted(swap: Swap, event: events.RedeemAccepted) -> Swap:
    leg = swap.legs[event.leg]
    if leg.redeem_ms is not None:
        return swap
    accepted = replace(leg, redeem_ms=event.at_ms, redeem_coin_id=event.coin_id)
    return replace(_learn(_with_leg(swap, event.leg, accepted), event.secret), revealed=True)


def _acknowledged(swap: Swap, event: events.Acknowledged) -> Swap:
    leg = swap.legs[event.leg]
    if event.step is events.Step.CONTRACT:
        return _with_leg(swap, event.leg, replace(leg, contract_acknowledged=True))
    return _with_leg(swap, event.leg, replace(leg, redeem_acknowledged=True))


def _seen(swap: Swap, event: events.Seen) -> Swap:
    leg = swap.legs[event.leg]
    deep = event.depth >= swap.terms.depths[event.leg]
    since = (leg.confirmed_ms if leg.confirmed_ms is not None else event.at_ms) if deep else None
    status = moved(leg, Sighting.DEEP if deep else Sighting.SHALLOW)
    return _with_leg(swap, event.leg, replace(leg, status=status, depth=event.depth, confirmed_ms=since, doomed=False))


def _spent(swap: Swap, event: events.Spent) -> Swap:
    leg = swap.legs[event.leg]
    sighting = Sighting.REDEEMED if event.secret else Sighting.REFUNDED if event.refund else Sighting.SPENT
    spent = replace(
        leg,
        status=moved(leg, sighting),
        depth=event.depth,
        # A redemption that a better paid one has replaced is none any more.
        redeem_coin_id=(event.coin_id if event.secret else b"") or leg.redeem_coin_id,
    )
    revealed = swap.revealed or bool(event.secret)
    return replace(_learn(_with_leg(swap, event.leg, spent), event.secret), revealed=revealed)


def _vanished(swap: Swap, event: events.Vanished) -> Swap:
    leg = swap.legs[event.leg]
    gone = replace(leg, status=moved(leg, Sighting.ABSENT), depth=0, confirmed_ms=None, doomed=event.doomed)
    return _with_leg(swap, event.leg, gone)


def _chain_time(swap: Swap, event: events.ChainTime) -> Swap:
    return _with_leg(swap, event.leg, replace(swap.legs[event.leg], median_time=event.median_time))


_CHANGES: Final[Mapping[type, Callable[[Swap, Any], Swap]]] = MappingProxyType(
    {
        events.AddressKnown: _address_known,
        events.ContractMade: _contract_made,
        events.Announced: _announced,
        events.Audited: _audited,
        events.SecretLearned: _secret_learned,
        events.RedeemSent: _redeem_sent,
        events.RedeemAccepted: _redeem_accepted,
        events.Acknowledged: _acknowledged,
        events.Seen: _seen,
        events.Spent: _spent,
        events.Vanished: _vanished,
        events.ChainTime: _chain_time,
        events.Revoked: lambda swap, _: replace(swap, revoked=True),
        events.ServerLost: lambda swap, _: replace(swap, server_lost=True),
        events.ServerFound: lambda swap, _: replace(swap, server_lost=False),
    }
)
