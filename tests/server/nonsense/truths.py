"""What must hold between any two things that happen, whatever they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

from tests.server.conftest import MARKET
from tests.server.nonsense.world import NAME, World

from twinlock.protocol.audit import Auditor
from twinlock.protocol.orders import CancelOrder, Order
from twinlock.protocol.parcels import Exposure, with_order
from twinlock.protocol.reputation import Record
from twinlock.protocol.swap import Party
from twinlock.server.db.accounts import load_account
from twinlock.server.db.matches import load_active_matches
from twinlock.server.db.orders import load_active

_PATIENCE_S = 5.0
_TASKS_OF_THE_SERVER = 40
_TASKS_EACH = 8

Logs = Sequence[MutableMapping[str, Any]]


async def check(world: World, logs: Logs, accidents: Sequence[object]) -> None:
    """Raises AssertionError; what is still on its way gets a moment to arrive."""
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
    assert not accidents, accidents
    assert not world.waiter.done(), "a task that must run for ever has ended"
    patience = asyncio.get_running_loop().time() + _PATIENCE_S
    while found := [*_links(world), *_locks(world), *_holdings(world), *await _stored(world)]:
        assert asyncio.get_running_loop().time() < patience, found
        await asyncio.sleep(0.01)
    await _mirrored(world)


def _links(world: World) -> Iterator[str]:
    hub = world.exchange.running.hub
    active = len(list(world.market.core.epoch_orders())) + 2 * len(world.executor)
    if hub.connected > len(world.up) + 1:
        yield f"{hub.connected} links for {len(world.up)} traders and a watcher"
    if any((link := hub.link_of(account)) is None or not link.is_open for account in _logged_in(world)):
        yield "an account is bound to a link that is closed"
    if hub.asked > 2 * active + 4 * len(world.traders):
        yield f"{hub.asked} requests wait for an answer, with {active} orders and matches"
    most = _TASKS_OF_THE_SERVER + _TASKS_EACH * (len(world.traders) + active)
    if len(asyncio.all_tasks()) > most:
        yield f"{len(asyncio.all_tasks())} tasks, {most} at most"


def _logged_in(world: World) -> set[bytes]:
    hub = world.exchange.running.hub
    return {trader.account for trader in world.traders if hub.link_of(trader.account) is not None}


def _locks(world: World) -> Iterator[str]:
    """A locked coin funds an order that is active or settles; the coins of an unfilled active order are locked."""
    market = world.market
    settling = {found.order(side) for found in world.executor for side in Party}
    for asset in MARKET:
        for holder in set(market.services.locks[asset].coins().values()):
            if market.core.find(holder) is None and holder not in settling:
                yield f"coins are locked for order {holder.hex()[:8]}, which is over"
    for order in _orders(world):
        if isinstance(order, CancelOrder) or order.filled:
            continue
        held = market.services.locks[market.funded_by(order)].coins()
        if any(held.get(coin) != order.id for coin in order.coins):
            yield f"a coin of order {order.id.hex()[:8]} is not locked for it"


def _orders(world: World) -> list[Order]:
    return [*world.market.book, *world.market.core.epoch_orders()]


def _holdings(world: World) -> Iterator[str]:
    """What is kept for each account is what a walk over all orders gives."""
    market = world.market
    if market.owners() != {order.account_id for order in _orders(world)}:
        yield "the owners of active orders are others"
    for trader in world.traders:
        fresh = Exposure(market.terms.lot_size, market.terms.parcel_size)
        for order in world.market.core.epoch_orders():
            if order.account_id == trader.account and not isinstance(order, CancelOrder):
                fresh = with_order(fresh, order, market.book)
        resting = sum(order.remaining for order in market.book if order.account_id == trader.account)
        kept = market.exposure(trader.account)
        if (kept.maker, kept.taker) != (fresh.maker + resting, fresh.taker):
            yield f"exposure {kept.maker}, {kept.taker} is kept, not {fresh.maker + resting}, {fresh.taker}"


async def _stored(world: World) -> list[str]:
    """The database says the same as the memory."""
    server, wrong = world.exchange.running, []
    stored = {entry.order.id: (entry.status, entry.order) for entry in await load_active(server.database, NAME)}
    known = {order.id: world.market.status_of(order.id) for order in _orders(world)}
    if {order_id: status for order_id, (status, _) in stored.items()} != known:
        wrong.append(f"{len(stored)} active orders are stored, {len(known)} are known, or their status differs")
    matches = {match.match_id for match in await load_active_matches(server.database)}
    if matches != {found.match_id for found in world.executor}:
        wrong.append("the active matches that are stored are others")
    for trader in world.traders:
        account, kept = server.manager.accounts.get(trader.account), await load_account(server.database, trader.account)
        if account is None or kept is None:
            continue
        policy = server.manager.accounts.policy
        if Record.of(point.outcome for point in kept.points).score(policy) != account.record.score(policy):
            wrong.append(f"the score of {trader.account.hex()[:8]} is stored otherwise")
        if set(account.bonds) != {bond.key for bond in kept.bonds}:
            wrong.append(f"the bonds of {trader.account.hex()[:8]} are stored otherwise")
    return wrong


async def _mirrored(world: World) -> None:
    """Whoever follows the feed has the book."""

    def same() -> bool:
        return world.mirror.orders == {
            order.id: (int(order.side), order.rate, order.remaining) for order in world.market.book
        }

    await _soon(world, same)


async def _soon(world: World, same: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        await world.mirror.look()
        while not same():
            await asyncio.sleep(0.02)
            await world.mirror.look()


async def audited(world: World) -> None:
    """The whole ledger replays to the book."""
    server = world.exchange.running
    terms, auditor, number = world.market.terms, Auditor(server.key.public), 0
    while entries := await server.data.ledger(terms.base, terms.quote, number, 500):
        for entry in entries:
            auditor.take_entry(entry)
        number += len(entries)
    assert {order.id for order in auditor.book} == {order.id for order in world.market.book}


async def deserted(world: World) -> None:
    """When everybody is gone nothing is left of them."""
    hub = world.exchange.running.hub
    world.exchange.expire_requests()
    async with asyncio.timeout(_PATIENCE_S):
        while hub.connected > 1 or hub.accounts or hub.asked or len(world.market.public.subscribers) > 1:
            await asyncio.sleep(0.01)
            world.exchange.expire_requests()
