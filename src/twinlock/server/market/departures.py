"""Orders out, for a reason outside of the market."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twinlock.protocol import routes
from twinlock.protocol.ledger import Entry
from twinlock.protocol.messages.orders import RevokeOrder
from twinlock.protocol.orders import LimitOrder, OrderStatus
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex
from twinlock.server.db import Write
from twinlock.server.db.orders import add_revocations, restate
from twinlock.server.historian.ledger import Reason
from twinlock.server.market.core import Unbook
from twinlock.server.market.state import MarketState


async def revoke(state: MarketState, orders: Iterable[LimitOrder], extra: Iterable[Write] = ()) -> None:
    """Take orders off the book, tell their owners and everybody. extra: what must be stored with it."""
    async with state.publishing:
        removed, entries = await _remove(state, orders, Reason.REVOKED, extra)
        _tell_owners(state, removed)
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
        _tell_owners(state, removed)
        state.public.ledger(entries)


async def _remove(
    state: MarketState, orders: Iterable[LimitOrder], reason: Reason, extra: Iterable[Write] = ()
) -> tuple[Sequence[LimitOrder], Sequence[Entry]]:
    removed = state.core.unbook(Unbook(tuple(order.id for order in orders)))
    gone = [order.id for order in removed]
    draft = state.services.recorder.ledger_draft(state.terms)
    draft.removal(reason, gone)
    now, terms = state.services.clock.now_ms(), state.terms
    await state.services.database.write(
        *restate(gone, OrderStatus.REVOKED),
        *add_revocations(removed, terms.name, terms.epoch_ms, now),
        *draft.writes,
        *extra,
    )
    return removed, draft.commit()


def _tell_owners(state: MarketState, removed: Iterable[LimitOrder]) -> None:
    for order in removed:
        state.holdings.leave(order)
        state.free(order)
        note = signed(state.services.key, RevokeOrder(order_id=Hex(order.id)))
        state.services.hub.send(order.account_id, routes.REVOKE_ORDER, note)
