"""Env: the indexer's configuration, gathered from a TOML file, the environment and flags, in that order.

Each row of `SETTINGS` says how a setting is called in each of them. The environment's names are those that operators
of other Electrum servers have in their files already.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from twinlock.chain.coins import Coin, Network
from twinlock.errors import TwinlockError
from twinlock.indexer import values
from twinlock.indexer.memory import DEFAULT_MEMORY, LEAST_MEMORY

_REGTEST_REORGS = 200


class EnvError(TwinlockError):
    """A setting that cannot be used."""

    code = "indexer.setting"
    fault = "user"


_LEAST_SENT = 350_000
"""Bytes of an answer that wallets have to be able to get, by the custom of Electrum servers."""

_HOUR_MS = 3_600_000
_DOORS = {"services": "--listen, --rpc-listen or --metrics-listen"}
"""Flags that are called otherwise than what they set."""

PROTOCOLS = ("tcp", "ssl", "ws", "wss", "rpc", "http")
_LOCAL_PORTS = {"rpc": 8000, "http": 8001}


class Service(msgspec.Struct, frozen=True):
    """Where to listen: protocol, host and port. `rpc` is the operator's door, `http` has metrics and health."""

    protocol: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Service:
        """`tcp://127.0.0.1:50001`. Raises EnvError."""
        url = urlsplit(text if "//" in text else f"{text.rstrip(':')}://")
        try:
            port = url.port or _LOCAL_PORTS.get(url.scheme)
        except ValueError:
            port = None
        host = url.hostname or ("127.0.0.1" if url.scheme in _LOCAL_PORTS else "0.0.0.0")  # noqa: S104
        if url.scheme not in PROTOCOLS or port is None:
            raise EnvError(f"{text!r} is not an address to listen on", fix="write it as tcp://127.0.0.1:50001")
        return cls(url.scheme, host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}://{host}:{self.port}"


class Env(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. Sizes in bytes, times in seconds; `SETTINGS` explains each."""

    coin: str = "btc"
    network: str = "mainnet"
    daemon_url: str = ""
    node_dir: Path | None = None
    data_dir: Path
    services: tuple[Service, ...] = ()
    report_services: tuple[Service, ...] = ()
    zmq: str = ""
    blocks_dir: Path | None = None
    use_block_files: bool = True
    poll_ms: int = 0
    reorg_limit: int = 0
    memory: int = DEFAULT_MEMORY
    max_sessions: int = 1000
    max_recv: int = 1_000_000
    max_send: int = 8_100_000
    session_timeout: int = 600
    cost_soft_limit: int = 1000
    cost_hard_limit: int = 10_000
    bandwidth_unit_cost: int = 5000
    request_sleep_ms: int = 2500
    initial_concurrent: int = 10
    request_timeout: int = 30
    subnet_ipv4: int = 24
    subnet_ipv6: int = 48
    drop_client: str = ""
    banner_file: Path | None = None
    tor_banner_file: Path | None = None
    donation_address: str = ""
    peer_discovery: str = "on"
    peer_announce: bool = True
    force_proxy: bool = False
    tor_proxy_host: str = "127.0.0.1"
    tor_proxy_port: int = 0
    blacklist_url: str = ""
    irc: str = ""
    ssl_certificate: Path | None = None
    ssl_key: Path | None = None
    log_level: str = "info"
    log_sessions: int = 3600

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two looks at the node where it does not call by itself."""
        return (self.poll_ms or (100 if self.network == "regtest" else 500)) / 1000

    @property
    def limits_cost(self) -> bool:
        """Whether sessions are slowed and dropped by what they cost: not among friends on a private chain."""
        return self.cost_hard_limit > 0 and self.network != "regtest"

    @property
    def daemon_urls(self) -> tuple[str, ...]:
        """The nodes, the preferred one first."""
        return tuple(url for part in self.daemon_url.split(",") if (url := part.strip()))

    @property
    def onion(self) -> bool:
        """Whether wallets reach us through an onion service, which makes them come from loopback."""
        return any(service.host.endswith(".onion") for service in self.report_services)

    @property
    def wallet_services(self) -> tuple[Service, ...]:
        """Where wallets connect."""
        return tuple(service for service in self.services if service.protocol not in _LOCAL_PORTS)

    def local_service(self, protocol: str) -> Service | None:
        """The operator's door (`rpc`) or the metrics (`http`), if there is one."""
        return next((service for service in self.services if service.protocol == protocol), None)


def _services(value: Any) -> tuple[Service, ...]:
    return tuple(Service.parse(text) for text in values.texts(value))


def _size(value: Any) -> int:
    """Bytes; text may end in K, M or G (powers of 1,024)."""
    match = re.fullmatch(r"(\d+)\s*([kmg]?)(i?b)?", str(value).strip().lower())
    if not match:
        raise EnvError(f"{value!r} is not a size", fix="write it as 600M")
    size = int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2]]
    if size < LEAST_MEMORY:
        raise EnvError(f"memory cannot be {value}", fix=f"at least {LEAST_MEMORY >> 20}M are needed")
    return size


