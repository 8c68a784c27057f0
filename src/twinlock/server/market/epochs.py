"""The epochs of one market: closed on time, their preimages collected, each processed in one transaction, then told.

Two tasks run for ever: `run` closes epochs on time and starts their collection of preimages; `process` works closed
epochs off, strictly in order, each in one database transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

import structlog

from twinlock.protocol import routes
from twinlock.protocol.codes import RpcError
from twinlock.protocol.epoch import epoch_end, epoch_index
from twinlock.protocol.messages.orders import NoMatch, RevokeOrder
from twinlock.protocol.orders import CancelOrder, LimitOrder, Order
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex
from twinlock.server.db.orders import add_revocations, change_orders
from twinlock.server.market.arrivals import Arrivals
from twinlock.server.market.core import Close, Closed, Process, Processed, Retract, Submit
from twinlock.server.market.departures import suspend
from twinlock.server.market.effects import epoch_points, missed_trades, order_changes, over, report_note
from twinlock.server.market.preimages import collect, collect_resumed
from twinlock.server.market.state import MarketState

log = structlog.get_logger(__name__)


class _Collection(NamedTuple):
    """A closed epoch whose preimages are on their way. resumed: a restart came between, before it ended or after."""

    closed: Closed
    preimages: asyncio.Task[dict[bytes, bytes]]
    resumed: bool


class EpochCycle:
    """From the end of an epoch to its commit and notes. told: called with each epoch after its notes."""

    def __init__(self, state: MarketState, arrivals: Arrivals, told: Callable[[int], None]) -> None:
        self._state = state
        self._arrivals = arrivals
        self._told = told
        self._closed: asyncio.Queue[_Collection | None] = asyncio.Queue()
        self._first = state.now()
        """The first epoch that is closed on time; `reopen` closes what a restart left of those before."""
        self._interrupted: frozenset[int] = frozenset()
        """Epochs with orders from before a restart: their owners may not be back yet."""
        self.feeding = False
        """Whether epochs are processed, and the book's feed with them."""
        self.last_epoch_s = 0.0
        """Seconds from the match of the last epoch to its commit and notes."""

    async def run(self) -> None:
        """Close every epoch at its end, for ever; tell when a suspension ends."""
        state = self._state
        stood = False
        for epoch in count(self._first):
            if stood and state.schedule.runs(epoch):
                state.public.resumed(epoch)
            await self._sleep_until(epoch_end(epoch, state.terms.epoch_ms))
            await self._arrivals.answered(epoch)
            stood = not state.schedule.runs(epoch)
            if not stood:
                self._collect(epoch, resumed=epoch in self._interrupted)

    async def process(self) -> None:
        """Process closed epochs in order, for ever. A failed transaction ends the server: a restart resumes."""
        self.feeding = True
        try:
            while True:
                collection = await self._closed.get()
                if collection is None:
                    await self._suspended()
                    continue
                await self.process_epoch(collection.closed, await collection.preimages, resumed=collection.resumed)
                if collection.closed.epoch == self._state.schedule.final_epoch:
                    await self._suspended()
        finally:
            self.feeding = False

    def reopen(self, orders: Iterable[Order], since: int) -> list[Order]:
        """Take up the epochs that a restart interrupted; the orders that no longer fit are returned.

        since: from this epoch on, those without orders are processed too, so that none is missing.
        """
        state, schedule = self._state, self._state.schedule
        misfits: list[Order] = []
        self._first = state.now()
        epochs = {epoch for epoch in range(since, self._first) if not schedule.stopped(epoch)}
        for order in orders:
            try:
                state.core.submit(Submit(order))
                if not isinstance(order, CancelOrder):
                    state.funding_locks(order).lock(order.id, order.coins)
            except RpcError as error:
                log.warning("epoch order dropped", order=order.id.hex(), reason=str(error))
                state.core.retract(Retract(order.id, epoch_index(order.server_time, state.terms.epoch_ms)))
                misfits.append(order)
                continue
            state.holdings.enter(order)
            epochs.add(epoch_index(order.server_time, state.terms.epoch_ms))
        for epoch in sorted(epoch for epoch in epochs if epoch < self._first):
            self._collect(epoch, resumed=True)
        self._interrupted = frozenset(epoch for epoch in epochs if epoch >= self._first)
        emptied = schedule.stopped(self._first) and not schedule.persist_book and schedule.final_epoch not in epochs
        if emptied and len(state.core.book):
            self._closed.put_nowait(None)  # the suspension took effect while nobody was here
        return misfits

    def _collect(self, epoch: int, *, resumed: bool) -> None:
        """Close an epoch and ask for its preimages; `process` waits for them."""
        services = self._state.services
        closed = self._state.core.close(Close(epoch))
        asking = collect_resumed(services.hub, services.clock, closed) if resumed else collect(services.hub, closed)
        self._closed.put_nowait(_Collection(closed, asyncio.create_task(asking), resumed))

    async def _sleep_until(self, moment_ms: int) -> None:
        clock = self._state.services.clock
        while (left := moment_ms - clock.now_ms()) > 0:
            await clock.sleep(left / 1000)

    async def process_epoch(self, closed: Closed, preimages: dict[bytes, bytes], *, resumed: bool) -> None:
        """Match one closed epoch, commit all that it changed, and tell. Epochs come in their order."""
        state = self._state
        services, terms = state.services, state.terms
        base_rate, quote_rate = await asyncio.gather(
            services.assets[terms.base].refresh_fee_rate(), services.assets[terms.quote].refresh_fee_rate()
        )
        started = services.clock.monotonic()
        async with state.publishing:
            now = services.clock.now_ms()
            processed = state.core.process(Process(closed.epoch, preimages, base_rate, quote_rate, now))
            await _others_turn()
            plan = services.settlement.plan(terms, processed)
            points = list(epoch_points(processed, terms.epoch_ms, resumed=resumed))
            await _others_turn()
            draft = services.recorder.ledger_draft(terms)
            draft.epoch(processed)
            await _others_turn()
            await services.database.write(
                *draft.writes,
                *services.recorder.epoch_writes(terms, processed),
                *change_orders(order_changes(processed, terms.epoch_ms, resumed=resumed)),
                *add_revocations([] if resumed else missed_trades(processed), terms.name, terms.epoch_ms, now),
                *plan.writes,
                *services.reputations.writes(points),
            )
            self.last_epoch_s = services.clock.monotonic() - started
            self._publish(processed)
            state.public.ledger(draft.commit())
            await _others_turn()
        # Together: what was an order's is a match's now, and in no moment nobody's.
        self._let_go(processed)
        plan.begin()
        for order in over(processed):
            state.free(order)
        services.reputations.take_effect(points)

    def _let_go(self, processed: Processed) -> None:
        """Orders that ended are nobody's any more."""
        state = self._state
        for order, status in processed.matched.statuses():
            if not status.active:
                state.holdings.leave(order)
            elif isinstance(order, LimitOrder):
                state.holdings.rest(order)
        for order in (*processed.missed, *processed.expired):
            state.holdings.leave(order)

    def _publish(self, processed: Processed) -> None:
        """The notes of one epoch, in the order of section 3.8."""
        state = self._state
        hub, key = state.services.hub, state.services.key
        missed = [order.id for order in processed.missed]
        # Before the proof, as a revocation: whoever replays the epoch starts from the book that was matched.
        state.public.unbooked(order.id for order in processed.expired)
        state.public.proof(processed.epoch, processed.preimages, missed, processed.csum, processed.seed)
        state.public.matched(processed.matched, processed.match_time)
        owners = {order.id: order.account_id for order in processed.revealed}
        crossed = {order.id for order in processed.matched.failed if order.options.post_only}
        for order_id in processed.matched.nomatch:
            note = NoMatch(order_id=Hex(order_id), crossed=order_id in crossed)
            hub.send(owners[order_id], routes.NOMATCH, note)
        for order in (*processed.expired, *processed.missed):
            hub.send(order.account_id, routes.REVOKE_ORDER, signed(key, RevokeOrder(order_id=Hex(order.id))))
        state.public.report(report_note(state.terms.name, processed.report))
        state.services.recorder.epoch_stored(state.terms, processed)
        self._told(processed.epoch)

    async def _suspended(self) -> None:
        state = self._state
        await suspend(state)
        schedule = state.schedule
        log.info("market suspended", market=state.terms.name, epoch=schedule.final_epoch, persist=schedule.persist_book)


async def _others_turn() -> None:
    """A big epoch is worked off in several turns of the loop, and everybody else has theirs in between."""
    await asyncio.sleep(0)
