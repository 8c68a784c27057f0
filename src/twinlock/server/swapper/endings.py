"""How matches end: complete, or revoked because time ran out; many at a time, in one transaction each step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.messages.swaps import RevokeMatch
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.routes import REVOKE_MATCH
from twinlock.protocol.signing import signed
from twinlock.protocol.swap import Party
from twinlock.protocol.swap.events import Revoked
from twinlock.protocol.swap.referee import Judgement
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock
from twinlock.server.comms.hub import Hub
from twinlock.server.db import Database, DatabaseError
from twinlock.server.db.accounts import Point
from twinlock.server.db.matches import end_matches
from twinlock.server.market.locks import CoinLocks
from twinlock.server.swapper.active import ActiveMatches
from twinlock.server.swapper.settling import SIDE_NAMES, Settling
from twinlock.server.users.reputation import Reputations

log = structlog.get_logger(__name__)

Verdict = tuple[Settling, Judgement]


class OrderKeeper(Protocol):
    """Who knows the orders (the dex manager)."""

    def is_active(self, market: str, order_id: bytes) -> bool:
        """Whether the order can still match."""
        ...

    async def revoke_orders(self, market: str, order_ids: Iterable[bytes]) -> None:
        """Take those orders off the book that are there."""
        ...

    async def orders_settled(self, order_ids: Sequence[bytes]) -> None:
        """The last matches of orders that are not active any more have ended."""
        ...


class Endings:
    """Ends matches. locks: by asset ID."""

    def __init__(
        self,
        active: ActiveMatches,
        hub: Hub,
        database: Database,
        locks: Mapping[int, CoinLocks],
        reputations: Reputations,
        orders: OrderKeeper,
        key: PrivateKey,
        clock: Clock,
    ) -> None:
        self._active = active
        self._hub = hub
        self._database = database
        self._locks = locks
        self._reputations = reputations
        self._orders = orders
        self._key = key
        self._clock = clock

    async def fail(self, verdicts: Iterable[Verdict]) -> None:
        """End matches that will not complete by our rules; what is on chain goes on.

        Raises DatabaseError; the matches then run as before.
        """
        due = [verdict for verdict in verdicts if self._active.find(verdict[0].match_id) is not None]
        if not due:
            return
        for settling, _ in due:
            settling.ending = True
        points = [point for verdict in due for point in self._blame(*verdict)]
        try:
            await self._database.write(
                end_matches(settling.match_id for settling, _ in due), *self._reputations.writes(points)
            )
        except DatabaseError:
            for settling, _ in due:
                settling.ending = False
            raise
        for verdict in due:
            self._revoked(*verdict)
        self._reputations.take_effect(points)
        for market, order_ids in _at_fault(due).items():
            await self._orders.revoke_orders(market, order_ids)
        await self.retire([settling for settling, _ in due])

    async def retire(self, ended: Iterable[Settling]) -> None:
        """Forget matches that ended, and free what they held."""
        gone = [settling for settling in ended if self._active.remove(settling)]
        settled: dict[bytes, None] = {}
        for settling in gone:
            for side in Party:
                market, order = settling.stored.market, settling.order(side)
                busy = self._active.settles(order, settling.account(side))
                if not busy and not self._orders.is_active(market, order):
                    self._locks[settling.asset(side)].release(order)
                    settled[order] = None
        if settled:
            await self._orders.orders_settled(list(settled))

    def _revoked(self, settling: Settling, judgement: Judgement) -> None:
        """The end is stored: both sides hear of it."""
        settling.record(active=False)
        settling.learn(Revoked())
        blamed = None if judgement.at_fault is None else SIDE_NAMES[judgement.at_fault]
        log.info("match revoked", match=settling.match_id.hex(), status=settling.status.name, at_fault=blamed)
        for side in Party:
            account = settling.account(side)
            if self._hub.link_of(account) is not None:  # a signature for nobody costs as much as one for somebody
                note = RevokeMatch(order_id=Hex(settling.order(side)), match_id=Hex(settling.match_id))
                self._hub.send(account, REVOKE_MATCH, signed(self._key, note))

    def _blame(self, settling: Settling, judgement: Judgement) -> list[Point]:
        outcome: Outcome | None = judgement.outcome
        if judgement.at_fault is None or outcome is None:
            return []
        account = settling.account(judgement.at_fault)
        return [Point(account_id=account, outcome=outcome, link=settling.match_id, stamp=self._clock.now_ms())]


def _at_fault(verdicts: Iterable[Verdict]) -> dict[str, list[bytes]]:
    """The orders of those at fault, by market."""
    orders: defaultdict[str, list[bytes]] = defaultdict(list)
    for settling, judgement in verdicts:
        if judgement.at_fault is not None:
            orders[settling.stored.market].append(settling.order(judgement.at_fault))
    return dict(orders)
