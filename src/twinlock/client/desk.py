"""Our desk at one exchange server: what accounts, bonds, orders and swaps there all work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twinlock.chain.coins import Coin, Network
from twinlock.chain.families import family_of
from twinlock.chain.family import Family
from twinlock.chain.keys import PrivateKey
from twinlock.client.config import LockConfig, Pace, ServerConfig
from twinlock.client.errors import MisbehaviourError, NotConnectedError, OrderError
from twinlock.client.events import Event, Notice
from twinlock.client.keys import TraderKeys
from twinlock.client.seams import Chain
from twinlock.client.session import Session
from twinlock.client.store import Store
from twinlock.client.store.records import AccountRecord
from twinlock.client.wallet import Wallet
from twinlock.protocol import signing
from twinlock.protocol.messages.config import Asset, Config, Market
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock


@dataclass(frozen=True)
class CoinSide:
    """One coin of ours: its rules, its wallet and its chain."""

    coin: Coin
    wallet: Wallet
    chain: Chain

    @property
    def family(self) -> Family:
        return family_of(self.coin)


@dataclass
class Desk:
    """Everything that the parts of one server's side share. `config` is as read on the newest connection."""

    server: ServerConfig
    network: Network
    session: Session
    store: Store
    coins: Mapping[int, CoinSide]
    """By asset ID."""
    keys: TraderKeys
    clock: Clock
    locks: LockConfig
    pace: Pace
    tell: Callable[[Event], None]
    config: Config | None = None
    account: AccountRecord | None = None
    key: PrivateKey | None = None
    logged_in: bool = False

    @property
    def host(self) -> str:
        return self.server.host

    def emit(self, event_type: Callable[..., Event], **members: object) -> None:
        """Tell an event of this server, now."""
        self.tell(event_type(at=self.clock.now_ms(), host=self.host, **members))

    def notice(self, text: str, level: str = "info") -> None:
        self.emit(Notice, text=text, level=level)

    # The server's offer --------------------------------------------------------------------------------

    def require_config(self) -> Config:
        """Raises NotConnectedError before the server was reached for the first time."""
        if self.config is None:
            raise NotConnectedError(f"{self.host} was not reached yet", fix="wait for the connection")
        return self.config

    def market(self, name: str) -> Market:
        """Raises OrderError."""
        for market in self.require_config().markets:
            if market.name == name:
                return market
        known = ", ".join(market.name for market in self.require_config().markets)
        raise OrderError(f"{self.host} has no market {name}", code="order.market", fix=f"choose one of: {known}")

    def asset(self, asset_id: int) -> Asset:
        """Raises OrderError."""
        for asset in self.require_config().assets:
            if asset.id == asset_id:
                return asset
        raise OrderError(f"{self.host} does not know asset {asset_id}", code="order.asset")

    def coin(self, asset_id: int) -> CoinSide:
        """Our side of an asset. Raises OrderError when we have no wallet for it."""
        side = self.coins.get(asset_id)
        if side is None:
            raise OrderError(
                f"there is no wallet for asset {asset_id}", code="order.wallet", fix="add it to [[wallets]]"
            )
        return side

    # Signatures ----------------------------------------------------------------------------------------

    def signing_key(self) -> PrivateKey:
        """The account's key. Raises NotConnectedError before discovery."""
        if self.key is None:
            raise NotConnectedError(f"the account at {self.host} is not known yet", fix="wait for the connection")
        return self.key

    def sign(self, message: bytes) -> Hex:
        return signing.sign(self.signing_key(), message)

    def server_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the pinned key of the server signed these bytes."""
        return self.account is not None and signing.check(self.account.server_pubkey, message, signature)

    def require_server_signature(self, what: str, message: bytes, signature: bytes) -> None:
        """Raises MisbehaviourError."""
        if not self.server_signed(message, signature):
            raise MisbehaviourError(f"the server's signature of {what} is wrong", code="session.signature")
