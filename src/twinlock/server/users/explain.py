"""Every point of a score, traced to a signed event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from twinlock.protocol.messages.explain import ExplainRequest, Explanation, OutcomeRecord
from twinlock.protocol.reputation import EXCESSIVE_CANCELS, WEIGHTS, WINDOWS, OutcomeClass
from twinlock.protocol.routes import EXPLAIN
from twinlock.protocol.wire import Hex
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.db import Database, history
from twinlock.server.db.accounts import Point, load_points
from twinlock.server.db.matches import StoredMatch
from twinlock.server.db.orders import StoredOrder
from twinlock.server.signatures import SignatureDesk
from twinlock.server.users.accounts import Account, Accounts

_COUNT_MAX = 200
"""Records at once, beside those in the windows: what a trader asks is not to keep the others waiting."""


class Explainer:
    """Answers `explain` for accounts themselves, and for the operator."""

    def __init__(self, hub: Hub, accounts: Accounts, database: Database, signatures: SignatureDesk) -> None:
        self._accounts = accounts
        self._database = database
        self._signatures = signatures
        hub.serve(EXPLAIN, self._asked, waits=True)

    async def _asked(self, call: Call[ExplainRequest]) -> Explanation:
        account = await self._accounts.load(call.account)
        assert account is not None, "the route is for accounts that are logged in"
        return await self.explain(account, min(call.payload.count, _COUNT_MAX))

    async def explain(self, account: Account, count: int) -> Explanation:
        """All outcomes of an account that are in their windows, and the newest `count`; newest first, each signed."""
        points = (await load_points(self._database, account.account_id, count))[::-1]
        links = [point.link for point in points]
        matches = {match.match_id: match for match in await history.matches_by_id(self._database, links)}
        orders = {stored.order.id: stored for stored in await history.orders_by_id(self._database, links)}
        counting = _counting(points)
        policy = self._accounts.policy
        records = [
            _record(point, counts, matches.get(point.link), orders.get(point.link))
            for point, counts in zip(points, counting, strict=True)
        ]
        return Explanation(
            reputation=self._accounts.standing(account).message(),
            penalty_threshold=policy.penalty_threshold,
            cancel_score=EXCESSIVE_CANCELS if account.record.cancels_too_much(policy) else 0,
            outcomes=await self._signatures.signed(records),
        )


def _counting(points: Sequence[Point]) -> list[bool]:
    """Whether each of the points, newest first, is still in its window."""
    seen: Counter[OutcomeClass] = Counter()
    counting: list[bool] = []
    for point in points:
        window = WEIGHTS[point.outcome].window
        seen[window] += 1
        counting.append(seen[window] <= WINDOWS[window])
    return counting


def _record(point: Point, counts: bool, match: StoredMatch | None, order: StoredOrder | None) -> OutcomeRecord:
    weight = WEIGHTS[point.outcome]
    own: list[bytes] = []
    if match is not None:
        sides = ((match.maker_account, match.maker_order), (match.taker_account, match.taker_order))
        own = [order_id for owner, order_id in sides if owner == point.account_id]
    elif order is not None:
        own = [order.order.id]
    place = match or order
    return OutcomeRecord(
        account_id=Hex(point.account_id),
        outcome=int(point.outcome),
        name=point.outcome.name.lower().replace("_", " "),
        score=weight.score,
        counts=counts,
        kind="match" if weight.window is OutcomeClass.MATCH else "order",
        link=Hex(point.link),
        market=place.market if place is not None else "",
        epoch=place.epoch if place is not None else 0,
        orders=[Hex(order_id) for order_id in own],
        stamp=point.stamp,
    )
