"""The accounts in memory: loaded when first needed, kept while the server runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twinlock.protocol.bonds import bonded_tier, counts
from twinlock.protocol.reputation import Policy, Record, Standing
from twinlock.seams import Clock
from twinlock.server.db import Database
from twinlock.server.db.accounts import Point, StoredAccount, StoredBond, load_account


class Account:
    """One account. `bonds` by (asset ID, coin ID); `record` holds the outcomes that count."""

    def __init__(self, stored: StoredAccount) -> None:
        self.account_id = stored.account_id
        self.pubkey = stored.pubkey
        self.bonds: dict[tuple[int, bytes], StoredBond] = {bond.key: bond for bond in stored.bonds}
        self.record = Record()
        self._scored = self.record, 0
        self.forget_outcomes(stored.points)

    def forget_outcomes(self, left: Iterable[Point]) -> None:
        """Replace the record by what is left of it, oldest first."""
        self.record = Record.of(point.outcome for point in left)

    def standing(self, tier: int, policy: Policy) -> Standing:
        """What the record makes of a bonded tier; the record is only added up when it has changed."""
        if self._scored[0] is not self.record:
            self._scored = self.record, self.record.score(policy)
        return Standing.of(tier, self._scored[1], policy)


class Accounts:
    """All accounts by ID, and the arithmetic of their standing."""

    def __init__(self, database: Database, clock: Clock, policy: Policy, expiry_s: int) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[bytes, Account] = {}
        self.policy = policy
        self.expiry_s = expiry_s

    async def load(self, account_id: bytes) -> Account | None:
        """The account, from memory or from the database; None if it does not exist."""
        known = self._known.get(account_id)
        if known is None:
            stored = await load_account(self._database, account_id)
            if stored is not None:
                known = self._known.setdefault(account_id, Account(stored))
        return known

    def get(self, account_id: bytes) -> Account | None:
        """The account if it is in memory."""
        return self._known.get(account_id)

    def add(self, account_id: bytes, pubkey: bytes) -> Account:
        """A new account."""
        return self._known.setdefault(account_id, Account(StoredAccount(account_id, pubkey, (), ())))

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._known.values()))

    def now_s(self) -> int:
        """The server's time in seconds."""
        return self._clock.now_ms() // 1000

    def standing(self, account: Account) -> Standing:
        """Bonded tier, penalties and score at this moment."""
        tier = bonded_tier(account.bonds.values(), self.now_s(), self.expiry_s)
        return account.standing(tier, self.policy)

    def tier(self, account_id: bytes) -> int:
        """The effective tier; 0 for an account that is not in memory."""
        account = self._known.get(account_id)
        return 0 if account is None else self.standing(account).tier

    def score(self, account_id: bytes) -> int:
        """The score; 0 for an account that is not in memory."""
        account = self._known.get(account_id)
        return 0 if account is None else self.standing(account).score

    def active_bonds(self, account: Account) -> list[StoredBond]:
        """The bonds that count now."""
        now = self.now_s()
        return [bond for bond in account.bonds.values() if counts(bond.lock_time, now, self.expiry_s)]

    @staticmethod
    def count(account: Account, points: Iterable[Point]) -> None:
        """Let stored outcomes take effect."""
        for point in points:
            account.record = account.record.add(point.outcome)
