"""Shared: what all sessions of a server have in common, and how they look to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, Protocol

import structlog

from twinlock.indexer.bans import Bans
from twinlock.indexer.costs import Address, Costs, Group, group_of
from twinlock.indexer.daemon import NodeCalls
from twinlock.indexer.env import Env
from twinlock.indexer.large import LargeAnswers
from twinlock.indexer.memory import Hoard, shares
from twinlock.indexer.subscriptions import Watchers
from twinlock.indexer.view import View
from twinlock.seams import Clock

log = structlog.get_logger("indexer.sessions")

_PATIENCE = 5.0
"""Seconds that wallets are kept waiting while the chain is between two states. A reorganisation takes less, as a rule;
what takes longer is a node that went away or a disk that is full in its midst, or an index that is built anew."""


class Follower(Protocol):
    """What keeps chain and mempool at the node's state."""

    async def refresh(self) -> None:
        """On return, what the node has now is what we tell of."""
        ...

    async def take_in(self, txid: str) -> None:
        """On return, a transaction that was given to the node is in our mempool, unless something is wrong just now.

        Raises nothing: it was sent.
        """
        ...


class PeerDesk(Protocol):
    """What sessions need of the peer manager."""

    def features(self) -> dict[str, Any]:
        """Our own hosts and ports, as `server.features` tells them."""
        ...

    def listed(self, tor: bool) -> list[list[Any]]:
        """The rows of `server.peers.subscribe`; `tor`: for one who comes through Tor."""
        ...

    async def add_peer(self, features: Any, address: Address | None) -> bool:
        """Another server asks to be listed; whether it was taken."""
        ...


class NoPeers:
    """Implements `PeerDesk` for a server that knows no others."""

    def features(self) -> dict[str, Any]:
        return {}

    def listed(self, tor: bool) -> list[list[Any]]:  # noqa: ARG002
        return []

    async def add_peer(self, features: Any, address: Address | None) -> bool:  # noqa: ARG002
        return False


class Member(Hashable, Protocol):
    """A session as the others and the operator see it.

    last_heard, stuck_since: seconds of the clock; since when it does not read, None while it does. logged: whether its
    requests are. unread: bytes of answers that wait for it.
    """

    number: int
    group: str
    address: Address | None
    logged: bool
    last_heard: float
    stuck_since: float | None

    @property
    def unread(self) -> int: ...

    def summary(self) -> dict[str, Any]:
        """A row for the operator."""
        ...

    def tell_line(self, line: bytes) -> None:
        """Say a notification; `flush` sends it."""
        ...

    def flush(self) -> None:
        """Send everything that was said."""
        ...

    def resume(self) -> None:
        """Answer what waits."""
        ...

    def give_up_late(self) -> None:
        """Give up requests that have waited too long."""
        ...

    def abort(self) -> None:
        """End the connection now."""
        ...


def _reads(member: Member) -> bool:
    return member.stuck_since is None


def _end_unread(member: Member) -> None:
    log.info("ended the one with most unread, for want of memory", session=member.number, unread=member.unread)
    member.abort()


def _end_unheard(member: Member) -> None:
    log.info("ended the one with most unfinished requests, for want of memory", session=member.number)
    member.abort()


class Shared:
    """Settings, chain and node, the members, and what they use up together."""

    def __init__(
        self,
        env: Env,
        view: View,
        daemon: NodeCalls,
        follower: Follower,
        clock: Clock,
        bans: Bans | None = None,
        peers: PeerDesk | None = None,
    ) -> None:
        self.env = env
        self.view = view
        self.daemon = daemon
        self.follower = follower
        self.clock = clock
        self.bans = bans if bans is not None else Bans()
        self.peers = peers if peers is not None else NoPeers()
        self.sessions: set[Member] = set()
        self.header_sessions: set[Member] = set()
        room = shares(env.memory)
        self.watchers = Watchers(room.watches)
        self.unread: Hoard[Member] = Hoard(room.unread, _end_unread)
        self.unheard: Hoard[Member] = Hoard(room.unheard, _end_unheard)
        self.large = LargeAnswers(_reads, self.unread.fits, clock)
        self.costs = Costs(env, clock)
        self.requests = 0
        self.requests_by_method: Counter[str] = Counter()
        self.held_since: float | None = None
        """Seconds of the clock since when the chain is between two states; None while it is not."""
        self._fees: dict[tuple[int, str | None], float] = {}

    def group_of(self, peer: Any) -> Group:
        """The network that a peer's address belongs to."""
        env = self.env
        return group_of(peer, tor=env.onion, ipv4=env.subnet_ipv4, ipv6=env.subnet_ipv6)

    @property
    def held(self) -> bool:
        """Whether the chain is between two states: nothing true can be said of it."""
        return self.held_since is not None

    @property
    def refusing(self) -> bool:
        """Whether that has taken so long that requests are refused rather than kept waiting."""
        return self.held_since is not None and self.clock.monotonic() - self.held_since >= _PATIENCE

    async def estimate_fee(self, number: int, mode: str | None) -> float:
        """Coins per 1,000 vbytes; -1 when the node cannot tell. Kept until the tip changes, unless it is -1."""
        key = number, mode
        if key not in self._fees:
            reply = await self.daemon.call("estimatesmartfee", number, *([mode] if mode else []))
            rate = reply.get("feerate", -1)
            if rate == -1:
                return -1
            self._fees[key] = rate
        return self._fees[key]

    def forget_fees(self) -> None:
        """Ask the node anew: the tip has changed."""
        self._fees.clear()
