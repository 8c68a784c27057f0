"""Costs: what sessions have used up lately, in units of about one subscription to a small script.

Each session has an account, and so has each group of sessions from one network, lest many connections get around the
limits. A session's burden is its own cost and a share of what the rest of its group has used. Both wear off with time;
a group's stays when its sessions have gone.

| group | who | share |
|---|---|---|
| a /24 (IPv4) or /48 (IPv6) | everybody else | 1/4: a whole network gets at most about 4 times what one session gets |
| `tor` | who comes through our onion service | 1/100: they share one address, but are many |
| the same, of private addresses | loopback, the house's own network | none: each session answers for itself alone |
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twinlock.indexer.env import Env
from twinlock.seams import Clock

CONNECTION_COST = 5.0
_DECAY_SECONDS = 10_000
"""In that many seconds the hard limit is worn off, and a little later for each subscription that is held."""

_DECAY_PER_SUBSCRIPTION = 5
_REFUND_SECONDS = 5_000
"""Likewise for groups."""

_SHARE, _TOR_SHARE, _PRIVATE_SHARE = 1 / 4, 1 / 100, 0.0
_ROOM = 1 / 4
"""The part of all sessions that one network may have."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Group(NamedTuple):
    """Sessions that are charged together. share: of the others' cost that each of them bears. room: of all sessions."""

    name: str
    share: float
    room: float


def address_of(peer: Any) -> Address | None:
    """The IP address of a socket's other end, an IPv4 one as such even where it came mapped into IPv6.

    >>> str(address_of(("::ffff:8.8.4.4", 1)))
    '8.8.4.4'
    """
    try:
        address = ipaddress.ip_address(peer[0].split("%")[0])
    except (ValueError, TypeError, IndexError, AttributeError):
        return None
    return getattr(address, "ipv4_mapped", None) or address


def group_of(peer: Any, *, tor: bool = False, ipv4: int = 24, ipv6: int = 48) -> Group:
    """The group that a peer belongs to. tor: loopback is where our onion service's visitors come from.

    >>> group_of(("8.8.4.4", 1)).name, group_of(("::ffff:8.8.4.4", 1)).name, group_of(("2600:db8:1:2::3", 1)).name
    ('8.8.4.0/24', '8.8.4.0/24', '2600:db8:1::/48')
    >>> group_of(("127.0.0.1", 1)), group_of(("127.0.0.1", 1), tor=True)
    (Group(name='127.0.0.0/24', share=0.0, room=1.0), Group(name='tor', share=0.01, room=1.0))
    """
    address = address_of(peer)
    if address is None:
        return Group("unknown", _SHARE, _ROOM)
    if address.is_loopback and tor:
        return Group("tor", _TOR_SHARE, 1.0)
    network = ipaddress.ip_network((address, ipv4 if address.version == 4 else ipv6), strict=False)
    if address.is_private:
        return Group(str(network), _PRIVATE_SHARE, 1.0)
    return Group(str(network), _SHARE, _ROOM)


@dataclass(eq=False, slots=True)
class Account:
    """What one session owes; its group's account is with `Costs`."""

    group: Group
    since: float
    cost: float = 0.0
    subscriptions: int = 0


@dataclass(slots=True)
class _GroupAccount:
    since: float
    cost: float = 0.0
    sessions: set[Account] = field(default_factory=set)


class Costs:
    """All accounts."""

    def __init__(self, env: Env, clock: Clock) -> None:
        self._soft, self._hard = env.cost_soft_limit, env.cost_hard_limit
        self._clock = clock
        self._most = env.max_sessions
        self._groups: dict[str, _GroupAccount] = {}

    def open(self, group: Group) -> Account | None:
        """A new session's account; None where its group has all the sessions that it may have, or owes too much."""
        now = self._clock.monotonic()
        entry = self._groups.setdefault(group.name, _GroupAccount(now))
        if len(entry.sessions) >= max(1, self._most * group.room):
            return None
        account = Account(group, now)
        entry.sessions.add(account)
        if self.charge(account, CONNECTION_COST) >= 1:
            self.close(account)
            return None
        return account

    def close(self, account: Account) -> None:
        """The session has gone; its group keeps what it owes."""
        if entry := self._groups.get(account.group.name):
            entry.sessions.discard(account)

    def own(self, account: Account) -> float:
        """What the session itself owes now."""
        slow = _DECAY_SECONDS + _DECAY_PER_SUBSCRIPTION * account.subscriptions
        return max(0.0, account.cost - (self._clock.monotonic() - account.since) * self._hard / slow)

    def of_group(self, name: str) -> float:
        """What a group owes now."""
        entry = self._groups.get(name)
        if entry is None:
            return 0.0
        return max(0.0, entry.cost - (self._clock.monotonic() - entry.since) * self._hard / _REFUND_SECONDS)

    def total(self, account: Account) -> float:
        """What the session has to bear: its own cost and its share of the others'."""
        own = self.own(account)
        return own + account.group.share * max(0.0, self.of_group(account.group.name) - own)

    def charge(self, account: Account, cost: float) -> float:
        """Add to the accounts. Gives how far the session is on the way from the soft limit (0) to the hard one (1)."""
        now, group = self._clock.monotonic(), account.group
        slow = _DECAY_SECONDS + _DECAY_PER_SUBSCRIPTION * account.subscriptions
        total = account.cost = max(0.0, account.cost - (now - account.since) * self._hard / slow) + cost
        account.since = now
        if entry := self._groups.get(group.name):
            worn = (now - entry.since) * self._hard / _REFUND_SECONDS
            entry.cost, entry.since = max(0.0, entry.cost - worn) + cost, now
            total += group.share * max(0.0, entry.cost - account.cost)
        if 0 < self._hard <= total:
            return 1.0
        if 0 < self._soft < min(total, self._hard):
            return (total - self._soft) / (self._hard - self._soft)
        return 0.0

    def forget(self) -> None:
        """Drop the accounts of groups that have gone and owe nothing."""
        gone = [name for name, entry in self._groups.items() if not entry.sessions and not self.of_group(name)]
        for name in gone:
            del self._groups[name]

    @property
    def groups(self) -> dict[str, tuple[int, float]]:
        """(sessions, cost) of each group."""
        return {name: (len(entry.sessions), self.of_group(name)) for name, entry in self._groups.items()}
