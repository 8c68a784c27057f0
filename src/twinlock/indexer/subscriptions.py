"""Subscriptions: what one session wants to be told of, and what it knows of it already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinlock.electrum.framing import encode_note
from twinlock.indexer import extras
from twinlock.indexer.view import View

if TYPE_CHECKING:
    from twinlock.indexer.session import Session

_NEWS = b'{"jsonrpc":"2.0","method":"%b","params":["%b",%b]}\n'


@dataclass(eq=False, slots=True)
class Watch:
    """A subscription: the notification's method, the client's own name of the thing, and what it knows of it.

    `point` is set where the subscription is to an outpoint that pays the script.
    """

    session: Session
    method: str
    text: str
    script: bytes
    known: Any
    point: tuple[bytes, int] | None = None


class Subscriptions:
    """Those of one session. `watchers`: everybody's, by script; they are kept in there too."""

    def __init__(self, session: Session, watchers: dict[bytes, set[Watch]]) -> None:
        self._session = session
        self._watchers = watchers
        self._watched: dict[tuple[str, str], Watch] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, method: str, text: str, script: bytes, known: Any, point: tuple[bytes, int] | None = None) -> None:
        """Notify the session, under the method's name, when what it knows changes."""
        watch = self._watched.get((method, text))
        if watch is None:
            watch = self._watched[method, text] = Watch(self._session, method, text, script, known, point)
            self._watchers.setdefault(script, set()).add(watch)
            self._count()
        watch.known = known

    def unwatch(self, method: str, text: str) -> bool:
        """Stop telling; whether it was subscribed."""
        watch = self._watched.pop((method, text), None)
        if watch is not None:
            self._forget(watch)
            self._count()
        return watch is not None

    def end(self) -> None:
        """Stop telling of anything: the session has gone."""
        for watch in self._watched.values():
            self._forget(watch)

    def _count(self) -> None:
        if self._session.account:
            self._session.account.subscriptions = len(self._watched)

    def _forget(self, watch: Watch) -> None:
        watchers = self._watchers.get(watch.script, set())
        watchers.discard(watch)
        if not watchers:
            self._watchers.pop(watch.script, None)

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
        status = await extras.point_status(self._session, tx_hash, vout, watch.script)
        if status != watch.known:
            watch.known = status
            self._session.tell_line(encode_note(watch.method, [tx_hash[::-1].hex(), vout, status]))
            self._session.flush()
