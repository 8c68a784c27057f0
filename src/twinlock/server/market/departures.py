"""Orders out, for a reason outside of the market.

A whole book may leave at once. It leaves the market in one turn of the loop, so that nobody sees a part of it gone, and
what follows is done in portions: everybody else has turns in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from twinlock.protocol import routes
from twinlock.protocol.ledger import Entry
from twinlock.protocol.messages.orders import RevokeOrder
from twinlock.protocol.orders import LimitOrder, OrderStatus
from twinlock.protocol.wire import Hex
from twinlock.server.db import Write
from twinlock.server.db.orders import add_revocations, restate
from twinlock.server.historian.ledger import Reason
from twinlock.server.market.core import Unbook
from twinlock.server.market.state import MarketState

PORTION = 500
"""Orders that are written down, or told of, in one turn of the loop."""


async def revoke(state: MarketState, orders: Iterable[LimitOrder], extra: Iterable[Write] = ()) -> None:
    """Take orders off the book, tell their owners and everybody. extra: what must be stored with it."""
    async with state.publishing:
        removed, entries = await _remove(state, orders, Reason.REVOKED, extra)
        await _tell_owners(state, removed)
        state.public.unbooked(order.id for order in removed)
        state.public.ledger(entries)


async def suspend(state: MarketState) -> None:
    """The final epoch is processed: tell everybody, and empty the book unless it is kept.

    Subscribers hear of the suspension alone, which says that the book is empty now, and owners of their orders after
    it: a client that hears of its orders first takes them for revoked for a fault.
    """
    final_epoch, persist = state.schedule.final_epoch, state.schedule.persist_book
    if persist:
        state.public.suspended(final_epoch, persist)
        return
    async with state.publishing:
        removed, entries = await _remove(state, list(state.core.book), Reason.SUSPENDED)
        state.public.suspended(final_epoch, persist)
        await _tell_owners(state, removed)
        state.public.ledger(entries)


async def _remove(
    state: MarketState, orders: Iterable[LimitOrder], reason: Reason, extra: Iterable[Write] = ()
) -> tuple[Sequence[LimitOrder], Sequence[Entry]]:
    removed = state.core.unbook(Unbook(tuple(order.id for order in orders)))
    for order in removed:
        state.holdings.leave(order)
    await asyncio.sleep(0)
    draft = state.services.recorder.ledger_draft(state.terms)
    draft.removal(reason, [order.id for order in removed])
    now, terms = state.services.clock.now_ms(), state.terms
    writes: list[Write] = []
    async for portion in _portions(removed):
        writes += restate([order.id for order in portion], OrderStatus.REVOKED)
        writes += add_revocations(portion, terms.name, terms.epoch_ms, now)
    await state.services.database.write(*writes, *draft.writes, *extra)
    return removed, draft.commit()


async def _tell_owners(state: MarketState, removed: Sequence[LimitOrder]) -> None:
    """Whoever is not here learns it from the answer to `connect`; nothing is signed for them."""
    hub, signatures = state.services.hub, state.services.signatures
    async for portion in _portions(removed):
        for order in portion:
            state.free(order)
        present = [order for order in portion if hub.link_of(order.account_id) is not None]
        notes = await signatures.signed([RevokeOrder(order_id=Hex(order.id)) for order in present])
        for order, note in zip(present, notes, strict=True):
            hub.send(order.account_id, routes.REVOKE_ORDER, note)


async def _portions(orders: Sequence[LimitOrder]) -> AsyncIterator[Sequence[LimitOrder]]:
    for start in range(0, len(orders), PORTION):
        yield orders[start : start + PORTION]
        await asyncio.sleep(0)
