"""Facts that the stories about swaps are told with."""

from __future__ import annotations

from tests.protocol.swap_world import DEPTH, MADE_S, SECRET, SECRET_HASH, terms

from twinlock.protocol.constants import BROADCAST_TIMEOUT_MS
from twinlock.protocol.swap import Duty, Event, Party, Swap, Verdict, apply, duties
from twinlock.protocol.swap import events as ev

MAKER, TAKER = Party.MAKER, Party.TAKER
NOW = MADE_S * 1000
TERMS = terms()
MAKER_LOCK, TAKER_LOCK = TERMS.locks
DEADLINE = BROADCAST_TIMEOUT_MS

ADDRESSES = (ev.AddressKnown(MAKER, "maker's", NOW), ev.AddressKnown(TAKER, "taker's", NOW + 5))
MAKER_MADE = (ev.ContractMade(MAKER, b"coin M", b"contract M", SECRET_HASH), ev.SecretLearned(SECRET))
MAKER_HEARD = (
    ev.Announced(MAKER, b"coin M", b"contract M"),
    ev.Audited(MAKER, b"coin M", Verdict.SOUND, SECRET_HASH),
)
TAKER_MADE = (ev.ContractMade(TAKER, b"coin T", b"contract T", b""),)
TAKER_HEARD = (ev.Announced(TAKER, b"coin T", b"contract T"), ev.Audited(TAKER, b"coin T", Verdict.SOUND))


def deep(leg: Party, at_ms: int = NOW + 10) -> Event:
    return ev.Seen(leg, DEPTH, at_ms)


def after(*events: object) -> Swap:
    swap = Swap(terms=TERMS)
    for event in events:
        swap = apply(swap, event)
    return swap


def owed(swap: Swap, party: Party, now_ms: int = NOW) -> set[Duty]:
    return {task.duty for task in duties(swap, party, now_ms)} - {Duty.WATCH}


BOTH_OUT_AS_MAKER = (*ADDRESSES, *MAKER_MADE, deep(MAKER), *TAKER_HEARD, deep(TAKER))
BOTH_OUT_AS_TAKER = (*ADDRESSES, *MAKER_HEARD, deep(MAKER), *TAKER_MADE, deep(TAKER))
ACKED = tuple(ev.Acknowledged(leg, ev.Step.CONTRACT) for leg in Party)
