"""IRC: servers meet in a channel, where each one's "real name" says where it is (``host v1.4 s50002 t50001``).

The oldest way in which Electrum servers found each other. It is off unless the setting `irc` names a channel, as in
``irc://irc.example.org/electrum`` (``ircs`` for TLS), and needs the extra ``twinlock[irc]``. What is heard here is a
rumour like any other: `peers` looks at each server before anybody is told of it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog

from twinlock.indexer.env import EnvError
from twinlock.indexer.peers import PeerManager
from twinlock.seams import Clock, Entropy

log = structlog.get_logger("indexer.irc")

_PORTS = {"irc": 6667, "ircs": 6697}
_ASK_SECONDS = 600.0
"""How often the whole channel is asked who is there; who comes in meanwhile is asked at once."""

_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 3600.0
_NOBODY = "listening"


class Meeting(NamedTuple):
    """A channel of an IRC server."""

    secure: bool
    host: str
    port: int
    channel: str

    @classmethod
    def parse(cls, text: str) -> Meeting:
        """``irc://host[:port]/channel``; the channel's # is left out. Raises EnvError.

        >>> Meeting.parse("ircs://irc.example.org/electrum-btc")
        Meeting(secure=True, host='irc.example.org', port=6697, channel='#electrum-btc')
        """
        try:
            url = urlsplit(text)
            port = url.port or _PORTS[url.scheme]
            name = url.path.strip("/")
            if not url.hostname or not name or not name.isascii() or set(name) & set(" ,\a"):
                raise ValueError(text)
        except (ValueError, KeyError) as error:
            raise EnvError(f"{text!r} is not a channel of IRC", fix="write it as irc://host:6667/channel") from error
        return cls(url.scheme == "ircs", url.hostname, port, f"#{name}")


class Irc:
    """One visitor of a meeting: announces our first host, and passes on to the peer manager what others say."""

    def __init__(self, meeting: Meeting, peers: PeerManager, clock: Clock, entropy: Entropy) -> None:
        self._meeting, self._peers, self._clock = meeting, peers, clock
        self._entropy = entropy
        self._ended = asyncio.Event()
        self.present = asyncio.Event()
        """Set while we are in the channel."""

    async def run(self) -> None:
        """Stay in the channel, coming back after every loss, until cancelled."""
        try:
            import irc.client_aio  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            log.error("IRC is asked for but its library is not installed", fix="pip install twinlock[irc]")
            return
        pause = _FIRST_PAUSE
        while True:
            began = self._clock.monotonic()
            try:
                await self._visit()
            except OSError as error:
                log.info("the IRC server cannot be reached", host=self._meeting.host, reason=str(error))
            if self._clock.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _visit(self) -> None:
        """Come in and stay until the connection ends. Raises OSError."""
        from irc.client_aio import AioReactor
        from irc.connection import AioFactory  # type: ignore[import-untyped]
        from jaraco.stream.buffer import LenientDecodingLineBuffer  # type: ignore[import-untyped]

        self._ended.clear()
        reactor = AioReactor(loop=asyncio.get_running_loop())
        connection = reactor.server()
        connection.buffer_class = LenientDecodingLineBuffer  # a stranger may send bytes that are no text
        for event, handler in (
            ("welcome", self._welcomed),
            ("nicknameinuse", self._nick_taken),
            ("join", self._joined),
            ("whoreply", self._told),
            ("disconnect", self._disconnected),
        ):
            connection.add_global_handler(event, handler)
        factory = AioFactory(ssl=ssl.create_default_context()) if self._meeting.secure else AioFactory()
        ours = self._peers.ours if self._peers.announcement() else []
        name = ours[0].real_name() if ours else _NOBODY
        await connection.connect(
            self._meeting.host, self._meeting.port, self._nick(), ircname=name, connect_factory=factory
        )
        asking = asyncio.create_task(self._ask(connection))
        try:
            await self._ended.wait()
        finally:
            asking.cancel()
            self.present.clear()
            if connection.is_connected():
                connection.quit("gone")
                connection.disconnect()

    def _nick(self) -> str:
        return "E_" + self._entropy.token(4).hex()[:7]  # nine characters are what every server takes

    async def _ask(self, connection: Any) -> None:
        while True:
            await self._clock.sleep(_ASK_SECONDS)
            connection.who(self._meeting.channel)

    # -- what the server says

    def _welcomed(self, connection: Any, _: Any) -> None:
        connection.join(self._meeting.channel)

    def _nick_taken(self, connection: Any, _: Any) -> None:
        connection.nick(self._nick())

    def _joined(self, connection: Any, event: Any) -> None:
        if event.source.nick == connection.get_nickname():
            self.present.set()
            connection.who(self._meeting.channel)
        else:
            connection.who(event.source.nick)

    def _told(self, connection: Any, event: Any) -> None:
        """A row of WHO: channel, user, host, server, nick, flags, "hops real name"."""
        if len(event.arguments) >= 7 and event.arguments[4] != connection.get_nickname():
            self._peers.heard(event.arguments[6].partition(" ")[2], "irc")

    def _disconnected(self, _: Any, __: Any) -> None:
        self._ended.set()
