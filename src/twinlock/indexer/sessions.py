"""Sessions: all of them together. Who listens to what, and who is told of what changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from twinlock.electrum.framing import encode_note
from twinlock.indexer import handlers
from twinlock.indexer.bans import Bans
from twinlock.indexer.certificate import Certificate
from twinlock.indexer.daemon import NodeCalls
from twinlock.indexer.env import Env, Service
from twinlock.indexer.listeners import Listener, open_listener
from twinlock.indexer.session import Session
from twinlock.indexer.shared import Follower, PeerDesk, Shared
from twinlock.indexer.view import View
from twinlock.seams import Clock

_STUCK_SECONDS = 30.0
_ROOM_PATIENCE = 2.0
"""Seconds that large answers wait for room before one who does not read is ended."""


class SessionManager(Shared):
    """Opens the doors, makes the sessions, looks after them, and tells them the news."""

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
        super().__init__(env, view, daemon, follower, clock, bans, peers)
        self.log_new = False  # whether requests of sessions to come are logged
        self._numbers = itertools.count(1)
        self._untold: set[bytes] = set()
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
        if self.large.short_for > _ROOM_PATIENCE:
            self.unread.end_greediest()
        self.large.go_on()

    def look_after(self) -> None:
        """To be called every few seconds: end sessions that were silent, or did not read what they were sent, for too
        long; give up late requests, and refuse those that a reorganisation keeps waiting for too long."""
        now = self.clock.monotonic()
        self.costs.forget()
        for session in list(self.sessions):
            silent = now - session.last_heard > self.env.session_timeout
            stuck = session.stuck_since is not None and now - session.stuck_since > _STUCK_SECONDS
            if silent or stuck:
                session.abort()
            else:
                session.give_up_late()
                if self.refusing:
                    session.resume()

    def hold(self) -> None:
        """Answer nobody until `release`: the chain is between two states."""
        if self._held_since is None:
            self._held_since = self.clock.monotonic()

    def refuse(self) -> None:
        """What is held will not go on soon: from now on requests are refused."""
        if self.held:
            self._held_since = -math.inf
            self._wake()

    def release(self) -> None:
        """Tell what was kept back, then answer what was asked meanwhile."""
        if not self.held:
            return
        self._held_since = None
        scripts, self._untold = self._untold, set()
        self.notify(scripts, tip=True)
        self._wake()

    def _wake(self) -> None:
        for session in list(self.sessions):
            session.resume()

    def notify(self, scripts: set[bytes], tip: bool = False) -> None:
        """Tell the news: a new tip first, then the scripts whose status changed."""
        if tip:
            self._fees.clear()
        if self.held:
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
        for listener in told:
            listener.flush()
