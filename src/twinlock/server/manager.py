"""The dex manager: knows and controls the markets, and puts users, markets, swaps and history together.

Order and bond messages go to the desks that registered for them; what concerns several components meets here:
parcels over all markets, what a returning client must know, orders that an absent or suspended account loses,
start, suspension and resumption.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from twinlock.chain.keys import PrivateKey
from twinlock.protocol import parcels, routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.epoch import epoch_index, epoch_start, final_epoch
from twinlock.protocol.messages.book import Resumption, Suspension
from twinlock.protocol.messages.status import ActiveMatch, ActiveOrder
from twinlock.protocol.orders import Order, OrderStatus, TradeOrder
from twinlock.protocol.reputation import Outcome, Policy
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Hub
from twinlock.server.config import ServerSection
from twinlock.server.db import Database
from twinlock.server.db.accounts import Point, add_points
from twinlock.server.db.epochs import MarketRow, last_epoch, load_market, put_market
from twinlock.server.db.history import orders_by_id
from twinlock.server.db.orders import StoredOrder, load_active, restate
from twinlock.server.historian import Historian
from twinlock.server.historian.ledger import Reason
from twinlock.server.market.errors import refused
from twinlock.server.market.intake import Intake
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.manager import MarketManager
from twinlock.server.market.schedule import Schedule
from twinlock.server.market.services import Services
from twinlock.server.market.snapshots import Snapshots
from twinlock.server.market.terms import MarketTerms
from twinlock.server.market.upkeep import drop_spent, resting
from twinlock.server.signatures import SignatureDesk
from twinlock.server.swapper.executor import SwapExecutor
from twinlock.server.swapper.negotiation import Negotiator
from twinlock.server.swapper.relays import Relays
from twinlock.server.swapper.reports import ReportDesk
from twinlock.server.swapper.settling import SwapPolicy
from twinlock.server.swapper.status import StatusDesk
from twinlock.server.users.absence import AbsenceWatch
from twinlock.server.users.accounts import Accounts
from twinlock.server.users.bonds import BondDesk
from twinlock.server.users.explain import Explainer
from twinlock.server.users.login import Login
from twinlock.server.users.reputation import Reputations

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Foundations:
    """What stands before the manager does. assets: by asset ID, in the operator's order; expiry_s: of bonds."""

    settings: ServerSection
    hub: Hub
    database: Database
    clock: Clock
    key: PrivateKey
    assets: Mapping[int, AssetBackend]
    terms: Sequence[MarketTerms]
    expiry_s: int
    signatures: SignatureDesk


