"""Orders in: a valid, funded message becomes an order of its epoch, and while the market stands still a cancel acts."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec
import structlog

from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.epoch import epoch_index
from twinlock.protocol.messages.orders import OrderPrefix, OrderResult
from twinlock.protocol.orders import CancelOrder, Order, OrderStatus, accept
from twinlock.protocol.wire import Hex
from twinlock.server.comms.hub import Call
from twinlock.server.db import DatabaseError
from twinlock.server.db.orders import add_order, restate
from twinlock.server.historian.ledger import Reason
from twinlock.server.market.core import Retract, Submit, Unbook
from twinlock.server.market.errors import NotCancellableError, refused
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.services import Plan
from twinlock.server.market.state import MarketState

log = structlog.get_logger(__name__)

_CANCEL_KNOWN_S = 1.0


class Arrivals:
    """The entrance of one market: stamp, take in, store, answer, publish."""

    def __init__(self, state: MarketState) -> None:
        self._state = state
        self._tickets: dict[int, set[asyncio.Future[None]]] = {}

    async def submit(self, call: Call[Any], message: OrderPrefix, locks: CoinLocks | None = None) -> OrderResult:
        """Stamp, take in, store, answer, publish. `locks` are those of the funding asset; None for cancels.

        Raises MarketError, RpcError 53 or 7.
        """
        state = self._state
        now = state.services.clock.now_ms()
        order = accept(message, now)
        epoch = epoch_index(now, state.terms.epoch_ms)
        if not state.schedule.runs(epoch):
            return await self._submit_stopped(call, message, order)
        if not isinstance(order, CancelOrder):
            state.services.parcels.check_parcels(state.terms.name, order)
        state.core.submit(Submit(order))
        ticket = self._ticket(epoch)
        try:
            if locks is not None and not isinstance(order, CancelOrder):
                locks.lock(order.id, order.coins)
            state.holdings.enter(order)
            stored = state.services.database.submit([add_order(order, state.terms.name, state.terms.epoch_ms)])
            receipt = await self._receipt(message, order)  # made meanwhile, and kept back until the order is on disk
            await stored
        except BaseException as error:
            # Whatever happened, the epoch must not wait for this order for ever.
            self._forget(order, epoch, locks)
            ticket.set_result(None)
            if not isinstance(error, DatabaseError):
                raise
            raise RpcError(ErrorCode.SERVER_INTERNAL, "the order could not be stored", fault="server") from error
        log.debug(
            "order accepted",
            order=order.id.hex(),
            account=order.account_id.hex(),
            market=state.terms.name,
            epoch=epoch,
        )
        call.after.append(partial(self._publish_order, order, epoch, ticket))
        return receipt

    async def _receipt(self, message: OrderPrefix, order: Order) -> OrderResult:
        stamped = msgspec.structs.replace(message, server_time=order.server_time)
        signature = await self._state.services.signatures.sign(stamped.signed_bytes())
        return OrderResult(sig=signature, order_id=Hex(order.id), server_time=order.server_time)

    def _publish_order(self, order: Order, epoch: int, ticket: asyncio.Future[None]) -> None:
        self._state.public.epoch_order(order, epoch)
        ticket.set_result(None)

    def _ticket(self, epoch: int) -> asyncio.Future[None]:
        """A submission under way; its epoch is not closed before it is answered and published."""
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tickets.setdefault(epoch, set()).add(ticket)
        return ticket

    def _forget(self, order: Order, epoch: int, locks: CoinLocks | None) -> None:
        self._state.core.retract(Retract(order.id, epoch))
        self._state.holdings.leave(order)
        if locks is not None:
            locks.release(order.id)

    async def _submit_stopped(self, call: Call[Any], message: OrderPrefix, order: Order) -> OrderResult:
        """While suspended, a cancel is executed at once (section 6.9)."""
        state = self._state
        if not isinstance(order, CancelOrder):
            raise refused(ErrorCode.MARKET_NOT_RUNNING, "not_running", f"{state.terms.name} does not run")
        # In turn with the final epoch, which may still be on its way: the ledger tells both as they happened.
        async with state.publishing:
            target = state.core.book.get(order.target_id)
            if target is None or target.account_id != order.account_id:
                raise NotCancellableError(order.target_id)
            state.core.unbook(Unbook((target.id,)))
            state.holdings.leave(target)
            plan = state.services.settlement.plan_cancel(state.terms, order, target, order.server_time)
            draft = state.services.recorder.ledger_draft(state.terms)
            draft.removal(Reason.CANCELED, [target.id], cancel=order)
            await state.services.database.write(
                add_order(order, state.terms.name, state.terms.epoch_ms),
                *restate([order.id], OrderStatus.EXECUTED),
                *restate([target.id], OrderStatus.CANCELED),
                *draft.writes,
                *plan.writes,
            )
            entries = draft.commit()
        state.free(target)
        call.after.append(partial(state.public.unbooked, (target.id,)))
        call.after.append(partial(state.public.ledger, entries))
        call.after.append(lambda: state.services.hub.start(self._begin_soon(plan)))
        return await self._receipt(message, order)

    async def _begin_soon(self, plan: Plan) -> None:
        """Bison Wallet does not know its cancel order in the first moments after the receipt, and would not answer."""
        await self._state.services.clock.sleep(_CANCEL_KNOWN_S)
        plan.begin()

    async def answered(self, epoch: int) -> None:
        """Return when every submission to that epoch is answered and published."""
        await asyncio.gather(*self._tickets.pop(epoch, ()))
