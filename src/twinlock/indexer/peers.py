"""Peers: the other servers of our chain. Wallets ask one server for others, so servers look for each other.

Each candidate is looked at (`peer_check`) before it is told to anybody, again before it goes stale, and forgotten when
it fails too often. Candidates come from the list in `peers.json`, from servers that are well, from servers that ask to
be listed (`server.add_peer`), from the operator, from IRC, and from the last time (`peer_store`). Nothing that a
stranger says makes us tell wallets of a server that we have not seen ourselves.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from typing import Any

import structlog

from twinlock.chain.coins import Coin, Network
from twinlock.electrum.errors import CertificateChangedError, ConnectionLostError, ElectrumError, LyingServerError
from twinlock.errors import TwinlockError
from twinlock.indexer.banner import SOFTWARE
from twinlock.indexer.bans import Bans, host_matches
from twinlock.indexer.costs import Address
from twinlock.indexer.env import Env
from twinlock.indexer.methods import VERSIONS
from twinlock.indexer.peer import MAINNET_PORTS, TEST_PORTS, Peer, State, host_address
from twinlock.indexer.peer_check import BadPeerError, Report, verify
from twinlock.indexer.peer_network import TOR_PORTS, PeerNetwork
from twinlock.indexer.peer_store import PeerStore
from twinlock.indexer.storage.seam import Index
from twinlock.seams import Clock, Entropy

log = structlog.get_logger("indexer.peers")

_TICK_SECONDS = 5.0
_AT_ONCE = 8
_MOST = 1000
"""Peers that are remembered; strangers could make up any number of them."""

_ADD_SECONDS = 600.0
_ONION_SECONDS = 1200
_BLACKLIST_SECONDS = 600.0
_KEEP_SECONDS = 600.0
_PER_BUCKET = 2
_ONIONS, _ONIONS_FOR_TOR, _ONION_PART = 10, 50, 4


class PeerError(TwinlockError):
    """A peer that cannot be added."""

    code = "indexer.peers"
    fault = "user"


def listed_by_default(coin: Coin) -> list[str]:
    """The servers that come with the program, in the notation of IRC."""
    table = json.loads(resources.files("twinlock.indexer").joinpath("peers.json").read_text())
    rows: list[str] = table.get(f"{coin.symbol} {coin.network}", [])
    return rows


class PeerManager:
    """Knows the other servers. `run` looks for them and after them."""

    def __init__(
        self,
        env: Env,
        coin: Coin,
        index: Index,
        clock: Clock,
        entropy: Entropy,
        network: PeerNetwork,
        bans: Bans,
        store: PeerStore | None = None,
    ) -> None:
        """store: keeps those that are well over a restart."""
        self._store = store
        self._env, self._coin, self._index = env, coin, index
        self._clock, self._network, self._bans = clock, network, bans
        self._random = random.Random(entropy.token(16))
        self._usual = MAINNET_PORTS if coin.network is Network.MAINNET else TEST_PORTS
        self._private_too = coin.network is Network.REGTEST  # nobody's private chain has public servers
        self._blacklist: tuple[str, ...] = ()
        self._asked: dict[str, float] = {}
        self._next_onion = float("-inf")
        self._looking: dict[str, asyncio.Task[None]] = {}
        self.proxy: str | None = None
        self.peers: dict[str, Peer] = {}
        self.ours = self._ourselves()
        if env.peer_discovery == "on" and store is not None:
            self._note(*store.load(self._usual))
        if env.peer_discovery != "self":
            for text in listed_by_default(coin):
                if peer := Peer.from_real_name(text, "the program's list", self._usual):
                    self.peers.setdefault(peer.host, peer)

    def _ourselves(self) -> list[Peer]:
        """What we report, a peer a host."""
        ours: dict[str, Peer] = {}
        for service in self._env.report_services:
            address = host_address(service.host)
            if not self._private_too and ((address and not address.is_global) or "." not in service.host):
                log.warning("others cannot reach this; it is not reported", service=str(service))
                continue
            peer = ours.setdefault(service.host, Peer(service.host, source="ourselves"))
            peer.version = ".".join(map(str, VERSIONS[-1]))
            if service.protocol == "tcp":
                peer.tcp_port = service.port
            elif service.protocol == "ssl":
                peer.ssl_port = service.port
        return list(ours.values())

    # -- what sessions ask

    def features(self) -> dict[str, Any]:
        """Our hosts with their ports, as `server.features` tells them."""
        hosts: dict[str, dict[str, int]] = {}
        for service in self._env.report_services:
            if any(peer.host == service.host for peer in self.ours):
                hosts.setdefault(service.host, {})[f"{service.protocol}_port"] = service.port
        return {"hosts": hosts}

    def announcement(self) -> dict[str, Any]:
        """Our features as others want them with `server.add_peer`; empty where we are not to be announced."""
        hosts = self.features()["hosts"]
        if not self._env.peer_announce or not hosts:
            return {}
        return {
            "hosts": {host: {"tcp_port": None, "ssl_port": None, **ports} for host, ports in hosts.items()},
            "genesis_hash": self._coin.genesis_hash,
            "protocol_min": ".".join(map(str, VERSIONS[0])),
            "protocol_max": ".".join(map(str, VERSIONS[-1])),
            "server_version": SOFTWARE,
            "hash_function": "sha256",
            "pruning": None,
        }

    def listed(self, tor: bool) -> list[list[Any]]:
        """The rows of `server.peers.subscribe`: ourselves, and peers that are well, few of each neighbourhood."""
        now = self._clock.monotonic()
        if self._env.peer_discovery == "off":
            known = [peer for peer in self.peers.values() if self._welcome(peer)]
        else:
            known = [peer for peer in self.peers.values() if peer.state(now) is State.GOOD]
        self._random.shuffle(known)
        chosen: list[Peer] = []
        buckets: Counter[str] = Counter()
        for peer in known:
            buckets[peer.bucket] += 1
            if not peer.is_tor and buckets[peer.bucket] <= _PER_BUCKET:
                chosen.append(peer)
        most = _ONIONS_FOR_TOR if tor else max(_ONIONS, len(chosen) // _ONION_PART)
        onions = [peer for peer in known if peer.is_tor][:most]
        return [peer.row() for peer in (*self.ours, *chosen, *onions)]

    async def add_peer(self, features: Any, address: Address | None) -> bool:
        """A server asks to be listed: it is looked at later when it asks from where its host is, and not too often."""
        peers = Peer.from_features(features, f"asked from {address}")
        if self._env.peer_discovery != "on" or address is None or not peers:
            return False
        if features.get("genesis_hash") != self._coin.genesis_hash:
            return False
        peer, now = peers[0], self._clock.monotonic()
        self._asked = {host: at for host, at in self._asked.items() if now - at < _ADD_SECONDS}
        if peer.host in self._asked or len(self._asked) >= _MOST or not self._welcome(peer):
            return False
        self._asked[peer.host] = now
        if peer.is_tor:
            if now < self._next_onion:
                return False
            self._next_onion = now + self._random.randrange(_ONION_SECONDS)
        else:
            if address not in await self._network.resolve(peer.host):
                return False
            if not self._private_too and not address.is_global:
                return False
        return self._note(peer) or peer.host in self.peers

    # -- what the operator asks

    def rows(self) -> list[dict[str, Any]]:
        """All peers, the well ones first."""
        now = self._clock.monotonic()
        order = [State.GOOD, State.STALE, State.NEVER, State.BAD]
        return [
            {
                "host": peer.host,
                "state": str(peer.state(now)),
                "doors": [str(endpoint) for endpoint in peer.endpoints()],
                "software": peer.software,
                "addresses": [str(address) for address in peer.addresses],
                "source": peer.source,
                "seen_s": None if peer.last_good is None else round(now - peer.last_good),
                "tried_s": None if peer.last_try is None else round(now - peer.last_try),
                "failures": peer.tries,
                "trouble": peer.trouble,
            }
            for peer in sorted(self.peers.values(), key=lambda peer: (order.index(peer.state(now)), peer.host))
        ]

    def add_by_hand(self, text: str) -> str:
        """Take a peer in the notation of IRC, ``host v1.4 s t``. Raises PeerError."""
        peer = Peer.from_real_name(text, "the operator", self._usual)
        if peer is None or not self._welcome(peer):
            raise PeerError(f"{text!r} is not a peer that can be added", fix="write it as: host v1.4 s50002 t50001")
        self.peers.pop(peer.host, None)
        self._note(peer)
        return f"{peer.host} will be looked at"

    def heard(self, real_name: str, source: str) -> bool:
        """Somebody told of a server; whether it is news."""
        peer = Peer.from_real_name(real_name, source, self._usual)
        return peer is not None and self._env.peer_discovery == "on" and self._note(peer)

    def drop_banned(self) -> None:
        """Forget those that are not welcome any more."""
        self.peers = {host: peer for host, peer in self.peers.items() if self._welcome(peer)}

    # -- the rounds

    async def run(self) -> None:
        """Look at peers as they come due, until cancelled."""
        if self._env.peer_discovery != "on":
            return
        await self._find_proxy()
        fetched, kept = float("-inf"), self._clock.monotonic()
        try:
            while True:
                if self._clock.monotonic() - kept >= _KEEP_SECONDS:
                    kept = self._clock.monotonic()
                    self.keep()
                if self._env.blacklist_url and self._clock.monotonic() - fetched >= _BLACKLIST_SECONDS:
                    fetched = self._clock.monotonic()
                    await self._fetch_blacklist()
                self.look_around()
                await self._clock.sleep(_TICK_SECONDS)
        finally:
            self.keep()
            for task in self._looking.values():
                task.cancel()

    def keep(self) -> None:
        """Write down the servers that were ever well, the ones seen last first."""
        known = [peer for peer in self.peers.values() if peer.last_good is not None and not peer.bad]
        if self._store is not None and known:
            self._store.save(sorted(known, key=lambda peer: -(peer.last_good or 0)))

    def look_around(self) -> None:
        """Begin to look at some of those that are due."""
        now = self._clock.monotonic()
        for peer in list(self.peers.values()):
            if len(self._looking) >= _AT_ONCE:
                return
            if peer.host not in self._looking and peer.due(now) and (self.proxy or not peer.is_tor):
                peer.last_try = now
                self._looking[peer.host] = asyncio.create_task(self._look_at(peer))

    async def _look_at(self, peer: Peer) -> None:
        try:
            report = await self._report(peer)
        except BadPeerError as error:
            self._failed(peer, str(error), bad=True)
        except LyingServerError as error:
            self._failed(peer, str(error), bad=error.what in ("genesis", "version", "type"))
        except TwinlockError as error:
            self._failed(peer, str(error))
        else:
            self._seen(peer, report)
        finally:
            self._looking.pop(peer.host, None)

    async def _report(self, peer: Peer) -> Report:
        proxy = self.proxy if peer.is_tor or self._env.force_proxy else None
        if self._env.force_proxy and proxy is None:
            raise ConnectionLostError("there is no proxy to reach it by")
        if not peer.is_tor and proxy is None:
            peer.addresses = await self._network.resolve(peer.host)
            if not peer.addresses:
                raise ConnectionLostError("its host has no address")
            if not self._welcome(peer):
                raise BadPeerError("its address is not one for a server")
        trouble: ElectrumError = ConnectionLostError("it has no doors")
        for endpoint in peer.endpoints():
            try:
                transport = await self._network.dial(endpoint, proxy)
                return await verify(peer, transport, self._clock, self._index, self.announcement(), self._usual)
            except (ConnectionLostError, CertificateChangedError) as error:
                trouble = error
        raise trouble

    def _failed(self, peer: Peer, trouble: str, bad: bool = False) -> None:
        peer.tries += 1
        peer.bad, peer.trouble = bad, trouble[:200]
        if peer.hopeless:
            self.peers.pop(peer.host, None)
        log.debug("a peer failed", host=peer.host, trouble=peer.trouble, forgotten=peer.hopeless)

    def _seen(self, peer: Peer, report: Report) -> None:
        itself = report.itself
        peer.tcp_port, peer.ssl_port = itself.tcp_port, itself.ssl_port
        peer.software, peer.version = itself.software, itself.version
        peer.last_good, peer.tries, peer.bad, peer.trouble = self._clock.monotonic(), 0, False, ""
        self._note(*report.others)

    def _note(self, *peers: Peer) -> bool:
        """Take in peers that are new; whether any was."""
        before = len(self.peers)
        for peer in peers:
            if len(self.peers) < _MOST and peer.host not in self.peers and self._welcome(peer):
                self.peers[peer.host] = peer
        return len(self.peers) > before

    def _welcome(self, peer: Peer) -> bool:
        """Whether it is neither ourselves, nor banned, nor out of the public's reach."""
        literal = host_address(peer.host)
        addresses = (*peer.addresses, *([literal] if literal else []))
        if any(peer.host == own.host for own in self.ours):
            return False
        if not self._private_too and not all(address.is_global for address in addresses):
            return False
        blacklisted = any(host_matches(peer.host, pattern) for pattern in self._blacklist)
        return not blacklisted and self._bans.allows_host(peer.host, addresses)

    async def _find_proxy(self) -> None:
        host, port = self._env.tor_proxy_host, self._env.tor_proxy_port
        found = await self._network.find_proxy(host, (port,) if port else TOR_PORTS)
        if found is not None:
            self.proxy = f"socks5://{host}:{found}"
            log.info("a Tor proxy was found", host=host, port=found)
        elif self._env.force_proxy:
            log.warning("there is no proxy, and peers may be reached by one only", host=host)

    async def _fetch_blacklist(self) -> None:
        try:
            names = json.loads(await self._network.fetch(self._env.blacklist_url))
        except (OSError, ValueError) as error:
            log.warning("the blacklist cannot be had", url=self._env.blacklist_url, reason=str(error))
            return
        self._blacklist = _names(names)
        self.drop_banned()


def _names(value: object) -> tuple[str, ...]:
    rows: Iterable[object] = value if isinstance(value, list) else ()
    return tuple(row for row in rows if isinstance(row, str))