class DexManager:
    """Build it with `DexManager.open`, then run every coroutine of `tasks`."""

    def __init__(self, base: Foundations) -> None:
        self._base = base
        self._hub, self._database, self._clock = base.hub, base.database, base.clock
        self._locks = {number: CoinLocks() for number in base.assets}
        hub, database, clock = self._hub, self._database, self._clock
        assets, key, settings = base.assets, base.key, base.settings
        policy = Policy(settings.penalty_threshold, settings.cancel_threshold, settings.free_cancels)
        self.accounts = Accounts(database, clock, policy, base.expiry_s)
        self.reputations = Reputations(self.accounts, hub, key, clock)
        self.historian = Historian(database, {terms.name: terms for terms in base.terms}, key, clock)
        self.snapshots = Snapshots(key)
        swaps = _swap_policy(base)
        negotiator = Negotiator(hub, database, self.accounts, assets, base.signatures, clock)
        relays = Relays(hub, database, self.accounts, key, settings.broadcast_timeout_ms)
        self.executor = SwapExecutor(
            hub, database, assets, self._locks, negotiator, relays, self.reputations, self, swaps, key, clock
        )
        self.reports = ReportDesk(hub, database, self.accounts, relays, assets, self.executor, swaps, key, clock)
        names = {(terms.base, terms.quote): terms.name for terms in base.terms}
        self.status = StatusDesk(hub, database, self.executor, assets, names, self._active_status)
        self.bonds = BondDesk(hub, self.accounts, database, assets, key, clock, settings.tx_wait_ms)
        self.login = Login(hub, self.accounts, self, key)
        self.explainer = Explainer(hub, self.accounts, database, base.signatures)
        self.absence = AbsenceWatch(hub, clock, settings.broadcast_timeout_ms, self._lose_orders)
        self.markets: dict[str, MarketManager] = {}

    @classmethod
    async def open(cls, base: Foundations) -> DexManager:
        """Load everything that was under way and take it up again."""
        self = cls(base)
        await self.historian.load()
        for terms in base.terms:
            self.markets[terms.name] = await self._open_market(terms)
        await self.executor.resume({terms.name: terms for terms in base.terms})
        by_assets = {(market.terms.base, market.terms.quote): market for market in self.markets.values()}
        Intake(base.hub, self.accounts, by_assets, base.assets, self._locks, base.clock, base.signatures)
        self.login.on_login.append(self.executor.returned)
        self.reputations.on_suspended.append(lambda account_id: base.hub.start(self._lose_orders(account_id)))
        await self._load_accounts()
        return self

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Everything that runs for ever; if one of them fails the server must stop."""
        markets = self.markets.values()
        return [
            self.executor.run(),
            self.bonds.run(),
            *(market.epochs.run() for market in markets),
            *(market.epochs.process() for market in markets),
            self._check_reloaded_coins(),
        ]

    # Activity, for login

    def active_orders(self, account_id: bytes) -> list[ActiveOrder]:
        """The epoch and booked orders of an account on all markets."""
        return [order for market in self.markets.values() for order in market.active_orders(account_id)]

    def active_matches(self, account_id: bytes) -> list[ActiveMatch]:
        """The active matches of an account."""
        return self.status.active_matches(account_id)

    # ParcelLimit, for markets

    def check_parcels(self, market: str, order: TradeOrder) -> None:
        """Raises RpcError 47 or 53."""
        account = self.accounts.get(order.account_id)
        if account is None:
            raise refused(ErrorCode.ACCOUNT_NOT_FOUND, "account", "no such account")
        standing = self.accounts.standing(account)
        allowed = parcels.limit(standing.tier, standing.score)
        used = parcels.used(
            other.exposure(order.account_id, order if other.terms.name == market else None)
            for other in self.markets.values()
        )
        if used > allowed:
            message = f"{used} parcels would be at work, {allowed} are allowed"
            fix = "settle or cancel something, or post more bond"
            raise refused(ErrorCode.QUANTITY_TOO_HIGH, "parcels", message, fix=fix, parcels=used, allowed=allowed)

    # OrderKeeper, for swaps

    def is_active(self, market: str, order_id: bytes) -> bool:
        """Whether the order can still match."""
        found = self.markets.get(market)
        return found is not None and found.core.find(order_id) is not None

    async def revoke_orders(self, market: str, order_ids: Iterable[bytes]) -> None:
        """Take those orders off the book that are there."""
        found = self.markets.get(market)
        if found is None:
            return
        booked = [order for order_id in order_ids if (order := found.book.get(order_id)) is not None]
        if booked:
            await found.revoke(booked)

    async def orders_settled(self, order_ids: Sequence[bytes]) -> None:
        """Count filled orders once their last matches have ended."""
        stored = await orders_by_id(self._database, order_ids)
        points = [
            Point(
                account_id=ended.order.account_id,
                outcome=Outcome.ORDER_COMPLETE,
                link=ended.order.id,
                stamp=self._clock.now_ms(),
            )
            for ended in stored
            if ended.status is OrderStatus.EXECUTED
        ]
        if points:
            await self._database.write(*add_points(points))
            self.reputations.take_effect(points)

    # Operation

    async def suspend(self, name: str, at_ms: int = 0, *, persist: bool = True) -> int:
        """Schedule a suspension and announce it; the final epoch. Raises RpcError 38 or 52."""
        market = self.find_market(name)
        epoch_ms = market.terms.epoch_ms
        if market.schedule.stopped(market.now()):
            raise RpcError(ErrorCode.INVALID_REQUEST, f"{name} has stopped already", fix="resume it first")
        final = -1
        while final < market.now():  # an epoch can end while this is stored
            earliest = max(market.now(), market.schedule.start_epoch)
            final = max(earliest, final_epoch(at_ms, epoch_ms) if at_ms else 0)
            await self._remember(market.terms, market.schedule.suspended(final, persist=persist))
        market.reschedule(market.schedule.suspended(final, persist=persist))
        note = Suspension(market=name, time=epoch_start(final + 1, epoch_ms), final_epoch=final, persist_book=persist)
        self._hub.tell_everyone(routes.SUSPENSION, note)
        return final

    async def resume(self, name: str, at_ms: int = 0) -> int:
        """Schedule a resumption and announce it; the first epoch. Raises RpcError 38 or 52."""
        market = self.find_market(name)
        epoch_ms = market.terms.epoch_ms
        if market.schedule.runs(market.now()):
            raise RpcError(ErrorCode.INVALID_REQUEST, f"{name} has not stopped", fix="suspend it first")
        start = 0
        while start <= market.now():  # an epoch can end while this is stored
            start = max(market.now() + 1, epoch_index(at_ms, epoch_ms))
            await self._remember(market.terms, market.schedule.resumed(start))
        market.reschedule(market.schedule.resumed(start))
        note = Resumption(market=name, time=epoch_start(start, epoch_ms), start_epoch=start)
        self._hub.tell_everyone(routes.RESUMPTION, note)
        return start

    def find_market(self, name: str) -> MarketManager:
        """Raises RpcError 38."""
        market = self.markets.get(name)
        if market is None:
            raise RpcError(ErrorCode.UNKNOWN_MARKET, f"no market {name!r}", fix="use a market of config")
        return market

    async def _open_market(self, terms: MarketTerms) -> MarketManager:
        stored = await load_active(self._database, terms.name)
        row = await load_market(self._database, terms.name)
        last = await last_epoch(self._database, terms.name)
        services = Services(
            hub=self._hub,
            database=self._database,
            clock=self._clock,
            key=self._base.key,
            accounts=self.accounts,
            reputations=self.reputations,
            assets=self._base.assets,
            locks=self._locks,
            settlement=self.executor,
            recorder=self.historian,
            parcels=self,
            signatures=self._base.signatures,
        )
        # Every order's coins were checked for swaps of so many lots; of others they may not pay the fees.
        resized = row is not None and row.lot_size != terms.lot_size
        booked = [] if resized else resting(stored)
        market = MarketManager(terms, services, self._schedule(terms, row), booked, last.end_rate)
        market.on_epoch.append(self.snapshots.send)
        market.lock_coins(booked)
        since = market.now()
        if row is not None and row.epoch_ms == terms.epoch_ms:
            since = max(row.start_epoch, last.epoch + 1 if last.epoch_ms == terms.epoch_ms else 0)
        await self._take_up_epochs(market, stored, since, resized=resized)
        await self._remember(terms, market.schedule)
        return market

    async def _take_up_epochs(
        self, market: MarketManager, stored: Sequence[StoredOrder], since: int, *, resized: bool
    ) -> None:
        """Go on with the epochs that were open or unprocessed; after a long absence their orders just end.

        since: the first epoch that was not processed. With another lot size nothing goes on: what was booked is
        revoked, without blame.
        """
        now, terms = self._clock.now_ms(), market.terms
        oldest = now - self._base.settings.broadcast_timeout_ms // 4
        waiting = [entry.order for entry in stored if entry.status is OrderStatus.EPOCH]
        late: list[Order] = []
        in_time: list[Order] = []
        for order in waiting:
            (late if resized or order.server_time < oldest else in_time).append(order)
        since = max(since, epoch_index(oldest, terms.epoch_ms))
        dropped = late + market.reopen(in_time, since)
        misfits = [order.id for order in resting(stored)] if resized else []
        draft = self.historian.ledger_draft(terms)
        draft.removal(Reason.TERMS if misfits else Reason.RESTART, misfits, lapsed=dropped)
        draft.open(market.book)
        writes = [
            *restate((order.id for order in dropped), OrderStatus.EXECUTED),
            *restate(misfits, OrderStatus.REVOKED),
            *draft.writes,
        ]
        if writes:
            await self._database.write(*writes)
        draft.commit()
        log.info("market loaded", market=terms.name, epoch_orders=len(waiting), dropped=len(dropped))

    def _schedule(self, terms: MarketTerms, row: MarketRow | None) -> Schedule:
        """A market starts with the current epoch, unless the operator decided otherwise before the server stopped."""
        now = epoch_index(self._clock.now_ms(), terms.epoch_ms)
        if row is None or row.epoch_ms != terms.epoch_ms:
            return Schedule(now)
        if row.final_epoch:
            return Schedule(row.start_epoch, row.final_epoch, row.persist_book)
        return Schedule(max(row.start_epoch, now))

    async def _remember(self, terms: MarketTerms, schedule: Schedule) -> None:
        row = MarketRow(
            name=terms.name,
            base=terms.base,
            quote=terms.quote,
            lot_size=terms.lot_size,
            epoch_ms=terms.epoch_ms,
            start_epoch=schedule.start_epoch,
            final_epoch=schedule.final_epoch,
            persist_book=schedule.persist_book,
        )
        await self._database.write(*put_market(row))

    async def _load_accounts(self) -> None:
        """Everyone with orders or matches stays in memory, and has one broadcast timeout to return."""
        owners = {owner for market in self.markets.values() for owner in market.owners()}
        await asyncio.gather(*(self.accounts.load(owner) for owner in owners | set(self.executor.accounts())))
        for owner in owners:
            self.absence.left(owner)

    async def _check_reloaded_coins(self) -> None:
        """Once the chains are in view after a start, revoke what lost its coins meanwhile; nobody is blamed."""
        reloaded = {name: list(market.book) for name, market in self.markets.items()}
        while not all(asset.synced for asset in self._base.assets.values()):
            await self._clock.sleep(1)
        for name, booked in reloaded.items():
            await drop_spent(self.markets[name], booked, counted=False)
        await asyncio.Event().wait()

    async def _lose_orders(self, account_id: bytes) -> None:
        """An account that is gone or may not trade any more leaves every book."""
        for market in self.markets.values():
            await market.revoke_account(account_id)

    def _active_status(self, order_id: bytes) -> OrderStatus | None:
        for market in self.markets.values():
            status = market.status_of(order_id)
            if status is not None:
                return status
        return None


def _swap_policy(base: Foundations) -> SwapPolicy:
    settings = base.settings
    return SwapPolicy(
        broadcast_timeout_ms=settings.broadcast_timeout_ms,
        maker_lock_ms=settings.lock_time_maker_s * 1000,
        taker_lock_ms=settings.lock_time_taker_s * 1000,
        tx_wait_ms=min(settings.tx_wait_ms, settings.broadcast_timeout_ms),
        depths={number: asset.terms.swap_conf for number, asset in base.assets.items()},
    )
