"""Where a coin's node lives on this machine, and how it lets itself be called: directory, settings, cookie."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from twinlock.chain.coins import Coin, Network
from twinlock.indexer.env import EnvError

_BITCOIN = {Network.TESTNET: "testnet3", Network.TESTNET4: "testnet4", Network.SIGNET: "signet"}
_HOMES: Mapping[str, tuple[str, str, Mapping[Network, str]]] = {
    "btc": (".bitcoin", "bitcoin.conf", _BITCOIN),
    "ltc": (".litecoin", "litecoin.conf", {Network.TESTNET: "testnet4"}),
    "doge": (".dogecoin", "dogecoin.conf", {Network.TESTNET: "testnet3"}),
}
_COOKIE = ".cookie"


@dataclass(slots=True)
class NodeAddress:
    """How to call one node. Its cookie is read when it is needed: the node writes a new one at each start."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    cookie: Path | None = None

    def secret(self) -> str:
        """``user:password``, empty where there is none."""
        if self.user or self.cookie is None:
            return f"{self.user}:{self.password}" if self.user else ""
        with suppress(OSError):
            return self.cookie.read_text().strip()
        return ""

    def authorization(self) -> str:
        """The value of the HTTP header."""
        return "Basic " + base64.b64encode(self.secret().encode()).decode()

    @property
    def url(self) -> str:
        """With user and password. Not for logs."""
        user, _, password = self.secret().partition(":")
        return f"http://{quote(user)}:{quote(password)}@{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str, cookie: Path | None = None, default_port: int = 8332) -> NodeAddress:
        """Of a URL; the cookie is used where the URL names no user. Raises EnvError."""
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            port = parts.port or default_port
            if parts.scheme != "http":
                raise ValueError(f"a node is called by http, not {parts.scheme}")
        except ValueError as error:
            shown = re.sub("//.*@", "//***@", url)
            raise EnvError(
                f"{shown!r} is not the address of a node: {error}", fix="write http://127.0.0.1:8332"
            ) from error
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname or "127.0.0.1", port, user, password, cookie)


@dataclass(frozen=True, slots=True)
class NodeHome:
    """A node's data directory of one network (`folder`), and what its settings file says."""

    folder: Path
    settings: Mapping[str, str]

    @property
    def cookie(self) -> Path:
        """Where the node puts its cookie."""
        named = Path(self.settings.get("rpccookiefile", _COOKIE))
        return named if named.is_absolute() else self.folder / named


def find_home(coin: Coin, node_dir: Path | None, user_home: Path) -> NodeHome:
    """The node's home: `node_dir` as the operator gave it, or the coin's custom below the user's own."""
    name, file, folders = _HOMES.get(coin.symbol, (f".{coin.name.lower()}", f"{coin.name.lower()}.conf", {}))
    root = node_dir or user_home / name
    below = "" if coin.network is Network.MAINNET else folders.get(coin.network, str(coin.network))
    settings = _settings(root / file, coin.network)
    if "datadir" in settings and node_dir is None:
        root = Path(settings["datadir"])
    folder = root / below
    if not (folder / _COOKIE).exists() and (root / _COOKIE).exists():
        folder = root  # the operator named the network's own folder
    return NodeHome(folder, settings)


def addresses(coin: Coin, urls: tuple[str, ...], node_dir: Path | None, user_home: Path) -> list[NodeAddress]:
    """The nodes to call, the preferred one first: those given, else the one that lives here."""
    home = find_home(coin, node_dir, user_home)
    if urls:
        return [NodeAddress.parse(url, home.cookie, coin.node_rpc_port) for url in urls]
    port = home.settings.get("rpcport", "")
    address = NodeAddress("127.0.0.1", int(port) if port.isdigit() else coin.node_rpc_port, cookie=home.cookie)
    address.user, address.password = home.settings.get("rpcuser", ""), home.settings.get("rpcpassword", "")
    return [address]


def _settings(file: Path, network: Network) -> dict[str, str]:
    """What a node's settings file says for a network: ``key=value`` lines, in sections named after networks."""
    sections = {Network.MAINNET: "main", Network.TESTNET: "test"}
    wanted, section = sections.get(network, str(network)), ""
    found: dict[str, str] = {}
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        text = line.split("#", 1)[0].strip()
        if text.startswith("["):
            section = text.strip("[]")
        elif "=" in text and section in ("", wanted):
            key, _, value = text.partition("=")
            if section or key.strip() not in found:
                found[key.strip()] = value.strip()
    return found