def _coin(value: Any) -> str:
    """ "Bitcoin" in other servers' files is our btc."""
    names = {"bitcoin": "btc", "litecoin": "ltc", "dogecoin": "doge"}
    name = values.text(value).lower()
    return names.get(name, name)


def _network(value: Any) -> str:
    known = [str(network) for network in Network]
    if values.text(value).lower() not in known:
        raise ValueError(f"it should be one of {', '.join(known)}")
    return values.text(value).lower()


def _discovery(value: Any) -> str:
    """on, off or self. TOML and other servers' files also say true, 1, ..."""
    text = str(value).lower()
    if text not in ("self", "off", "0", "false", "no", "", "on", "1", "true", "yes"):
        raise EnvError(f"peer_discovery cannot be {value!r}", fix="on, off (a fixed list) or self (only ourselves)")
    return text if text == "self" else ("on" if values.switch(text) else "off")


def _level(value: Any) -> str:
    text = str(value).lower()
    if text == "critical":
        return "error"
    if text not in ("debug", "info", "warning", "error"):
        raise EnvError(f"log_level cannot be {value!r}", fix="debug, info, warning or error")
    return text


def _reported(value: Any) -> tuple[Service, ...]:
    services = _services(value)
    for service in services:
        if service.protocol in _LOCAL_PORTS:
            raise EnvError(f"{service} is for the operator alone and is not reported to others")
    return services


COIN_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "doge": {"max_send": 10_000_000},  # 2,016 headers with their proofs of work in hex
}
"""Where a coin's custom differs from what `Env` says. How deep a reorganisation may be stands in the coin's row."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: the field of `Env`, its name in the environment, how text or TOML becomes its value, and help."""

    field: str
    variable: str
    parse: Callable[[Any], Any]
    help: str


SETTINGS = (
    Setting("coin", "COIN", _coin, "Which coin: btc, ltc, ..."),
    Setting("network", "NET", _network, "Which of its chains: mainnet, testnet, regtest, ..."),
    Setting("daemon_url", "DAEMON_URL", values.urls, "The node's RPC: http://user:password@host:port; or several."),
    Setting("node_dir", "DAEMON_DIR", values.path, "The node's data directory, with its cookie; found if usual."),
    Setting("data_dir", "DB_DIRECTORY", values.path, "Where the index lives."),
    Setting("services", "SERVICES", _services, "Where to listen: tcp, ssl, ws, wss, rpc or http://host:port, ..."),
    Setting("report_services", "REPORT_SERVICES", _reported, "What to tell others of: ssl://my.host.org:50002, ..."),
    Setting("zmq", "ZMQ", values.text, "The node's publisher; asked from the node when not given."),
    Setting("blocks_dir", "BLOCKS_DIR", values.path, "The node's block files; found through a node on this machine."),
    Setting("use_block_files", "USE_BLOCK_FILES", values.switch, "Read the node's block files where they can be read."),
    Setting("poll_ms", "DAEMON_POLL_INTERVAL_BLOCKS", values.number(0, _HOUR_MS), "How often to ask a quiet node, ms."),
    Setting(
        "reorg_limit", "REORG_LIMIT", values.number(0, 1 << 31), "Blocks that can be undone; the coin's custom if 0."
    ),
    Setting("memory", "MEMORY", _size, "What the program may hold in memory, at most: 300M or more."),
    Setting("max_sessions", "MAX_SESSIONS", values.number(1), "Wallets connected at once."),
    Setting("max_recv", "MAX_RECV", values.number(1000), "Bytes of one request."),
    Setting("max_send", "MAX_SEND", values.at_least(_LEAST_SENT), "Bytes of one answer."),
    Setting("session_timeout", "SESSION_TIMEOUT", values.number(1), "Seconds of silence after which one is dropped."),
    Setting("cost_soft_limit", "COST_SOFT_LIMIT", values.number(), "Cost from which a session is slowed; 0 never."),
    Setting("cost_hard_limit", "COST_HARD_LIMIT", values.number(), "Cost at which a session is dropped; 0 never."),
    Setting("bandwidth_unit_cost", "BANDWIDTH_UNIT_COST", values.number(1), "Bytes, in or out, that cost 1."),
    Setting("request_sleep_ms", "REQUEST_SLEEP", values.number(), "The longest pause above the soft limit, ms."),
    Setting("initial_concurrent", "INITIAL_CONCURRENT", values.number(1), "Questions to the node at once, a session."),
    Setting("request_timeout", "REQUEST_TIMEOUT", values.number(1), "Seconds after which a request is given up."),
    Setting("subnet_ipv4", "SESSION_GROUP_BY_SUBNET_IPV4", values.number(0, 32), "Networks that are charged as one."),
    Setting("subnet_ipv6", "SESSION_GROUP_BY_SUBNET_IPV6", values.number(0, 128), "The same for IPv6."),
    Setting("drop_client", "DROP_CLIENT", values.pattern, "Refuse clients whose name matches this expression."),
    Setting("banner_file", "BANNER_FILE", values.path, "A file with the text that wallets show; read again for each."),
    Setting("tor_banner_file", "TOR_BANNER_FILE", values.path, "The same for those who come through Tor."),
    Setting("donation_address", "DONATION_ADDRESS", values.text, "Where wallets offer to send thanks."),
    Setting("peer_discovery", "PEER_DISCOVERY", _discovery, "Look for other servers: on, off (a list), self."),
    Setting("peer_announce", "PEER_ANNOUNCE", values.switch, "Tell other servers of us, where report_services is set."),
    Setting("force_proxy", "FORCE_PROXY", values.switch, "Reach other servers through the Tor proxy only."),
    Setting("tor_proxy_host", "TOR_PROXY_HOST", values.text, "Where a Tor proxy runs."),
    Setting(
        "tor_proxy_port", "TOR_PROXY_PORT", values.number(0, 65535), "Its port; looked for at 9050, 9150, 1080 if 0."
    ),
    Setting("blacklist_url", "BLACKLIST_URL", values.text, "A JSON list of servers to keep away from."),
    Setting("irc", "IRC", values.text, "Meet other servers by IRC too: irc://host:port/channel. Off when empty."),
    Setting(
        "ssl_certificate", "SSL_CERTFILE", values.path, "The TLS certificate; made at the first start if not given."
    ),
    Setting("ssl_key", "SSL_KEYFILE", values.path, "Its key."),
    Setting("log_level", "LOG_LEVEL", _level, "What is logged: debug, info, warning or error."),
    Setting("log_sessions", "LOG_SESSIONS", values.number(), "Seconds between two lines on the state; 0 for none."),
)

