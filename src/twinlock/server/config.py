"""The server's configuration: one TOML file, parsed into typed values and checked before anything starts.

>>> config = parse_config('''
... [server]
... data_dir = "/var/lib/twinlock"
... network = "regtest"
... [[assets]]
... symbol = "btc"
... electrum = ["tcp://127.0.0.1:50001"]
... max_fee_rate = 20
... swap_conf = 1
... bond_amount = 1000000
... [[assets]]
... symbol = "ltc"
... electrum = ["tcp://127.0.0.1:50002"]
... max_fee_rate = 20
... swap_conf = 1
... [[markets]]
... base = "ltc"
... quote = "btc"
... lot_size = 1000000
... rate_step = 100
... ''')
>>> [market.name for market in config.markets]
['ltc_btc']
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from twinlock.chain.coins import Network
from twinlock.server.errors import ConfigError

Positive = Annotated[int, msgspec.Meta(ge=1)]
Symbol = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.]+$")]

DEFAULT_PORT = 7232
_MINUTE_MS = 60_000
_HOUR_S = 3_600
_PORT_MAX = 65_535
_FILES_BESIDES = 256
"""Files of what is no connection of a client: database, indexers, listeners, logs."""


class ServerSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`[server]`. Times ending in `_ms` are milliseconds, in `_s` seconds."""

    data_dir: Path
    network: Network
    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    names: tuple[str, ...] = ()
    """DNS names and addresses for the certificate, beside localhost."""
    tls: bool = True
    """Off only where something else ends the TLS, or where there is nothing but an onion service."""
    onion_listen: str = ""
    """A second, plain listener for an onion service on this machine, whose clients speak ws://; empty: none."""
    db_url: str = ""
    """SQLAlchemy URL; empty means SQLite in the data directory."""
    password_file: Path | None = None
    """A file that holds the password of the signing key; without it the key is encrypted under an empty one."""
    admin_listen: str = ""
    """Where the operator's API listens; empty means that there is none."""
    admin_password_file: Path | None = None
    broadcast_timeout_ms: Positive = 12 * _MINUTE_MS
    tx_wait_ms: Positive = 2 * _MINUTE_MS
    lock_time_maker_s: Positive = 20 * _HOUR_S
    lock_time_taker_s: Positive = 8 * _HOUR_S
    cancel_threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    free_cancels: bool = False
    max_epoch_cancels: Positive = 2
    penalty_threshold: Positive = 20
    max_clients: Positive = 10_000
    max_connections_per_address: Positive = 8
    """WebSockets; this machine's own address is exempt, as behind it may be a proxy, or an onion service."""
    max_http_connections: Positive = 500
    """Of each listener: what is no WebSocket, or not yet. Above it the address with most of them loses its oldest."""
    data_api: bool = True

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        return _split(self.listen)

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Host and port of `admin_listen`, or None."""
        return _split(self.admin_listen) if self.admin_listen else None

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of everything that listens, by setting."""
        names = ("listen", "onion_listen", "admin_listen")
        return {name: _split(address) for name in names if (address := getattr(self, name))}

    @property
    def open_files(self) -> int:
        """How many the process needs when everything is full."""
        return self.max_clients + len(self.addresses()) * self.max_http_connections + _FILES_BESIDES

    def key_password(self) -> str:
        """What opens the signing key. Raises OSError if the file cannot be read."""
        return "" if self.password_file is None else self.password_file.read_text().rstrip("\n")

    @property
    def database_url(self) -> str:
        """`db_url`, or SQLite in the data directory."""
        return self.db_url or f"sqlite+aiosqlite:///{self.data_dir / 'server.db'}"


class AssetSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One `[[assets]]`. Fee rates are atoms per virtual byte, amounts atoms."""

    symbol: Symbol
    electrum: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    max_fee_rate: Positive
    swap_conf: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    bond_amount: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Atoms for one tier; 0 means that this asset backs no bonds."""
    bond_confs: Annotated[int, msgspec.Meta(ge=0)] = 1
    fee_scale: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0
    bond_xpub: str = ""
    """Extended public key that the operator's own addresses come from; optional."""


class MarketSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One `[[markets]]`. lot_size: base atoms; rate_step: message-rate."""

    base: Symbol
    quote: Symbol
    lot_size: Positive
    rate_step: Positive
    epoch_ms: Positive = 20_000
    market_buy_buffer: Annotated[float, msgspec.Meta(ge=1)] = 1.25
    parcel_size: Positive = 4

    @property
    def name(self) -> str:
        """The `marketid` of the wire."""
        return f"{self.base}_{self.quote}"


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Everything that an operator decides."""

    server: ServerSection
    assets: Annotated[tuple[AssetSection, ...], msgspec.Meta(min_length=1)]
    markets: Annotated[tuple[MarketSection, ...], msgspec.Meta(min_length=1)]

    def asset(self, symbol: str) -> AssetSection:
        """The section of an asset that a market names."""
        return next(asset for asset in self.assets if asset.symbol == symbol)


def load_config(path: Path) -> Config:
    """Read and check a TOML file; relative paths in it are relative to the file. Raises ConfigError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", fix="name a readable file with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8", fix="name a TOML file with --config") from error
    config = parse_config(text)
    named = {name: getattr(config.server, name) for name in ("data_dir", "password_file", "admin_password_file")}
    found = {name: path.parent / file for name, file in named.items() if file is not None}
    return msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **found))


def parse_config(text: str) -> Config:
    """Parse and check. Raises ConfigError."""
    try:
        config = msgspec.convert(tomllib.loads(text), Config, dec_hook=_decode)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(str(error), fix="correct the member named in the message") from error
    _check(config)
    return config


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def _check(config: Config) -> None:
    server = config.server
    _check_listeners(server)
    _unique("assets.symbol", (asset.symbol for asset in config.assets))
    _unique("market", (market.name for market in config.markets))
    known = {asset.symbol for asset in config.assets}
    for market in config.markets:
        for symbol in (market.base, market.quote):
            if symbol not in known:
                raise ConfigError(f"market {market.name} needs the asset {symbol}", fix=f"add [[assets]] for {symbol}")
        if market.base == market.quote:
            raise ConfigError(f"market {market.name} trades an asset for itself", fix="name two assets")
    if not any(asset.bond_amount for asset in config.assets):
        raise ConfigError("no asset backs bonds", fix="set bond_amount on at least one of [[assets]]")
    if server.network is Network.MAINNET and (server.lock_time_maker_s, server.lock_time_taker_s) != (
        20 * _HOUR_S,
        8 * _HOUR_S,
    ):
        raise ConfigError("lock times are fixed on mainnet", fix="remove lock_time_maker_s and lock_time_taker_s")
    if server.lock_time_taker_s >= server.lock_time_maker_s:
        raise ConfigError("the taker's lock must end before the maker's", fix="raise lock_time_maker_s")


def _check_listeners(server: ServerSection) -> None:
    for name in ("listen", "onion_listen", "admin_listen"):
        address: str = getattr(server, name)
        if address or name == "listen":
            check_address(name, address)
    if server.onion_listen and not _loopback(server.onion_listen):
        raise ConfigError("onion_listen is plain and must stay on this machine", fix="listen on 127.0.0.1")
    if server.admin_listen and server.admin_password_file is None:
        raise ConfigError("admin_listen needs a password", fix="name a file in server.admin_password_file")
    if server.admin_listen and not server.tls and not _loopback(server.admin_listen):
        raise ConfigError("admin_listen would send the password in the clear", fix="listen on 127.0.0.1, or set tls")


def check_address(setting: str, address: str) -> None:
    """Raises ConfigError for what is no host and port."""
    _, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not port.isascii():
        raise ConfigError(f"server.{setting} {address!r} has no port", fix='write "host:port"')
    if int(port) > _PORT_MAX:
        raise ConfigError(f"server.{setting} {address!r}: there is no such port", fix=f"use one up to {_PORT_MAX}")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _loopback(address: str) -> bool:
    host = _split(address)[0]
    return host == "localhost" or (host.replace(".", "").isdigit() and host.startswith("127.")) or host == "::1"


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{what} {name} appears twice", fix="remove one")
        seen.add(name)
