"""Sessions: all of them together. Who listens to what, what they share, and who is told of what changed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from twinlock.electrum.framing import encode_note
from twinlock.indexer import handlers
from twinlock.indexer.bans import Bans
from twinlock.indexer.certificate import Certificate
from twinlock.indexer.costs import Address, Costs
from twinlock.indexer.daemon import NodeCalls
from twinlock.indexer.env import Env, Service
from twinlock.indexer.large import LargeAnswers
from twinlock.indexer.listeners import Listener, open_listener
from twinlock.indexer.memory import Hoard, shares
from twinlock.indexer.session import Session
from twinlock.indexer.subscriptions import PER_WATCH, Watchers
from twinlock.indexer.view import View
from twinlock.seams import Clock

log = structlog.get_logger("indexer.sessions")
_STUCK_SECONDS = 30.0
_PATIENCE = 2.0
"""Seconds that large answers wait for room before one who does not read is ended."""


class Follower(Protocol):
    """What keeps chain and mempool at the node's state."""

    async def refresh(self) -> None:
        """On return, what the node has now is what we tell of."""
        ...

    async def take_in(self, txid: str) -> None:
        """On return, a transaction that was given to the node is in our mempool."""
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


def _reads(session: Session) -> bool:
    return session.stuck_since is None


def _end_unread(session: Session) -> None:
    log.info("ended the one with most unread, for want of memory", session=session.number, unread=session.unread)
    session.abort()


def _end_unheard(session: Session) -> None:
    log.info("ended the one with most unfinished requests, for want of memory", session=session.number)
    session.abort()


class SessionManager:
    """All sessions: who listens to what, what they share, and what they cost."""

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
        self.clock = clock
        self.sessions: set[Session] = set()
        self.header_sessions: set[Session] = set()
        room = shares(env.memory)
        self.watchers = Watchers(room.watches // PER_WATCH)
        self.unread: Hoard[Session] = Hoard(room.unread, _end_unread)
        self.unheard: Hoard[Session] = Hoard(room.unheard, _end_unheard)
        self.large = LargeAnswers(_reads, self.unread.fits, clock)
        self.log_new = False  # whether requests of sessions to come are logged
        self.requests = 0
        self.requests_by_method: Counter[str] = Counter()
        self.costs = Costs(env, clock)
        self.bans = bans if bans is not None else Bans()
        self._numbers = itertools.count(1)
        self.follower = follower
        self.peers = peers if peers is not None else NoPeers()
        self._held = False
        self._untold: set[bytes] = set()
        self._fees: dict[tuple[int, str | None], float] = {}
        self._listeners: list[Listener] = []

    def session(self) -> Session:
        """A new session, for a connection that is being made."""
        made = Session(self, next(self._numbers))
        made.logged = self.log_new
        return made

    async def listen(self, services: Iterable[Service], certificate: Certificate | None = None) -> None:
        """Open the doors."""
        for service in services:
            self._listeners.append(await open_listener(service, self.session, certificate, self.env.max_recv))

    async def close(self) -> None:
        """Close the doors and all sessions."""
        for listener in self._listeners:
            listener.close()
        for session in list(self.sessions):
            session.abort()
        self.large.close()

    def make_room(self) -> None:
        """To be called a few times a second: where large answers wait for sessions that do not read, somebody goes."""
        self.unread.measure(lambda session: session.unread)
        if self.large.short_for > _PATIENCE:
            self.unread.end_greediest()
        self.large.go_on()

    def drop_idle(self) -> None:
        """End sessions that were silent, or did not read what they were sent, for too long; give up late requests."""
        now = self.clock.monotonic()
        self.costs.forget()
        for session in list(self.sessions):
            silent = now - session.last_heard > self.env.session_timeout
            stuck = session.stuck_since is not None and now - session.stuck_since > _STUCK_SECONDS
            if silent or stuck:
                session.abort()
            else:
                session.give_up_late()

    def hold(self) -> None:
        """Answer nobody until `release`: the chain is between two states."""
        self._held = True

    def release(self) -> None:
        """Tell what was kept back, then answer what was asked meanwhile."""
        if not self._held:
            return
        self._held = False
        scripts, self._untold = self._untold, set()
        self.notify(scripts, tip=True)
        for session in list(self.sessions):
            session.resume()

    @property
    def held(self) -> bool:
        """Whether nobody is answered now."""
        return self._held

    def notify(self, scripts: set[bytes], tip: bool = False) -> None:
        """Tell the news: a new tip first, then the scripts whose status changed."""
        if tip:
            self._fees.clear()
        if self._held:
            self._untold |= scripts
            return
        if tip and self.header_sessions:
            note = encode_note("blockchain.headers.subscribe", [handlers.tip(self.view)])
            for session in list(self.header_sessions):
                session.tell_line(note)
                session.flush()
        told = set()
        for script in scripts & self.watchers.keys():
            for watch in self.watchers.of(script):
                watch.session.subscriptions.tell(watch, self.view)
                told.add(watch.session)
        for session in told:
            session.flush()

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
