"""Outcomes: stored with what caused them, then counted, then told to the account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.messages.account import Penalty, PenaltyNote, ScoreChange, TierChange
from twinlock.protocol.reputation import Outcome, Standing
from twinlock.protocol.routes import PENALTY, SCORECHANGED, TIERCHANGE
from twinlock.protocol.signing import signed
from twinlock.seams import Clock
from twinlock.server.comms.hub import Hub
from twinlock.server.db.accounts import Point, add_points
from twinlock.server.db.backend import Write
from twinlock.server.users.accounts import Account, Accounts

# Section 3.5: 1 preimage not revealed, 2 failure to act, 3 cancellation rate.
_RULES = {
    Outcome.PREIMAGE_MISS: 1,
    Outcome.NO_SWAP_AS_MAKER: 2,
    Outcome.NO_SWAP_AS_TAKER: 2,
    Outcome.NO_REDEEM_AS_MAKER: 2,
    Outcome.NO_REDEEM_AS_TAKER: 2,
    Outcome.NO_ADDRESS_AS_TAKER: 2,
    Outcome.ORDER_CANCELED: 3,
}


class Reputations:
    """Callers put `writes` into their own transaction and call `take_effect` after its commit."""

    def __init__(self, accounts: Accounts, hub: Hub, key: PrivateKey, clock: Clock) -> None:
        self._accounts = accounts
        self._hub = hub
        self._key = key
        self._clock = clock
        self.on_suspended: list[Callable[[bytes], None]] = []
        """Called with the account ID when an outcome takes the effective tier below 1, or further down from there."""

    @staticmethod
    def writes(points: Iterable[Point]) -> list[Write]:
        """The rows of the outcomes."""
        return add_points(points)

    def take_effect(self, points: Sequence[Point]) -> None:
        """Count stored outcomes and tell the accounts what changed."""
        by_account: defaultdict[bytes, list[Point]] = defaultdict(list)
        for point in points:
            by_account[point.account_id].append(point)
        for account_id, own in by_account.items():
            account = self._accounts.get(account_id)
            if account is not None:
                before = self._accounts.standing(account)
                self._accounts.count(account, own)
                self._judged(account, before, own[-1].outcome)

    def forgive(self, account: Account, left: Iterable[Point]) -> tuple[Standing, Standing]:
        """Replace a record by what an operator left of it, and tell the account; its standing before and after.

        A client that is not told goes on refusing its owner's orders until it connects again.
        """
        before = self._accounts.standing(account)
        account.forget_outcomes(left)
        return before, self._tell(account, before, "forgiven by the operator")

    def _judged(self, account: Account, before: Standing, cause: Outcome) -> None:
        after = self._tell(account, before, cause.name.lower().replace("_", " "))
        if after.tier < min(before.tier, 1):
            self._penalise(account, after, cause)
            for callback in self.on_suspended:
                callback(account.account_id)

    def _tell(self, account: Account, before: Standing, reason: str) -> Standing:
        after = self._accounts.standing(account)
        if after.tier != before.tier:
            change = TierChange(tier=after.tier, reputation=after.message(), reason=reason)
            self._hub.send(account.account_id, TIERCHANGE, signed(self._key, change))
        elif after.score != before.score:
            self._hub.send(account.account_id, SCORECHANGED, signed(self._key, ScoreChange(reputation=after.message())))
        return after

    def _penalise(self, account: Account, after: Standing, cause: Outcome) -> None:
        details = f"effective tier {after.tier}, score {after.score}: orders are removed until more bond is posted"
        penalty = Penalty(rule=_RULES.get(cause, 0), timestamp=self._clock.now_ms(), details=details)
        self._hub.send(account.account_id, PENALTY, signed(self._key, PenaltyNote(penalty=penalty)))
