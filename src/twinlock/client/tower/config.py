"""A tower's configuration: one TOML file, parsed into these types.

>>> config = parse('''
... data_dir = "/var/lib/twinlock-tower"
... network = "regtest"
... [[chains]]
... symbol = "btc"
... electrum = ["tcp://127.0.0.1:50001"]
... ''')
>>> config.listen, config.chains[0].symbol
('127.0.0.1:7240', 'btc')
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from twinlock.chain.coins import Network
from twinlock.client.config import WalletConfig
from twinlock.client.errors import ConfigError


class TowerPace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often every packet is looked at again, in seconds, beside every new block and every change of a contract."""

    check: float = 30.0


class TowerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a tower needs to know. `chains`: the Electrum servers of its own choice.

    listen: where packets come in, `host:port`; they are encrypted and authenticated with the tower's key.
    """

    data_dir: str
    network: Network
    chains: tuple[WalletConfig, ...]
    listen: str = "127.0.0.1:7240"
    pace: TowerPace = TowerPace()

    @property
    def folder(self) -> Path:
        return Path(self.data_dir).expanduser()


def parse(text: str) -> TowerConfig:
    """Decode TOML text. Raises ConfigError naming the member at fault."""
    try:
        return msgspec.convert(tomllib.loads(text), TowerConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"the configuration is not valid: {error}", fix="correct the file") from None


def load(path: Path) -> TowerConfig:
    """Read and decode a file. Raises ConfigError."""
    try:
        return parse(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", fix="name a readable file with --config") from error
