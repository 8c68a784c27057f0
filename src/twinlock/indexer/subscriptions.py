"""Subscriptions: what one session wants to be told of, and what it knows of it already."""

from __future__ import annotations

from collections.abc import Coroutine, KeysView
from dataclasses import dataclass
from typing import Any, Protocol

from twinlock.electrum.framing import encode_note
from twinlock.indexer import outpoints
from twinlock.indexer.costs import Account
from twinlock.indexer.daemon import NodeCalls
from twinlock.indexer.methods import EXCESSIVE, RpcError
from twinlock.indexer.view import View

_NEWS = b'{"jsonrpc":"2.0","method":"%b","params":["%b",%b]}\n'


PER_WATCH = 600
"""Bytes that a subscription to a script hash takes, about."""

_USUAL_TEXT = 64
"""Characters of what such a one is called; scripts may be called by many more."""


def _free(_: float) -> None:
    """What is told costs nothing."""


class Listener(Protocol):
    """Who is told: a session."""

    account: Account | None
    view: View
    daemon: NodeCalls
    subscriptions: Subscriptions

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something as long as the session lasts."""
        ...

    def tell_line(self, line: bytes) -> None:
        """Say a notification; `flush` sends it."""
        ...

    def flush(self) -> None:
        """Send everything that was said."""
        ...


@dataclass(eq=False, slots=True)
class Watch:
    """A subscription: the notification's method, the client's own name of the thing, and what it knows of it.

    `point` is set where the subscription is to an outpoint that pays the script.
    """

    session: Listener
    method: str
    text: str
    script: bytes
    known: Any
    point: tuple[bytes, int] | None = None


def _size(watch: Watch) -> int:
    return PER_WATCH - _USUAL_TEXT + len(watch.text)


class Watchers:
    """Everybody's subscriptions, by script. room: bytes that they may take together."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._by_script: dict[bytes, Watch | set[Watch]] = {}  # most scripts have one watcher: no set for that
        self.count = 0

    def __len__(self) -> int:
        """Scripts that somebody watches."""
        return len(self._by_script)

    def keys(self) -> KeysView[bytes]:
        """Those scripts."""
        return self._by_script.keys()

    def of(self, script: bytes) -> tuple[Watch, ...]:
        """Who watches a script."""
        found = self._by_script.get(script, ())
        return (found,) if isinstance(found, Watch) else tuple(found)

    def add(self, watch: Watch) -> None:
        """Raises RpcError where there is no room for more."""
        size = _size(watch)
        if size > self._room:
            raise RpcError(EXCESSIVE, "the server has no room for more subscriptions")
        self._room -= size
        self.count += 1
        known = self._by_script.setdefault(watch.script, watch)
        if isinstance(known, set):
            known.add(watch)
        elif known is not watch:
            self._by_script[watch.script] = {known, watch}

    def discard(self, watch: Watch) -> None:
        """No longer tell this one."""
        self._room += _size(watch)
        self.count -= 1
        known = self._by_script[watch.script]
        if isinstance(known, set):
            known.discard(watch)
        if known is watch or not known:
            del self._by_script[watch.script]


class Subscriptions:
    """Those of one session. `watchers`: everybody's; they are kept in there too."""

    def __init__(self, session: Listener, watchers: Watchers) -> None:
        self._session = session
        self._watchers = watchers
        self._watched: dict[str, dict[str, Watch]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._watched.values()))

    def watch(self, method: str, text: str, script: bytes, known: Any, point: tuple[bytes, int] | None = None) -> None:
        """Notify the session, under the method's name, when what it knows changes.

        Raises RpcError where there is no room for more.
        """
        watched = self._watched.setdefault(method, {})
        if watch := watched.get(text):
            watch.known = known
            return
        watch = Watch(self._session, method, text, script, known, point)
        self._watchers.add(watch)
        watched[text] = watch
        if self._session.account:
            self._session.account.subscriptions += 1

    def unwatch(self, method: str, text: str) -> bool:
        """Stop telling; whether it was subscribed."""
        watch = self._watched.get(method, {}).pop(text, None)
        if watch is not None:
            self._watchers.discard(watch)
            if self._session.account:
                self._session.account.subscriptions -= 1
        return watch is not None

    def end(self) -> None:
        """Stop telling of anything: the session has gone."""
        for watched in self._watched.values():
            for watch in watched.values():
                self._watchers.discard(watch)
        self._watched.clear()

    def tell(self, watch: Watch, view: View) -> None:
        """Notify of a subscription's present state unless the session knows it."""
        if watch.point is not None:
            self._session.spawn(self._tell_point(watch, *watch.point))
            return
        status = view.status(watch.script)
        if status != watch.known:
            watch.known = status
            news = b"null" if status is None else b'"%b"' % status.encode()
            self._session.tell_line(_NEWS % (watch.method.encode(), watch.text.encode(), news))

    async def _tell_point(self, watch: Watch, tx_hash: bytes, vout: int) -> None:
        status = await outpoints.status(self._session.view, self._session.daemon, tx_hash, vout, _free)
        if status != watch.known:
            watch.known = status
            self._session.tell_line(encode_note(watch.method, [tx_hash[::-1].hex(), vout, status]))
            self._session.flush()
