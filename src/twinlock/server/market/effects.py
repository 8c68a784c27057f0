"""What a processed epoch means for orders, accounts and coins: pure, so that all of it commits in one transaction."""

from __future__ import annotations

from collections.abc import Iterator

from twinlock.protocol.messages.book import EpochReport
from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, OrderStatus
from twinlock.protocol.reputation import Outcome, order_outcome
from twinlock.server.db.accounts import Point
from twinlock.server.db.orders import NEVER_EFFECTIVE, OrderChange
from twinlock.server.market.core import Processed, Report, cancel_gaps


def order_changes(processed: Processed, epoch_ms: int, *, resumed: bool) -> Iterator[OrderChange]:
    """The new status and fill of every order that the epoch touched, matched ones as they came.

    resumed: the epoch was interrupted by a restart, so whoever missed it is not blamed.
    """
    gaps = cancel_gaps(processed, epoch_ms)
    shown = {order.id: preimage for order, preimage in zip(processed.revealed, processed.preimages, strict=True)}
    # As they came: then they are neighbours in the table and in its indexes by time.
    for order, status in sorted(processed.matched.statuses(), key=lambda ended: ended[0].server_time):
        filled, matches = (0, 0) if isinstance(order, CancelOrder) else (order.filled, order.matches)
        gap = gaps.get(order.id, NEVER_EFFECTIVE)
        # Each revealed order ends up with exactly one status, so all preimages are stored here.
        yield OrderChange(order.id, status, filled, matches, shown.get(order.id, b""), gap)
    for order in processed.expired:
        yield OrderChange(order.id, OrderStatus.REVOKED, order.filled, order.matches)
    for order in processed.missed:
        yield OrderChange(order.id, OrderStatus.EXECUTED if resumed else OrderStatus.REVOKED)


def epoch_points(processed: Processed, epoch_ms: int, *, resumed: bool) -> Iterator[Point]:
    """Preimages shown and missed, and cancels that took effect."""
    stamp = processed.match_time
    for order in () if resumed else processed.missed:
        yield Point(account_id=order.account_id, outcome=Outcome.PREIMAGE_MISS, link=order.id, stamp=stamp)
    for order in processed.revealed:
        yield Point(account_id=order.account_id, outcome=Outcome.PREIMAGE_SUCCESS, link=order.id, stamp=stamp)
    gaps = cancel_gaps(processed, epoch_ms)
    for cancel in processed.matched.cancels_executed:
        outcome = order_outcome(gaps[cancel.id])
        yield Point(account_id=cancel.account_id, outcome=outcome, link=cancel.target_id, stamp=stamp)


def missed_trades(processed: Processed) -> list[LimitOrder | MarketOrder]:
    """The trade orders whose preimages were not revealed."""
    return [order for order in processed.missed if not isinstance(order, CancelOrder)]


def over(processed: Processed) -> Iterator[LimitOrder | MarketOrder]:
    """Trade orders that ended otherwise than by being filled; what they were funded with may be free."""
    matched = processed.matched
    yield from (*processed.expired, *matched.canceled, *matched.failed, *missed_trades(processed))


def report_note(market: str, report: Report) -> EpochReport:
    """The report as subscribers get it."""
    return EpochReport(
        market=market,
        epoch=report.epoch,
        base_fee_rate=report.fee_rate_base,
        quote_fee_rate=report.fee_rate_quote,
        match_summary=list(report.summary),
        start_stamp=report.start_stamp,
        end_stamp=report.end_stamp,
        match_volume=report.match_volume,
        quote_volume=report.quote_volume,
        high_rate=report.high_rate,
        low_rate=report.low_rate,
        start_rate=report.start_rate,
        end_rate=report.end_rate,
    )
