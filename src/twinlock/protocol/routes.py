"""The one table of routes: who asks whom, what travels, what comes back, and how long one waits.

Dispatch, limits and the protocol's documentation are all read from `ROUTES` (protocol section 3.1).

>>> ROUTES["preimage"].direction.name, ROUTES["preimage"].timeout_ms
('TO_CLIENT', 20000)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from twinlock.protocol.constants import CLIENT_REQUEST_TIMEOUT_MS, MATCH_TIMEOUT_MS, PREIMAGE_TIMEOUT_MS
from twinlock.protocol.limits import Meter
from twinlock.protocol.messages import account, book, config, explain, orders, status, swaps

P = TypeVar("P")
R = TypeVar("R")


class Direction(Enum):
    """Who originates a message."""

    TO_SERVER = "a client's request"
    TO_CLIENT = "a server's request"
    NOTIFICATION = "a server's notification"


@dataclass(frozen=True)
class Route(Generic[P, R]):
    """One row.

    payload, result: what the payload and the result decode into; `NoneType` for null and for no result.
    auth: whether the connection must have logged in (for notifications: whether they go to accounts).
    timeout_ms: how long the originator waits; None is the server's broadcast timeout.
    meter: which token bucket the request draws from, besides the cumulative one.
    """

    name: str
    direction: Direction
    payload: type[P]
    result: type[R]
    auth: bool = False
    timeout_ms: int | None = CLIENT_REQUEST_TIMEOUT_MS
    meter: Meter = Meter.NONE


Null = type(None)


def _ask(name: str, payload: type[P], result: type[R], *, auth: bool = False, meter: Meter = Meter.NONE) -> Route[P, R]:
    return Route(name, Direction.TO_SERVER, payload, result, auth, meter=meter)


def _order(name: str, payload: type[P]) -> Route[P, orders.OrderResult]:
    return _ask(name, payload, orders.OrderResult, auth=True, meter=Meter.ORDERS)


def _tell(name: str, payload: type[P], *, auth: bool = False) -> Route[P, None]:
    return Route(name, Direction.NOTIFICATION, payload, Null, auth, timeout_ms=0)


# A client's requests. `fee_rate` takes a bare asset ID and answers a bare number of atoms per vbyte.
CONFIG: Final = _ask("config", Null, config.Config, meter=Meter.EXEMPT)
HEALTHY: Final = _ask("healthy", Null, bool, meter=Meter.DATA)
SPOTS: Final = _ask("spots", Null, list[book.Spot], meter=Meter.DATA)
CANDLES: Final = _ask("candles", book.CandlesRequest, book.Candles, meter=Meter.DATA)
FEE_RATE: Final = _ask("fee_rate", int, int, meter=Meter.INFO)
PRICE_FEED: Final = _ask("price_feed", Null, dict[str, book.Spot], meter=Meter.SUBSCRIPTIONS)
ORDERBOOK: Final = _ask("orderbook", book.BookSubscription, book.OrderBook, meter=Meter.SUBSCRIPTIONS)
UNSUB_ORDERBOOK: Final = _ask("unsub_orderbook", book.BookUnsubscription, bool)
PREVALIDATEBOND: Final = _ask("prevalidatebond", account.PreValidateBond, account.PreValidateBondResult)
POSTBOND: Final = _ask("postbond", account.PostBond, account.PostBondResult)
CONNECT: Final = _ask("connect", account.Connect, account.ConnectResult, meter=Meter.CONNECT)
MATCH_STATUS: Final = _ask(
    "match_status", list[status.MatchStatusRequest], list[status.MatchStatusResult], auth=True, meter=Meter.STATUS
)
ORDER_STATUS: Final = _ask(
    "order_status", list[status.OrderStatusRequest], list[status.OrderStatusResult], auth=True, meter=Meter.STATUS
)
LIMIT: Final = _order("limit", orders.PlaceLimit)
MARKET: Final = _order("market", orders.PlaceMarket)
CANCEL: Final = _order("cancel", orders.PlaceCancel)
INIT: Final = _ask("init", swaps.Init, swaps.Acknowledgement, auth=True)
REDEEM: Final = _ask("redeem", swaps.Redeem, swaps.Acknowledgement, auth=True)
SUBSCRIBE_MM_SNAPSHOTS: Final = _ask("subscribe_mm_snapshots", book.SnapshotSubscription, bool, auth=True)
EXPLAIN: Final = _ask("explain", explain.ExplainRequest, explain.Explanation, auth=True, meter=Meter.STATUS)

# A server's requests.
PREIMAGE: Final = Route(
    "preimage", Direction.TO_CLIENT, orders.PreimageRequest, orders.PreimageResponse, True, PREIMAGE_TIMEOUT_MS
)
MATCH: Final = Route(
    "match", Direction.TO_CLIENT, list[swaps.Match], list[swaps.Acknowledgement], True, MATCH_TIMEOUT_MS
)
AUDIT: Final = Route("audit", Direction.TO_CLIENT, swaps.Audit, swaps.Acknowledgement, True, None)
REDEMPTION: Final = Route("redemption", Direction.TO_CLIENT, swaps.Redemption, swaps.Acknowledgement, True, None)

# A server's notifications.
BOOK_ORDER: Final = _tell("book_order", book.BookOrder)
UNBOOK_ORDER: Final = _tell("unbook_order", book.UnbookOrder)
UPDATE_REMAINING: Final = _tell("update_remaining", book.UpdateRemaining)
EPOCH_ORDER: Final = _tell("epoch_order", book.EpochOrder)
MATCH_PROOF: Final = _tell("match_proof", book.MatchProof)
EPOCH_REPORT: Final = _tell("epoch_report", book.EpochReport)
EPOCH_LEDGER: Final = _tell("epoch_ledger", book.LedgerNote)
SUSPENSION: Final = _tell("suspension", book.Suspension)
RESUMPTION: Final = _tell("resumption", book.Resumption)
PRICE_UPDATE: Final = _tell("price_update", book.Spot)
NOTIFY: Final = _tell("notify", str)
NOMATCH: Final = _tell("nomatch", orders.NoMatch, auth=True)
REVOKE_ORDER: Final = _tell("revoke_order", orders.RevokeOrder, auth=True)
REVOKE_MATCH: Final = _tell("revoke_match", swaps.RevokeMatch, auth=True)
COUNTERPARTY_ADDRESS: Final = _tell("counterparty_address", swaps.CounterpartyAddress, auth=True)
TIERCHANGE: Final = _tell("tierchange", account.TierChange, auth=True)
SCORECHANGED: Final = _tell("scorechanged", account.ScoreChange, auth=True)
BONDEXPIRED: Final = _tell("bondexpired", account.BondExpired, auth=True)
PENALTY: Final = _tell("penalty", account.PenaltyNote, auth=True)
MM_EPOCH_SNAPSHOT: Final = _tell("mm_epoch_snapshot", book.EpochSnapshot, auth=True)

ROUTES: Final[dict[str, Route[Any, Any]]] = {
    route.name: route for route in tuple(globals().values()) if isinstance(route, Route)
}
"""Every route by its name, in the order above."""