UNUSED: Mapping[str, str] = {
    "DB_ENGINE": "the index has an engine of its own",
    "CACHE_MB": "MEMORY bounds what a first sync and serving take",
    "LOG_FORMAT": "logs are JSON, or for people where they go to a terminal",
    "ANON_LOGS": "addresses of wallets are never logged",
    "ALLOW_ROOT": "it runs as whoever starts it; a unit of systemd names the user",
    "EVENT_LOOP_POLICY": "uvloop always runs",
    "DAEMON_POLL_INTERVAL_MEMPOOL": "blocks and mempool are looked at together, every DAEMON_POLL_INTERVAL_BLOCKS",
    "ELECTRUMX": "it belongs to the other server's own start script",
    "USERNAME": "it belongs to the other server's own start script",
}
"""Names in other servers' files that mean nothing here, and why."""


def unused(environ: Mapping[str, str]) -> dict[str, str]:
    """Which of them an operator has set. That of the user is often set by others, and told beside the script's only."""
    return {
        name: why for name, why in UNUSED.items() if name in environ and (name != "USERNAME" or "ELECTRUMX" in environ)
    }


def load(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """(settings, where each came from); what comes later wins: file, environment, flags. Raises EnvError."""
    settings: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def take(setting: Setting, value: Any, origin: str) -> None:
        try:
            settings[setting.field] = setting.parse(value)
        except ValueError as error:
            raise EnvError(f"{origin}: {value!r} will not do for {setting.field}: {error}") from error
        except EnvError as error:
            raise EnvError(f"{origin}: {error}", fix=error.fix) from error
        origins[setting.field] = origin

    content = _read_toml(file) if file else {}
    unknown = content.keys() - {setting.field for setting in SETTINGS}
    if unknown:
        raise EnvError(f"{file}: unknown settings {', '.join(sorted(unknown))}")
    for setting in SETTINGS:
        if setting.field in content:
            take(setting, content[setting.field], str(file))
        if setting.variable in environ:
            take(setting, environ[setting.variable], f"${setting.variable}")
        if flags.get(setting.field) not in (None, "", ()):
            take(setting, flags[setting.field], _DOORS.get(setting.field, f"--{setting.field.replace('_', '-')}"))
    return settings, origins


def make_env(settings: Mapping[str, Any]) -> Env:
    """Raises EnvError when something that has no default is missing."""
    if settings.get("data_dir") is None:
        raise EnvError("data_dir is not set", fix="give --data-dir")
    merged = {**COIN_DEFAULTS.get(settings.get("coin", "btc"), {}), **settings}
    return Env(**merged)


def reorg_limit_of(env: Env, coin: Coin) -> int:
    """Blocks that can be undone: what is set, else the coin's custom."""
    return env.reorg_limit or (_REGTEST_REORGS if env.network == "regtest" else coin.reorg_limit)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise EnvError(f"{file}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise EnvError(f"{file}: {error}") from error
