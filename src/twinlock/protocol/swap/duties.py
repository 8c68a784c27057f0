"""What each party owes, read off the facts: the table `DUTIES`.

A duty stands as long as its condition holds, so doing one twice must be harmless: sign, store, then broadcast, and
repeat the same bytes. Waiting is no duty; `WATCH` stands until the match is over for that party.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from twinlock.protocol.constants import CLOCK_TOLERANCE_MS
from twinlock.protocol.swap.referee import judge
from twinlock.protocol.swap.state import Leg, LegStatus, MatchStatus, Party, Swap, Verdict


class Duty(Enum):
    """One thing to do."""

    MAKE_CONTRACT = "sign and store the own contract, then broadcast it"
    BROADCAST_CONTRACT = "broadcast the stored contract again; the chain does not show it"
    REBROADCAST_THEIRS = "broadcast the counterparty's contract too; the chain does not show it"
    RELEASE_COINS = (
        "let the wallet use the coins of the own contract again; it was not broadcast and must not be any more"
    )
    REPORT_CONTRACT = "tell the server of the own contract (init), until it acknowledges"
    AUDIT = "judge the announced contract"
    SEARCH = "read the secret out of the transaction that spent the contract"
    REDEEM = "claim the counterparty's contract with the secret; sign, store, broadcast, raise the fee"
    REPORT_REDEEM = "tell the server of the own redemption (redeem), until it acknowledges"
    REFUND = "take the own contract's funds back; sign, store, broadcast, raise the fee"
    GIVE_UP = "revoke the match ourselves; the server never named the counterparty's address"
    WATCH = "follow both contracts and both chains' median times"
    RELAY_ADDRESSES = "tell each side the other's address"
    RELAY_CONTRACT = "send the contract to the other side for its audit"
    RELAY_REDEEM = "tell the other side of the redemption"
    REVOKE = "fail the match, as `judge` says"


class Task(NamedTuple):
    """A duty, and the leg that it is about (None: the match)."""

    duty: Duty
    leg: Party | None = None


class View(NamedTuple):
    """A match as one trader sees it at a moment (ms)."""

    swap: Swap
    party: Party
    now_ms: int

    @property
    def own(self) -> Leg:
        """The leg that this side funds."""
        return self.swap.legs[self.party]

    @property
    def theirs(self) -> Leg:
        """The leg that this side redeems."""
        return self.swap.legs[self.party.other]

    @property
    def paid(self) -> bool:
        """Whether this side has the counterparty's coin, at a depth that the terms call final."""
        final = max(1, self.swap.terms.depths[self.party.other])
        return self.theirs.status is LegStatus.REDEEMED and self.theirs.depth >= final

    @property
    def running(self) -> bool:
        """Whether the server still referees."""
        return not self.swap.revoked and not self.swap.server_lost

    def before_lock(self, leg: Party, margin_s: int = 0) -> bool:
        """Whether a leg's lock time is still ahead by wall clock and by its chain's own clock."""
        latest = max(self.now_ms // 1000, self.swap.legs[leg].median_time)
        return latest + margin_s < self.swap.terms.locks[leg]

    def unlocked(self, leg: Party) -> bool:
        """Whether the chain would take a refund now. Only its median time past decides, and it must be later."""
        return self.swap.legs[leg].median_time > self.swap.terms.locks[leg]


class Ending(Enum):
    """How a match ended for one side."""

    SWAPPED = "it holds the counterparty's coin"
    REFUNDED = "it has its own coin back"
    VOID = "it never funded a contract"
    LOST = "its coin was taken and the counterparty's is out of reach"


def _safe_to_lock(view: View) -> bool:
    """Whether funding the own contract now can still end well: enough time, and for the taker something to get."""
    swap, theirs = view.swap, view.theirs
    if not view.before_lock(Party.TAKER, swap.terms.margin_s):
        return False
    # The taker locks its coin only behind a contract that is sound, deep, unspent and names the secret's hash.
    covered = theirs.sound and theirs.status is LegStatus.CONFIRMED and bool(swap.secret_hash)
    return view.party is Party.MAKER or covered


def _may_start(view: View) -> bool:
    return view.running and not view.own.known and all(view.swap.addresses) and _safe_to_lock(view)


def _must_broadcast(view: View) -> bool:
    own = view.own
    if not own.known or own.doomed or own.status not in (LegStatus.ANNOUNCED, LegStatus.GONE):
        return False
    if own.status is LegStatus.GONE and view.paid:
        return True  # the counterparty paid for what our chain lost
    # What no chain has shown yet may never have been sent: nobody answers it while the server is away.
    wanted = own.status is LegStatus.GONE or view.running
    return wanted and _safe_to_lock(view)


def _in_vain(view: View) -> bool:
    """Whether the own contract was signed, never shown by its chain, and must not be broadcast any more."""
    too_late = not view.before_lock(Party.TAKER, view.swap.terms.margin_s)
    return view.own.known and view.own.status is LegStatus.ANNOUNCED and (view.swap.revoked or too_late)


def _within_reach(leg: Leg) -> bool:
    """Whether it can still be claimed. A refund that no block holds yet gives way to a redemption that pays more."""
    return leg.claimable or (leg.status is LegStatus.REFUNDED and leg.depth == 0)


def _may_redeem(view: View) -> bool:
    swap, theirs = view.swap, view.theirs
    if swap.secret is None or not theirs.sound or not _within_reach(theirs):
        return False
    if view.party is Party.TAKER or swap.revealed:
        return True
    # Redeeming reveals the secret. Too near its lock time the taker could refund and still use the secret.
    deep = theirs.status is LegStatus.CONFIRMED
    return deep and view.own.known and view.before_lock(Party.TAKER, swap.terms.margin_s)


def _may_refund(view: View) -> bool:
    if not view.own.known or not view.own.claimable or not view.unlocked(view.party):
        return False
    if view.theirs.status is LegStatus.REDEEMED:
        return False
    # A taker that can have the maker's coin takes that, and leaves its own to the maker who revealed the secret.
    return not (view.party is Party.TAKER and view.theirs.claimable and _may_redeem(view))


def _must_search(view: View) -> bool:
    return view.party is Party.TAKER and view.swap.secret is None and view.own.status is LegStatus.SPENT


def _must_report_contract(view: View) -> bool:
    return view.running and view.own.known and view.own.claimable and not view.own.contract_acknowledged


def _must_report_redeem(view: View) -> bool:
    redeemed = view.theirs.status is LegStatus.REDEEMED
    in_time = view.before_lock(Party.MAKER)
    return view.running and redeemed and in_time and not view.theirs.redeem_acknowledged


def _must_give_up(view: View) -> bool:
    terms = view.swap.terms
    silent = not view.swap.addresses[view.party.other]
    # The match is dated by the server's clock, from which ours may differ.
    late = view.now_ms > terms.made_ms + 3 * terms.broadcast_timeout_ms + CLOCK_TOLERANCE_MS
    return silent and late and not view.own.known and not view.swap.revoked


def _must_help_theirs(view: View) -> bool:
    hidden = view.theirs.status in (LegStatus.ANNOUNCED, LegStatus.GONE)
    return view.theirs.sound and hidden and not view.theirs.doomed


def ending(swap: Swap, party: Party, now_ms: int) -> Ending | None:
    """How the match ended for a side, at a depth that the terms call final; None while it is open."""
    view = View(swap, party, now_ms)
    own, theirs, depths = view.own, view.theirs, swap.terms.depths
    own_final, theirs_final = own.depth >= max(1, depths[party]), theirs.depth >= max(1, depths[party.other])
    if view.paid:
        return Ending.SWAPPED
    if own.status is LegStatus.REFUNDED and own_final:
        return Ending.REFUNDED
    if own.status is LegStatus.REDEEMED and own_final and theirs.status is LegStatus.REFUNDED and theirs_final:
        return Ending.LOST
    never_started = not own.known and (not view.running or not view.before_lock(Party.TAKER, swap.terms.margin_s))
    # A contract signed in vain may still appear, if a crash hid its broadcast; until its lock time that matters.
    void = never_started or own.doomed or (_in_vain(view) and view.unlocked(party))
    return Ending.VOID if void else None


def _must_watch(view: View) -> bool:
    return ending(*view) is None or _must_report_redeem(view)


@dataclass(frozen=True)
class Row:
    """One row for a trader: the duty, the leg it is about as seen from that side, and when it stands."""

    duty: Duty
    own_leg: bool | None
    when: Callable[[View], bool]


DUTIES: Final = (
    Row(Duty.MAKE_CONTRACT, True, _may_start),
    Row(Duty.BROADCAST_CONTRACT, True, _must_broadcast),
    Row(Duty.RELEASE_COINS, True, _in_vain),
    Row(Duty.REBROADCAST_THEIRS, False, _must_help_theirs),
    Row(Duty.REPORT_CONTRACT, True, _must_report_contract),
    Row(Duty.AUDIT, False, lambda view: view.theirs.known and view.theirs.verdict is None),
    Row(Duty.SEARCH, True, _must_search),
    Row(Duty.REDEEM, False, _may_redeem),
    Row(Duty.REPORT_REDEEM, False, _must_report_redeem),
    Row(Duty.REFUND, True, _may_refund),
    Row(Duty.GIVE_UP, None, _must_give_up),
    Row(Duty.WATCH, None, _must_watch),
)
"""The traders' table; both sides use the same rows."""


def duties(swap: Swap, party: Party, now_ms: int) -> frozenset[Task]:
    """Everything that a trader owes at a moment."""
    view = View(swap, party, now_ms)
    legs = {True: party, False: party.other, None: None}
    return frozenset(Task(row.duty, legs[row.own_leg]) for row in DUTIES if row.when(view))


def referee_duties(swap: Swap, now_ms: int) -> frozenset[Task]:
    """Everything that the server owes at a moment."""
    return frozenset(_referee_tasks(swap, now_ms))


def _referee_tasks(swap: Swap, now_ms: int) -> Iterable[Task]:
    status = swap.status
    if not swap.revoked and status is MatchStatus.NEWLY_MATCHED and swap.addressed_ms is not None:
        yield Task(Duty.RELAY_ADDRESSES)
    for party in Party:
        leg = swap.legs[party]
        if leg.known and leg.verdict is None:
            yield Task(Duty.AUDIT, party)
        if leg.sound and not leg.contract_acknowledged and leg.redeem_ms is None and not swap.revoked:
            yield Task(Duty.RELAY_CONTRACT, party)
        if leg.redeem_ms is not None and not leg.redeem_acknowledged:
            yield Task(Duty.RELAY_REDEEM, party)
    if not swap.revoked and status < MatchStatus.MATCH_COMPLETE:
        yield Task(Duty.WATCH)
    if judge(swap, now_ms) is not None:
        yield Task(Duty.REVOKE)


def act_by(swap: Swap, party: Party) -> int | None:
    """The second by which a side must have looked at the chains again, or its coin is in danger; None: no hurry.

    A taker whose coin is locked must claim before the maker can refund; a maker whose redemption is out must see it
    mined before the taker can refund.
    """
    own = swap.legs[party]
    if not own.known or own.status in (LegStatus.REFUNDED, LegStatus.UNSEEN) or own.verdict is Verdict.REFUSED:
        return None
    if View(swap, party, 0).paid:
        return None
    if party is Party.TAKER or swap.revealed:
        return swap.terms.locks[party.other] - swap.terms.margin_s
    return None
