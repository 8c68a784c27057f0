"""The client's configuration: one TOML file, parsed into these types.

>>> config = parse('''
... data_dir = "/tmp/trader"
... network = "regtest"
... [[wallets]]
... symbol = "btc"
... electrum = ["tcp://127.0.0.1:50001"]
... [[servers]]
... host = "127.0.0.1:7232"
... ''')
>>> config.wallets[0].symbol, config.servers[0].url
('btc', 'wss://127.0.0.1:7232/ws')
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from twinlock.chain.coins import Network
from twinlock.client.errors import ConfigError

DEFAULT_PORT = 7232


class WalletConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One coin's wallet, and the Electrum servers that show its chain.

    `electrum` holds URLs such as ``ssl://host:50002``, `proxy` one such as ``socks5://127.0.0.1:9050`` (Tor).
    kind: light (keys from our seed), node (coins in the wallet of a coin node) or cold (coins whose keys are
    elsewhere; money to trade with comes by PSBT, payouts go there).
    """

    symbol: str
    electrum: tuple[str, ...]
    proxy: str = ""
    gap_limit: int = 20
    birthday: int = 0
    """Height below which the chain holds nothing of ours, so that nobody looks there."""
    kind: Literal["light", "node", "cold"] = "light"
    node: str = ""
    """Of node wallets: ``http://127.0.0.1:8332/wallet/NAME``."""
    node_secret: str = ""
    """Path of a file with ``user:password``, such as the node's cookie."""
    descriptor: str = ""
    """Of cold wallets: an output descriptor or extended public key."""


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One exchange server. `certificate` is the path of its PEM; empty means public CA roots."""

    host: str
    certificate: str = ""
    proxy: str = ""
    follow: tuple[str, ...] = ()
    """Markets whose book is mirrored from the start, beside those with own orders."""

    @property
    def url(self) -> str:
        """`ws://` for onion hosts, `wss://` for all others; the default port is 7232."""
        parts = urlsplit(f"//{self.host}")
        name = parts.hostname or ""
        scheme = "ws" if name.endswith(".onion") else "wss"
        return f"{scheme}://{f'[{name}]' if ':' in name else name}:{parts.port or DEFAULT_PORT}/ws"


class LockConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shorter swap locks, in seconds after the epoch's end; only on test chains, and the server must agree."""

    maker: int = 20 * 3600
    taker: int = 8 * 3600


class ControlConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local control interface. Port 0 takes a free one; withdrawing through it is off unless allowed."""

    listen: str = "127.0.0.1:0"
    allow_withdraw: bool = False


class TowerLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The watchtower that is given every swap, none without a URL. `key_file`: a copy of the tower's `tower.key`."""

    url: str = ""
    key_file: str = ""


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often things are looked at again, in seconds. Tests and the demo quicken it."""

    reconnect_step: float = 5.0
    reconnect_most: float = 60.0
    request_timeout: float = 60.0
    swap_check: float = 10.0
    bond_check: float = 20.0
    second_opinion: float = 600.0


class ClientConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `Trader` needs to know, except the password."""

    data_dir: str
    network: Network
    wallets: tuple[WalletConfig, ...]
    servers: tuple[ServerConfig, ...] = ()
    locks: LockConfig = LockConfig()
    control: ControlConfig = ControlConfig()
    pace: Pace = Pace()
    tower: TowerLink = TowerLink()
    recovery_file: str = ""
    """Where the recovery file is kept, best on another disk; `recovery.twinlock` in the data_dir without it."""

    @property
    def folder(self) -> Path:
        return Path(self.data_dir).expanduser()

    @property
    def recovery_path(self) -> Path:
        return Path(self.recovery_file).expanduser() if self.recovery_file else self.folder / "recovery.twinlock"


def parse(text: str) -> ClientConfig:
    """Decode TOML text. Raises ConfigError naming the member at fault."""
    try:
        config = msgspec.convert(tomllib.loads(text), ClientConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"the configuration is not valid: {error}", fix="correct the file") from None
    if config.network is Network.MAINNET and config.locks != LockConfig():
        raise ConfigError("lock times are fixed on mainnet", code="client.config.locks", fix="remove [locks]")
    for wallet in config.wallets:
        _check_wallet(wallet)
    symbols = [wallet.symbol for wallet in config.wallets]
    if len(set(symbols)) != len(symbols):
        raise ConfigError("each coin has one wallet", fix="merge the [[wallets]] of the same symbol")
    return config


def _check_wallet(wallet: WalletConfig) -> None:
    wanted = {"node": ("node", "node_secret"), "cold": ("descriptor",)}.get(wallet.kind, ())
    for name in ("node", "node_secret", "descriptor"):
        if bool(getattr(wallet, name)) != (name in wanted):
            verb = "needs" if name in wanted else "takes no"
            raise ConfigError(
                f"the {wallet.kind} wallet of {wallet.symbol} {verb} {name}", fix=f"correct [[wallets]] {wallet.symbol}"
            )
    if not wallet.proxy and any(".onion" in server for server in wallet.electrum):
        raise ConfigError("onion servers are reached through Tor only", fix='set proxy = "socks5://127.0.0.1:9050"')


def load(path: Path) -> ClientConfig:
    """Read and decode a file. Raises ConfigError."""
    try:
        return parse(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", fix="name a readable file with --config") from error
