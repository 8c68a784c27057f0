"""The shell around one market: it stamps, stores, asks and publishes what the core decides.

Two tasks run for ever: `run` closes epochs on time and starts their collection of preimages; `process` works closed
epochs off, strictly in order, each in one database transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from twinlock.protocol import routes
from twinlock.protocol.book import Book
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.epoch import epoch_end, epoch_index
from twinlock.protocol.funding import MarketRules
from twinlock.protocol.messages.book import OrderBook
from twinlock.protocol.messages.orders import NoMatch, OrderPrefix, OrderResult, RevokeOrder
from twinlock.protocol.messages.status import ActiveOrder
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Order, OrderStatus, Side, accept
from twinlock.protocol.parcels import Exposure, with_order
from twinlock.protocol.signing import sign, signed
from twinlock.protocol.wire import Hex
from twinlock.server.book import BookManager
from twinlock.server.comms.hub import Call
from twinlock.server.comms.link import Link
from twinlock.server.db import DatabaseError, Write
from twinlock.server.db.orders import add_order, change_orders, restate
from twinlock.server.historian.ledger import Reason
from twinlock.server.market.core import Close, Closed, MarketCore, Process, Processed, Retract, Submit, Unbook
from twinlock.server.market.effects import epoch_points, order_changes, report_note, unfunded
from twinlock.server.market.errors import NotCancellableError, refused
from twinlock.server.market.holdings import Holdings
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.preimages import collect, collect_resumed
from twinlock.server.market.schedule import Schedule
from twinlock.server.market.services import Plan, Services
from twinlock.server.market.terms import MarketTerms

T = TypeVar("T")

log = structlog.get_logger(__name__)

_CANCEL_KNOWN_S = 1.0


class _Collection(NamedTuple):
    """A closed epoch whose preimages are on their way. resumed: a restart came between."""

    closed: Closed
    preimages: asyncio.Task[dict[bytes, bytes]]
    resumed: bool


class MarketManager:
    """One market. `schedule` says when it runs; `public` is its book as subscribers see it."""

    def __init__(
        self, terms: MarketTerms, services: Services, schedule: Schedule, booked: Iterable[LimitOrder], last_rate: int
    ) -> None:
        self.terms = terms
        self.schedule = schedule
        self._services = services
        self._core = MarketCore(terms, booked, last_rate)
        self.public = BookManager(terms.name, self._core.book)
        self.on_epoch: list[Callable[[MarketManager, int], None]] = []
        """Called with the market and the epoch after the epoch's notes."""
        self._holdings = Holdings(self._core.book)
        self._rules = {running: _rules(terms, running=running) for running in (False, True)}
        self._looked_after: tuple[int, set[tuple[bytes, int]]] = (0, set())
        self._tickets: dict[int, set[asyncio.Future[None]]] = {}
        self._closed: asyncio.Queue[_Collection] = asyncio.Queue()
        self._publishing = asyncio.Lock()
        self.feeding = False
        """Whether epochs are processed, and the book's feed with them."""
        self.last_epoch_s = 0.0
        """Seconds from the match of the last epoch to its commit and notes."""

    @property
    def services(self) -> Services:
        """What surrounds the market."""
        return self._services

    @property
    def book(self) -> Book:
        """The orders at rest."""
        return self._core.book

    @property
    def core(self) -> MarketCore:
        """The market itself; only to look at."""
        return self._core

    def now(self) -> int:
        """The current epoch."""
        return epoch_index(self._services.clock.now_ms(), self.terms.epoch_ms)

    def running(self, now_ms: int) -> bool:
        """Whether trade orders are taken: on schedule, and both chains in view."""
        chains = (self._services.assets[self.terms.base], self._services.assets[self.terms.quote])
        return self.schedule.runs(epoch_index(now_ms, self.terms.epoch_ms)) and all(asset.synced for asset in chains)

    @property
    def running_now(self) -> bool:
        """The same at this moment."""
        return self.running(self._services.clock.now_ms())

    def rules(self, now_ms: int) -> MarketRules:
        """What an order must fit at this moment."""
        return self._rules[self.running(now_ms)]

    # Orders in

    async def submit(self, call: Call[Any], message: OrderPrefix, locks: CoinLocks | None = None) -> OrderResult:
        """Stamp, take in, store, answer, publish. `locks` are those of the funding asset; None for cancels.

        Raises MarketError, RpcError 53 or 7.
        """
        now = self._services.clock.now_ms()
        order = accept(message, now)
        epoch = epoch_index(now, self.terms.epoch_ms)
        if not self.schedule.runs(epoch):
            return await self._submit_stopped(call, message, order)
        if not isinstance(order, CancelOrder):
            self._services.parcels.check_parcels(self.terms.name, order)
        self._core.submit(Submit(order))
        ticket = self._ticket(epoch)
        try:
            if locks is not None and not isinstance(order, CancelOrder):
                locks.lock(order.id, order.coins)
            self._holdings.enter(order)
            await self._services.database.write(add_order(order, self.terms.name, self.terms.epoch_ms))
        except BaseException as error:
            # Whatever happened, the epoch must not wait for this order for ever.
            self._forget(order, epoch, locks)
            ticket.set_result(None)
            if not isinstance(error, DatabaseError):
                raise
            raise RpcError(ErrorCode.SERVER_INTERNAL, "the order could not be stored", fault="server") from error
        log.debug(
            "order accepted", order=order.id.hex(), account=order.account_id.hex(), market=self.terms.name, epoch=epoch
        )
        call.after.append(partial(self._publish_order, order, epoch, ticket))
        return self._receipt(message, order)

    def _receipt(self, message: OrderPrefix, order: Order) -> OrderResult:
        stamped = msgspec.structs.replace(message, server_time=order.server_time)
        signature = sign(self._services.key, stamped.signed_bytes())
        return OrderResult(sig=signature, order_id=Hex(order.id), server_time=order.server_time)

    def _publish_order(self, order: Order, epoch: int, ticket: asyncio.Future[None]) -> None:
        self.public.epoch_order(order, epoch)
        ticket.set_result(None)

    def _ticket(self, epoch: int) -> asyncio.Future[None]:
        """A submission under way; its epoch is not closed before it is answered and published."""
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tickets.setdefault(epoch, set()).add(ticket)
        return ticket

    def _forget(self, order: Order, epoch: int, locks: CoinLocks | None) -> None:
        self._core.retract(Retract(order.id, epoch))
        self._holdings.leave(order)
        if locks is not None:
            locks.release(order.id)

    async def _submit_stopped(self, call: Call[Any], message: OrderPrefix, order: Order) -> OrderResult:
        """While suspended, a cancel is executed at once (section 6.9)."""
        if not isinstance(order, CancelOrder):
            raise refused(ErrorCode.MARKET_NOT_RUNNING, "not_running", f"{self.terms.name} does not run")
        # In turn with the final epoch, which may still be on its way: the ledger tells both as they happened.
        async with self._publishing:
            target = self._core.book.get(order.target_id)
            if target is None or target.account_id != order.account_id:
                raise NotCancellableError(order.target_id)
            self._core.unbook(Unbook((target.id,)))
            self._holdings.leave(target)
            plan = self._services.settlement.plan_cancel(self.terms, order, target, order.server_time)
            draft = self._services.recorder.ledger_draft(self.terms)
            draft.removal(Reason.CANCELED, [target.id], cancel=order)
            await self._services.database.write(
                add_order(order, self.terms.name, self.terms.epoch_ms),
                *restate([order.id], OrderStatus.EXECUTED),
                *restate([target.id], OrderStatus.CANCELED),
                *draft.writes,
                *plan.writes,
            )
            entries = draft.commit()
        if not target.filled:
            self._funding_locks(target).release(target.id)
        call.after.append(partial(self.public.unbooked, (target.id,)))
        call.after.append(partial(self.public.ledger, entries))
        call.after.append(lambda: self._services.hub.start(self._begin_soon(plan)))
        return self._receipt(message, order)

    async def _begin_soon(self, plan: Plan) -> None:
        """Bison Wallet does not know its cancel order in the first moments after the receipt, and would not answer."""
        await self._services.clock.sleep(_CANCEL_KNOWN_S)
        plan.begin()

    # Epochs

    async def run(self) -> None:
        """Close every epoch at its end, for ever."""
        epoch = max(self.now(), self.schedule.start_epoch)
        while True:
            await self._sleep_until(epoch_end(epoch, self.terms.epoch_ms))
            await asyncio.gather(*self._tickets.pop(epoch, ()))
            if self.schedule.runs(epoch):
                closed = self._core.close(Close(epoch))
                preimages = asyncio.create_task(collect(self._services.hub, closed))
                self._closed.put_nowait(_Collection(closed, preimages, resumed=False))
            epoch = max(epoch + 1, self.schedule.start_epoch)

    async def process(self) -> None:
        """Process closed epochs in order, for ever. A failed transaction ends the server: a restart resumes."""
        self.feeding = True
        try:
            while True:
                collection = await self._closed.get()
                await self._process(collection.closed, await collection.preimages, resumed=collection.resumed)
                if collection.closed.epoch == self.schedule.final_epoch:
                    await self._suspended()
        finally:
            self.feeding = False

    def reopen(self, orders: Iterable[Order]) -> list[Order]:
        """Take up the epochs that a restart interrupted; the orders that no longer fit are returned."""
        misfits: list[Order] = []
        epochs: set[int] = set()
        for order in orders:
            try:
                self._core.submit(Submit(order))
                if not isinstance(order, CancelOrder):
                    self._funding_locks(order).lock(order.id, order.coins)
            except RpcError as error:
                log.warning("epoch order dropped", order=order.id.hex(), reason=str(error))
                self._core.retract(Retract(order.id, epoch_index(order.server_time, self.terms.epoch_ms)))
                misfits.append(order)
                continue
            self._holdings.enter(order)
            epochs.add(epoch_index(order.server_time, self.terms.epoch_ms))
        for epoch in sorted(epoch for epoch in epochs if epoch < self.schedule.start_epoch):
            closed = self._core.close(Close(epoch))
            collecting = collect_resumed(self._services.hub, self._services.clock, closed)
            self._closed.put_nowait(_Collection(closed, asyncio.create_task(collecting), resumed=True))
        return misfits

    async def _sleep_until(self, moment_ms: int) -> None:
        clock = self._services.clock
        while (left := moment_ms - clock.now_ms()) > 0:
            await clock.sleep(left / 1000)

    async def _process(self, closed: Closed, preimages: dict[bytes, bytes], *, resumed: bool) -> None:
        services, terms = self._services, self.terms
        base_rate, quote_rate = await asyncio.gather(
            services.assets[terms.base].refresh_fee_rate(), services.assets[terms.quote].refresh_fee_rate()
        )
        started = services.clock.monotonic()
        async with self._publishing:
            now = services.clock.now_ms()
            processed = self._core.process(Process(closed.epoch, preimages, base_rate, quote_rate, now))
            plan = services.settlement.plan(terms, processed)
            points = list(epoch_points(processed, terms.epoch_ms, resumed=resumed))
            draft = services.recorder.ledger_draft(terms)
            draft.epoch(processed)
            await services.database.write(
                *draft.writes,
                *services.recorder.epoch_writes(terms, processed),
                *change_orders(order_changes(processed, terms.epoch_ms, resumed=resumed)),
                *plan.writes,
                *services.reputations.writes(points),
            )
            self._let_go(processed)
            self.last_epoch_s = services.clock.monotonic() - started
            self._publish(processed)
            self.public.ledger(draft.commit())
        plan.begin()
        services.reputations.take_effect(points)

    def _let_go(self, processed: Processed) -> None:
        """Orders that ended are nobody's any more, and coins without a fill are free."""
        for order_id in unfunded(processed):
            for asset in (self.terms.base, self.terms.quote):
                self._services.locks[asset].release(order_id)
        for order, status in processed.matched.statuses():
            if not status.active:
                self._holdings.leave(order)
            elif isinstance(order, LimitOrder):
                self._holdings.rest(order)
        for order in (*processed.missed, *processed.expired):
            self._holdings.leave(order)

    def _publish(self, processed: Processed) -> None:
        """The notes of one epoch, in the order of section 3.8."""
        hub, key = self._services.hub, self._services.key
        missed = [order.id for order in processed.missed]
        # Before the proof, as a revocation: whoever replays the epoch starts from the book that was matched.
        self.public.unbooked(order.id for order in processed.expired)
        self.public.proof(processed.epoch, processed.preimages, missed, processed.csum, processed.seed)
        self.public.matched(processed.matched, processed.match_time)
        owners = {order.id: order.account_id for order in processed.revealed}
        crossed = {order.id for order in processed.matched.failed if order.options.post_only}
        for order_id in processed.matched.nomatch:
            note = NoMatch(order_id=Hex(order_id), crossed=order_id in crossed)
            hub.send(owners[order_id], routes.NOMATCH, note)
        for order in (*processed.expired, *processed.missed):
            hub.send(order.account_id, routes.REVOKE_ORDER, signed(key, RevokeOrder(order_id=Hex(order.id))))
        self.public.report(report_note(self.terms.name, processed.report))
        self._services.recorder.epoch_stored(self.terms, processed)
        for callback in self.on_epoch:
            callback(self, processed.epoch)

    # Orders out

    async def revoke(
        self, orders: Iterable[LimitOrder], extra: Iterable[Write] = (), *, reason: Reason = Reason.REVOKED
    ) -> None:
        """Take orders off the book for a reason outside of the market, tell their owners and everybody."""
        async with self._publishing:
            removed = self._core.unbook(Unbook(tuple(order.id for order in orders)))
            gone = [order.id for order in removed]
            draft = self._services.recorder.ledger_draft(self.terms)
            draft.removal(reason, gone)
            await self._services.database.write(*restate(gone, OrderStatus.REVOKED), *draft.writes, *extra)
            entries = draft.commit()
            for order in removed:
                self._holdings.leave(order)
                if not order.filled:
                    self._funding_locks(order).release(order.id)
                note = signed(self._services.key, RevokeOrder(order_id=Hex(order.id)))
                self._services.hub.send(order.account_id, routes.REVOKE_ORDER, note)
            self.public.unbooked(gone)
            self.public.ledger(entries)

    async def revoke_account(self, account_id: bytes) -> None:
        """Take all booked orders of an account off the book."""
        await self.revoke(self.booked_of(account_id))

    # Looking in

    def booked_of(self, account_id: bytes) -> list[LimitOrder]:
        """The booked orders of an account."""
        return list(self._holdings.resting(account_id))

    def active_orders(self, account_id: bytes) -> list[ActiveOrder]:
        """The epoch and booked orders of an account as `connect` lists them."""
        found = (*self._holdings.entered(account_id), *self._holdings.resting(account_id))
        return [ActiveOrder(id=Hex(order.id), status=int(self._status(order.id))) for order in found]

    def owners(self) -> set[bytes]:
        """The accounts that have active orders."""
        return self._holdings.owners()

    def exposure(self, account_id: bytes, added: LimitOrder | MarketOrder | None = None) -> Exposure:
        """What an account has at work here, with one more order if given."""
        settling = self._services.settlement.settling(account_id, self.terms.name)
        terms = self.terms
        base = Exposure(terms.lot_size, terms.parcel_size, settling=settling)
        exposure = self._holdings.exposure(account_id, base)
        return exposure if added is None else with_order(exposure, added, self._core.book)

    def status_of(self, order_id: bytes) -> OrderStatus | None:
        """The status of an active order; None for any other."""
        return self._status(order_id) if self._core.find(order_id) is not None else None

    async def subscribe(self, link: Link, *, ledger: bool = False) -> OrderBook:
        """The snapshot, and from then on the feed; a snapshot never falls between an epoch's notes.

        ledger: whether the link wants the ledger's records too. Raises RpcError 48 while there is no feed.
        """
        if not self.feeding:
            raise refused(ErrorCode.MARKET_NOT_RUNNING, "no_feed", f"the book of {self.terms.name} has no feed now")
        async with self._publishing:
            self.public.subscribers.add(link)
            if ledger:
                self.public.ledger_subscribers.add(link)
            return self._snapshot()

    async def between_epochs(self, look: Callable[[], T]) -> T:
        """What `look` sees when all that the book shows is stored and published."""
        async with self._publishing:
            return look()

    async def snapshot(self) -> OrderBook:
        """The book between two epochs."""
        async with self._publishing:
            return self._snapshot()

    def _snapshot(self) -> OrderBook:
        base, quote = self._services.assets[self.terms.base], self._services.assets[self.terms.quote]
        return self.public.snapshot(self.now(), base.fee_rate, quote.fee_rate)

    # Schedule

    def lock_coins(self, orders: Iterable[LimitOrder]) -> None:
        """Lock what reloaded orders are funded with."""
        for order in orders:
            self._funding_locks(order).lock(order.id, order.coins)

    def resume(self, start_epoch: int) -> None:
        """Run again from that epoch on."""
        self.schedule.resume(start_epoch)
        self.public.resumed(start_epoch)

    async def _suspended(self) -> None:
        """The final epoch is processed."""
        persist = self.schedule.persist_book
        if not persist:
            await self.revoke(list(self._core.book), reason=Reason.SUSPENDED)
        self.public.suspended(self.schedule.final_epoch, persist)
        log.info("market suspended", market=self.terms.name, epoch=self.schedule.final_epoch, persist=persist)

    def _status(self, order_id: bytes) -> OrderStatus:
        return OrderStatus.BOOKED if order_id in self._core.book else OrderStatus.EPOCH

    def _funding_locks(self, order: LimitOrder | MarketOrder) -> CoinLocks:
        return self._services.locks[self.funded_by(order)]

    def funded_by(self, order: LimitOrder | MarketOrder) -> int:
        """The asset that an order swaps away."""
        return self.terms.base if order.side is Side.SELL else self.terms.quote

    def due_for_a_look(self, account_id: bytes, asset_id: int) -> list[LimitOrder]:
        """The booked orders of an account that one asset funds, once in each epoch; empty when asked again in it."""
        epoch, seen = self.now(), (account_id, asset_id)
        if self._looked_after[0] != epoch:
            self._looked_after = (epoch, set())
        if seen in self._looked_after[1]:
            return []
        self._looked_after[1].add(seen)
        return [order for order in self.booked_of(account_id) if self.funded_by(order) == asset_id]


def _rules(terms: MarketTerms, *, running: bool) -> MarketRules:
    return MarketRules(
        lot_size=terms.lot_size,
        rate_step=terms.rate_step,
        minimum_rate=terms.minimum_rate,
        buy_buffer=terms.buy_buffer,
        running=running,
    )
