"""The kinds of wallets that a configuration can name, and how each is opened: the table `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from twinlock.chain.coins import Coin
from twinlock.chain.descriptor import Descriptor
from twinlock.client.config import WalletConfig
from twinlock.client.store.base import Store
from twinlock.client.wallet.keys import WalletKeys
from twinlock.client.wallet.light import LightWallet
from twinlock.client.wallet.node import NodeWallet
from twinlock.client.wallet.node_rpc import NodeRpc
from twinlock.client.wallet.scanner import WalletView
from twinlock.seams import Clock


class Ground(NamedTuple):
    """What every wallet stands on. seed: the master secret of BIP 32."""

    coin: Coin
    view: WalletView
    seed: bytes
    store: Store
    clock: Clock


def open_wallet(ground: Ground, config: WalletConfig) -> LightWallet:
    """The wallet that the configuration describes, not entered yet. Raises ConfigError, KeyFormatError."""
    return KINDS[config.kind](ground, config)


def _light(ground: Ground, config: WalletConfig) -> LightWallet:
    keys = WalletKeys.from_seed(ground.coin, ground.seed)
    return _viewed(ground, keys, config)


def _cold(ground: Ground, config: WalletConfig) -> LightWallet:
    account = Descriptor.parse(ground.coin, config.descriptor)
    keys = WalletKeys.from_seed(ground.coin, ground.seed, account)
    return _viewed(ground, keys, config)


def _viewed(ground: Ground, keys: WalletKeys, config: WalletConfig) -> LightWallet:
    coin, view, store, clock = ground.coin, ground.view, ground.store, ground.clock
    return LightWallet(coin, view, keys, store, clock, gap_limit=config.gap_limit, birthday=config.birthday)


def _node(ground: Ground, config: WalletConfig) -> LightWallet:
    keys = WalletKeys.from_seed(ground.coin, ground.seed, accounts=False)
    rpc = NodeRpc(config.node, Path(config.node_secret).expanduser())
    return NodeWallet(ground.coin, ground.view, keys, ground.store, ground.clock, rpc, birthday=config.birthday)


KINDS: Mapping[str, Callable[[Ground, WalletConfig], LightWallet]] = MappingProxyType(
    {"light": _light, "cold": _cold, "node": _node}
)
