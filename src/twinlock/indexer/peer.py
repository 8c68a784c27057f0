"""Peer: what is known of another server of our chain, and the notations in which servers tell each other of servers.

The oldest notation is the "real name" of the days of IRC: ``host v1.4 p10000 t50001 s50002``, where `t` or `s` alone
mean the usual port. `server.peers.subscribe` gives rows ``[ip, host, ["v1.4", "t50001", "s50002"]]``,
`server.features` a table of hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from twinlock.electrum.transport import Endpoint
from twinlock.indexer.costs import Address

STALE_SECONDS = 3 * 3600.0
RETRY_SECONDS = 300.0
_MOST_DOUBLINGS = 6
_TRIES_NEVER_GOOD, _TRIES_ONCE_GOOD = 3, 10
_LONGEST_LINE = 300

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}")


class Ports(NamedTuple):
    """The usual ports of a network."""

    tcp: int = 50001
    ssl: int = 50002


MAINNET_PORTS, TEST_PORTS = Ports(), Ports(51001, 51002)


class State(StrEnum):
    """never: not yet seen well. good: seen within 3 hours. stale: longer ago. bad: on another chain, or lying."""

    NEVER = "never"
    GOOD = "good"
    STALE = "stale"
    BAD = "bad"


def host_address(host: str) -> Address | None:
    """The address that a host's text is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_host(text: object) -> bool:
    """Whether that can be a server's public name or address; names need a dot.

    >>> is_host("a.example.org"), is_host("localhost"), is_host("a..b"), is_host("8.8.8.8"), is_host("x" * 300 + ".de")
    (True, False, False, True, False)
    """
    if not isinstance(text, str) or len(text) > 253:
        return False
    if host_address(text) is not None:
        return True
    labels = text.lower().rstrip(".").split(".")
    return len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def _port(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 65_536 else None


@dataclass(eq=False, slots=True)
class Peer:
    """Another server. Times are of the monotonic clock; `tries` counts failures since the last success."""

    host: str
    tcp_port: int | None = None
    ssl_port: int | None = None
    version: str = "1.4"
    source: str = ""
    addresses: tuple[Address, ...] = ()
    software: str = ""
    last_good: float | None = None
    last_try: float | None = None
    tries: int = 0
    bad: bool = False
    trouble: str = ""

    @property
    def is_tor(self) -> bool:
        return self.host.endswith(".onion")

    def state(self, now: float) -> State:
        """What is to be thought of it."""
        if self.bad:
            return State.BAD
        if self.last_good is None:
            return State.NEVER
        return State.GOOD if now - self.last_good < STALE_SECONDS else State.STALE

    def due(self, now: float) -> bool:
        """Whether to look at it now: half way to being stale, or after a pause that doubles with each failure."""
        if self.last_try is None:
            return True
        pause = RETRY_SECONDS * 2 ** min(self.tries, _MOST_DOUBLINGS) if self.tries else STALE_SECONDS / 2
        return now - self.last_try >= pause

    @property
    def hopeless(self) -> bool:
        """Whether it failed so often that it should be forgotten."""
        return self.tries >= (_TRIES_NEVER_GOOD if self.last_good is None else _TRIES_ONCE_GOOD)

    @property
    def bucket(self) -> str:
        """Servers of one bucket may well be one person's: the same /16, or /56 in IPv6."""
        if self.is_tor:
            return "onion"
        if not self.addresses:
            return self.host
        first = self.addresses[0]
        return str(ipaddress.ip_network((first, 16 if first.version == 4 else 56), strict=False))

    def endpoints(self) -> list[Endpoint]:
        """Where to try, the safer door first."""
        doors = (("ssl", self.ssl_port), ("tcp", self.tcp_port))
        return [Endpoint(scheme, self.host, port) for scheme, port in doors if port]

    # -- notations

    @property
    def _details(self) -> list[str]:
        doors = (("s", self.ssl_port), ("t", self.tcp_port))
        return [f"v{self.version}", *(f"{letter}{port}" for letter, port in doors if port)]

    def real_name(self) -> str:
        """As the days of IRC wrote it.

        >>> Peer("example.org", 50001, 50002).real_name()
        'example.org v1.4 s50002 t50001'
        """
        return " ".join([self.host, *self._details])

    def row(self) -> list[Any]:
        """As `server.peers.subscribe` tells it."""
        return [str(self.addresses[0]) if self.addresses else self.host, self.host, self._details]

    @classmethod
    def from_details(
        cls, host: object, details: Iterable[object], source: str, usual: Ports = MAINNET_PORTS
    ) -> Peer | None:
        """A host with its details (``v1.4``, ``t50001``, ``s``, ...); None where that is not a server."""
        if not is_host(host):
            return None
        peer = cls(str(host).lower().rstrip("."), source=source)
        for text in details:
            if not isinstance(text, str) or not text:
                return None
            letter, rest = text[0], text[1:]
            if letter == "v" and _VERSION.fullmatch(rest):
                peer.version = rest
            elif letter in "ts":
                default = usual.tcp if letter == "t" else usual.ssl
                port = _port(int(rest)) if rest.isascii() and rest.isdigit() and len(rest) < 6 else None
                port = default if not rest else port
                setattr(peer, "tcp_port" if letter == "t" else "ssl_port", port)
        return peer if peer.endpoints() else None

    @classmethod
    def from_real_name(cls, text: str, source: str, usual: Ports = MAINNET_PORTS) -> Peer | None:
        """The notation of IRC; None where it is something else.

        >>> peer = Peer.from_real_name("e.example.org v1.4 p10000 t s50010", "irc")
        >>> [str(endpoint) for endpoint in peer.endpoints()]
        ['ssl://e.example.org:50010', 'tcp://e.example.org:50001']
        """
        words = text[:_LONGEST_LINE].split()
        return cls.from_details(words[0], words[1:], source, usual) if words else None

    @classmethod
    def from_row(cls, row: object, source: str, usual: Ports = MAINNET_PORTS) -> Peer | None:
        """A row of `server.peers.subscribe`."""
        if isinstance(row, Sequence) and len(row) == 3 and isinstance(row[2], Sequence) and len(row[2]) < 20:
            return cls.from_details(row[1], row[2], source, usual)
        return None

    @classmethod
    def from_features(cls, features: object, source: str) -> list[Peer]:
        """The hosts of a `server.features`."""
        hosts = features.get("hosts") if isinstance(features, Mapping) else None
        if not isinstance(hosts, Mapping):
            return []
        peers = []
        for host, ports in list(hosts.items())[:4]:
            if is_host(host) and isinstance(ports, Mapping):
                peer = cls(host.lower().rstrip("."), _port(ports.get("tcp_port")), _port(ports.get("ssl_port")))
                peer.source = source
                if peer.endpoints():
                    peers.append(peer)
        return peers
