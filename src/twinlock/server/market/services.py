"""What a market manager uses, declared by itself; the dex manager puts the real ones together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.orders import CancelOrder, LimitOrder, TradeOrder
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Hub
from twinlock.server.db import Database, Write
from twinlock.server.market.core import Processed
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.terms import MarketTerms
from twinlock.server.signatures import SignatureDesk
from twinlock.server.users.accounts import Accounts
from twinlock.server.users.reputation import Reputations

if TYPE_CHECKING:
    from twinlock.server.historian.ledger import LedgerDraft


class Plan(Protocol):
    """The matches of an epoch, ready to be stored and begun."""

    @property
    def writes(self) -> list[Write]:
        """The rows to commit with the epoch."""
        ...

    def begin(self) -> None:
        """After the commit: tell both sides of every match."""
        ...


class Settlement(Protocol):
    """Who settles matches (the swap executor)."""

    def plan(self, terms: MarketTerms, processed: Processed) -> Plan: ...

    def plan_cancel(self, terms: MarketTerms, cancel: CancelOrder, target: LimitOrder, now_ms: int) -> Plan: ...

    def settling(self, account_id: bytes, market: str) -> int: ...

    def settles(self, order_id: bytes, account_id: bytes) -> bool:
        """Whether an active match settles an order of that account."""
        ...


class Recorder(Protocol):
    """Who keeps the history (the historian)."""

    def epoch_writes(self, terms: MarketTerms, processed: Processed) -> list[Write]: ...

    def ledger_draft(self, terms: MarketTerms) -> LedgerDraft: ...

    def epoch_stored(self, terms: MarketTerms, processed: Processed) -> None: ...


class ParcelLimit(Protocol):
    """Who knows all markets (the dex manager)."""

    def check_parcels(self, market: str, order: TradeOrder) -> None:
        """Raises RpcError 53."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything around a market. assets and locks: by asset ID."""

    hub: Hub
    database: Database
    clock: Clock
    key: PrivateKey
    accounts: Accounts
    reputations: Reputations
    assets: Mapping[int, AssetBackend]
    locks: Mapping[int, CoinLocks]
    settlement: Settlement
    recorder: Recorder
    parcels: ParcelLimit
    signatures: SignatureDesk
