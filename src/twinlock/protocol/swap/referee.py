"""When a match fails, and who is to blame (protocol section 7.5): the table `DEADLINES`.

Every status but the last waits for one side. The clock starts only when that side could act, and a contract that
expires is nobody's fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap.state import MatchStatus, Party, Swap


class Judgement(NamedTuple):
    """Why a match fails. Without an outcome nobody is at fault, or both sides are one account."""

    at_fault: Party | None
    outcome: Outcome | None


class Deadline(NamedTuple):
    """A row: who is waited for, from when (ms; None: not yet), what missing it is called, which legs may expire."""

    waits_for: Callable[[Swap], Party]
    since: Callable[[Swap], int | None]
    outcome: Callable[[Party], Outcome]
    expires: tuple[Party, ...]


def _who_must_begin(swap: Swap) -> Party:
    """The maker, unless only the taker's address is missing."""
    maker, taker = swap.addresses
    return Party.TAKER if maker and not taker else Party.MAKER


def _begun(swap: Swap) -> int:
    return swap.addressed_ms if swap.addressed_ms is not None else swap.terms.made_ms


_NO_SWAP: Final = {Party.MAKER: Outcome.NO_SWAP_AS_MAKER, Party.TAKER: Outcome.NO_ADDRESS_AS_TAKER}

DEADLINES: Final = {
    MatchStatus.NEWLY_MATCHED: Deadline(_who_must_begin, _begun, lambda party: _NO_SWAP[party], ()),
    MatchStatus.MAKER_SWAP_CAST: Deadline(
        lambda _: Party.TAKER,
        lambda swap: swap.legs[Party.MAKER].confirmed_ms,
        lambda _: Outcome.NO_SWAP_AS_TAKER,
        (Party.TAKER, Party.MAKER),
    ),
    MatchStatus.TAKER_SWAP_CAST: Deadline(
        lambda _: Party.MAKER,
        lambda swap: swap.legs[Party.TAKER].confirmed_ms,
        lambda _: Outcome.NO_REDEEM_AS_MAKER,
        (Party.TAKER, Party.MAKER),
    ),
    MatchStatus.MAKER_REDEEMED: Deadline(
        lambda _: Party.TAKER,
        lambda swap: swap.legs[Party.TAKER].redeem_ms,
        lambda _: Outcome.NO_REDEEM_AS_TAKER,
        (),
    ),
}


def deadline(swap: Swap) -> int | None:
    """The ms at which `judge` next has a reason of its own; None while the clock of the status does not run."""
    row = DEADLINES.get(swap.status)
    if row is None or swap.revoked:
        return None
    since = row.since(swap)
    times = [swap.terms.locks[party] * 1000 for party in row.expires]
    if since is not None:
        times.append(since + swap.terms.broadcast_timeout_ms)
    return min(times, default=None)


def judge(swap: Swap, now_ms: int) -> Judgement | None:
    """The reason to fail a match now, or None."""
    row = DEADLINES.get(swap.status)
    if row is None or swap.revoked:
        return None
    since = row.since(swap)
    if since is not None and now_ms > since + swap.terms.broadcast_timeout_ms:
        party = row.waits_for(swap)
        return Judgement(party, None if swap.terms.self_trade else row.outcome(party))
    if any(now_ms >= swap.terms.locks[party] * 1000 for party in row.expires):
        return Judgement(None, None)
    return None
