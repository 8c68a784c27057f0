"""The active matches of all markets: by ID, by account, and by what no two of them may share."""

from __future__ import annotations

from collections.abc import Iterator

from twinlock.protocol.swap import Party
from twinlock.server.swapper.settling import Settling


class ActiveMatches:
    """What the swap executor looks after."""

    def __init__(self) -> None:
        self._all: dict[bytes, Settling] = {}
        self._by_account: dict[bytes, dict[bytes, Settling]] = {}
        self._users: dict[bytes, bytes] = {}
        """Which match a coin, a contract or a secret hash serves."""

    def add(self, settling: Settling) -> Settling:
        """Look after one more."""
        self._all[settling.match_id] = settling
        for side in Party:
            leg = settling.swap.legs[side]
            if leg.known:
                self.claim(settling, side, leg.coin_id, leg.contract, settling.swap.secret_hash)
            self._by_account.setdefault(settling.account(side), {})[settling.match_id] = settling
        return settling

    def remove(self, settling: Settling) -> bool:
        """Forget one; False if it was forgotten before."""
        if self._all.pop(settling.match_id, None) is None:
            return False
        for mark in settling.marks:
            self._users.pop(mark, None)
        for side in Party:
            own = self._by_account.get(settling.account(side), {})
            own.pop(settling.match_id, None)
            if not own:
                self._by_account.pop(settling.account(side), None)
        return True

    def find(self, match_id: bytes) -> Settling | None:
        """A match that can still go on."""
        settling = self._all.get(match_id)
        return None if settling is None or settling.ending else settling

    def reused(self, settling: Settling, side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> bool:
        """Whether another match has this coin or contract, or (for a maker) this secret hash."""
        marks = _marks(side, coin_id, contract, secret_hash)
        return any(self._users.get(mark, settling.match_id) != settling.match_id for mark in marks)

    def claim(self, settling: Settling, side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> None:
        """From now on these serve this match alone: before anything waits, so that two at once cannot both pass."""
        for mark in _marks(side, coin_id, contract, secret_hash):
            self._users[mark] = settling.match_id
            settling.marks.add(mark)

    def of(self, account_id: bytes) -> list[Settling]:
        """The matches of an account."""
        return list(self._by_account.get(account_id, {}).values())

    def accounts(self) -> list[bytes]:
        """The accounts that have matches."""
        return list(self._by_account)

    def settles(self, order_id: bytes, account_id: bytes) -> bool:
        """Whether a match settles that order of the account."""
        own = self._by_account.get(account_id, {}).values()
        return any(order_id in (match.stored.maker_order, match.stored.taker_order) for match in own)

    def __iter__(self) -> Iterator[Settling]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)


def _marks(side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> list[bytes]:
    """What no two active matches may share; the taker's secret hash is the maker's."""
    return [coin_id, contract] + ([secret_hash] if side is Party.MAKER else [])
