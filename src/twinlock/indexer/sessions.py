"""Sessions: all of them together. Who listens to what, and who is told of what changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from twinlock.electrum.framing import encode_note
from twinlock.indexer import handlers
from twinlock.indexer.certificate import Certificate
from twinlock.indexer.env import Service
from twinlock.indexer.listeners import Listener, open_listener
from twinlock.indexer.session import Session
from twinlock.indexer.shared import Shared

_STUCK_SECONDS = 30.0
_ROOM_PATIENCE = 2.0
"""Seconds that large answers wait for room before one who does not read is ended."""


class SessionManager:
    """Opens the doors, makes the sessions, looks after them, and tells them the news."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.log_new = False  # whether requests of sessions to come are logged
        self._numbers = itertools.count(1)
        self._untold: set[bytes] = set()
        self._listeners: list[Listener] = []

    def session(self) -> Session:
        """A new session, for a connection that is being made."""
        made = Session(self.shared, next(self._numbers))
        made.logged = self.log_new
        return made

    async def listen(self, services: Iterable[Service], certificate: Certificate | None = None) -> None:
        """Open the doors. Raises EnvError, DoorError."""
        for service in services:
            self._listeners.append(await open_listener(service, self.session, certificate, self.shared))

    async def close(self) -> None:
        """Close the doors and all sessions."""
        for listener in self._listeners:
            listener.close()
        for session in list(self.shared.sessions):
            session.abort()
        self.shared.large.close()

    def make_room(self) -> None:
        """To be called a few times a second: where large answers wait for sessions that do not read, somebody goes."""
        self.shared.unread.measure(lambda session: session.unread)
        if self.shared.large.short_for > _ROOM_PATIENCE:
            self.shared.unread.end_greediest()
        self.shared.large.go_on()

    def look_after(self) -> None:
        """To be called every few seconds: end sessions that were silent, or did not read what they were sent, for too
        long; give up late requests, and refuse those that a reorganisation keeps waiting for too long."""
        now = self.shared.clock.monotonic()
        self.shared.costs.forget()
        for session in list(self.shared.sessions):
            silent = now - session.last_heard > self.shared.env.session_timeout
            stuck = session.stuck_since is not None and now - session.stuck_since > _STUCK_SECONDS
            if silent or stuck:
                session.abort()
            else:
                session.give_up_late()
                if self.shared.refusing:
                    session.resume()

    def hold(self) -> None:
        """Answer nobody until `release`: the chain is between two states."""
        if self.shared.held_since is None:
            self.shared.held_since = self.shared.clock.monotonic()

    def refuse(self) -> None:
        """What is held will not go on soon: from now on requests are refused."""
        if self.shared.held:
            self.shared.held_since = -math.inf
            self._wake()

    def release(self) -> None:
        """Tell what was kept back, then answer what was asked meanwhile."""
        if not self.shared.held:
            return
        self.shared.held_since = None
        scripts, self._untold = self._untold, set()
        self.notify(scripts, tip=True)
        self._wake()

    def _wake(self) -> None:
        for session in list(self.shared.sessions):
            session.resume()

    def notify(self, scripts: set[bytes], tip: bool = False) -> None:
        """Tell the news: a new tip first, then the scripts whose status changed."""
        if tip:
            self.shared.forget_fees()
        if self.shared.held:
            self._untold |= scripts
            return
        if tip and self.shared.header_sessions:
            note = encode_note("blockchain.headers.subscribe", [handlers.tip(self.shared.view)])
            for session in list(self.shared.header_sessions):
                session.tell_line(note)
                session.flush()
        told = set()
        for script in scripts & self.shared.watchers.keys():
            for watch in self.shared.watchers.of(script):
                watch.session.subscriptions.tell(watch, self.shared.view)
                told.add(watch.session)
        for listener in told:
            listener.flush()
