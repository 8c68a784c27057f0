"""Orders out, for a reason outside of the market."""

from __future__ import annotations

from collections.abc import Iterable

from twinlock.protocol import routes
from twinlock.protocol.messages.orders import RevokeOrder
from twinlock.protocol.orders import LimitOrder, OrderStatus
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex
from twinlock.server.db import Write
from twinlock.server.db.orders import add_revocations, restate
from twinlock.server.historian.ledger import Reason
from twinlock.server.market.core import Unbook
from twinlock.server.market.state import MarketState


async def revoke(
    state: MarketState, orders: Iterable[LimitOrder], extra: Iterable[Write] = (), *, reason: Reason = Reason.REVOKED
) -> None:
    """Take orders off the book, tell their owners and everybody. extra: what must be stored with it."""
    async with state.publishing:
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
        entries = draft.commit()
        for order in removed:
            state.holdings.leave(order)
            state.free(order)
            note = signed(state.services.key, RevokeOrder(order_id=Hex(order.id)))
            state.services.hub.send(order.account_id, routes.REVOKE_ORDER, note)
        state.public.unbooked(gone)
        state.public.ledger(entries)
