"""What `/metrics` tells an operator's monitoring, in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from twinlock.protocol.codes import RpcError
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Hub
from twinlock.server.manager import DexManager
from twinlock.server.market.manager import MarketManager

_EPOCH_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Gauges read the live components when they are asked; counters are told by hooks."""

    def __init__(self, hub: Hub, manager: DexManager, assets: Mapping[int, AssetBackend]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "twinlock_requests",
            "Requests of clients, by route and answer (0: success)",
            ["route", "code"],
            registry=self.registry,
        )
        self._epochs = Counter("twinlock_epochs", "Epochs that were processed", ["market"], registry=self.registry)
        self._epoch_seconds = Histogram(
            "twinlock_epoch_seconds",
            "From the match of an epoch to its commit and notes",
            ["market"],
            buckets=_EPOCH_BUCKETS_S,
            registry=self.registry,
        )
        self._gauges(hub, manager)
        self._markets(manager)
        self._chains(assets)
        hub.on_answer = self._answered

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"twinlock_{name}", text, labels, registry=self.registry)

    def _gauges(self, hub: Hub, manager: DexManager) -> None:
        self._gauge("links", "Open WebSocket links").set_function(lambda: hub.connected)
        self._gauge("accounts_connected", "Accounts that are logged in").set_function(lambda: hub.accounts)
        self._gauge("bonds_waiting", "Bonds that wait for their confirmations").set_function(
            lambda: manager.bonds.confirming
        )
        self._gauge("active_matches", "Matches that are settling").set_function(lambda: len(manager.executor))

    def _markets(self, manager: DexManager) -> None:
        booked = self._gauge("booked_orders", "Orders on the book", "market")
        waiting = self._gauge("epoch_orders", "Orders of epochs that are not processed yet", "market")
        runs = self._gauge("market_running", "1 while a market takes orders", "market")
        subscribers = self._gauge("book_subscribers", "Links that follow a book", "market")
        for name, market in manager.markets.items():
            booked.labels(name).set_function(partial(len, market.book))
            waiting.labels(name).set_function(partial(_count_epoch_orders, market))
            runs.labels(name).set_function(partial(_runs, market))
            subscribers.labels(name).set_function(partial(len, market.public.subscribers))
            self._epochs.labels(name)
            market.on_epoch.append(self._epoch_done)

    def _chains(self, assets: Mapping[int, AssetBackend]) -> None:
        synced = self._gauge("chain_synced", "1 while a chain is in view and up to date", "asset")
        rate = self._gauge("fee_rate", "Atoms per fee unit that new matches must pay", "asset")
        for asset in assets.values():
            synced.labels(asset.coin.symbol).set_function(partial(_synced, asset))
            rate.labels(asset.coin.symbol).set_function(partial(_fee_rate, asset))

    def _answered(self, route: str, error: RpcError | None) -> None:
        self._requests.labels(route, str(int(error.rpc_code)) if error is not None else "0").inc()

    def _epoch_done(self, market: MarketManager, _epoch: int) -> None:
        self._epochs.labels(market.terms.name).inc()
        self._epoch_seconds.labels(market.terms.name).observe(market.epochs.last_epoch_s)


def _count_epoch_orders(market: MarketManager) -> int:
    return sum(1 for _ in market.core.epoch_orders())


def _runs(market: MarketManager) -> bool:
    return market.running_now


def _synced(asset: AssetBackend) -> bool:
    return asset.synced


def _fee_rate(asset: AssetBackend) -> int:
    return asset.fee_rate
