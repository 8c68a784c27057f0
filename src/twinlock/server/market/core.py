"""A market as a pure state machine: inputs in, outputs out, no clock, network or disk.

The shell (`arrivals`, `epochs`, `departures`) stamps, asks, stores and publishes; what happens is decided here. Each
input is a value, so a log of them can be stored, and `replay` of the log gives equal outputs (see
`tests/server/test_market_core.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from twinlock.protocol.book import Book
from twinlock.protocol.epoch import epoch_end, epoch_index
from twinlock.protocol.matcher import Matched, match
from twinlock.protocol.orders import CancelOrder, LimitOrder, Order, TimeInForce
from twinlock.protocol.shuffle import checksum, shuffle
from twinlock.server.market.errors import (
    CancelLimitError,
    CommitmentReusedError,
    EpochMissedError,
    ExpiryError,
    NotCancellableError,
    TargetTakenError,
)
from twinlock.server.market.terms import MarketTerms


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """A stamped, checked and funded order enters the epoch of its server time."""

    order: Order


class Close(msgspec.Struct, frozen=True, tag="close"):
    """The epoch's time is over."""

    epoch: int


class Process(msgspec.Struct, frozen=True, tag="process"):
    """What a closed epoch's owners revealed (order ID -> preimage); the rest missed. Times ms, rates atoms per unit."""

    epoch: int
    preimages: dict[bytes, bytes]
    fee_rate_base: int
    fee_rate_quote: int
    match_time: int


class Unbook(msgspec.Struct, frozen=True, tag="unbook"):
    """Orders leave the book for a reason outside of the market."""

    order_ids: tuple[bytes, ...]


class Retract(msgspec.Struct, frozen=True, tag="retract"):
    """An order could not be stored; it never was."""

    order_id: bytes
    epoch: int


Input = Submit | Close | Process | Unbook | Retract


class Closed(msgspec.Struct, frozen=True):
    """A closed epoch: whom to ask, and the checksum that commits to all of them; b"" for an empty epoch."""

    epoch: int
    orders: tuple[Order, ...]
    csum: bytes


class Report(msgspec.Struct, frozen=True):
    """The numbers of one epoch. Stamps ms; volumes base and quote atoms; without matches the rates repeat the last."""

    epoch: int
    start_stamp: int
    end_stamp: int
    match_volume: int
    quote_volume: int
    high_rate: int
    low_rate: int
    start_rate: int
    end_rate: int
    fee_rate_base: int
    fee_rate_quote: int
    summary: tuple[tuple[int, int], ...]


class Processed(msgspec.Struct, frozen=True):
    """Everything that one epoch did. `revealed` and `preimages` are in matching order, `missed` as submitted.

    expired: what left the book before the epoch was matched.
    """

    epoch: int
    match_time: int
    csum: bytes
    seed: bytes
    revealed: tuple[Order, ...]
    preimages: tuple[bytes, ...]
    missed: tuple[Order, ...]
    matched: Matched
    report: Report
    expired: tuple[LimitOrder, ...] = ()


Output = Closed | Processed | tuple[LimitOrder, ...] | None


class _Epoch:
    """The orders of one epoch, in the order they came."""

    def __init__(self) -> None:
        self.orders: dict[bytes, Order] = {}
        self.csum = b""


class MarketCore:
    """State: the book, the epochs that are not processed yet, and the last rate.

    Inputs go through `apply` or the method of the same name; both raise `MarketError` and change nothing then.
    """

    def __init__(self, terms: MarketTerms, booked: Iterable[LimitOrder] = (), last_rate: int = 0) -> None:
        self.terms = terms
        self.book = Book(terms.lot_size, booked)
        self.last_rate = last_rate
        self._open: dict[int, _Epoch] = {}
        self._closed: dict[int, _Epoch] = {}
        self._first_open = 0
        self._commitments: set[bytes] = set()

    def apply(self, event: Input) -> Output:
        """Feed one input, whatever its kind."""
        methods: dict[type[Any], Callable[[Any], Output]] = {
            Submit: self.submit,
            Close: self.close,
            Process: self.process,
            Unbook: self.unbook,
            Retract: self.retract,
        }
        return methods[type(event)](event)

    def submit(self, event: Submit) -> None:
        """Take an order into its epoch."""
        order = event.order
        index = epoch_index(order.server_time, self.terms.epoch_ms)
        if index < self._first_open:
            raise EpochMissedError(index, self._first_open)
        if order.commitment in self._commitments:
            raise CommitmentReusedError
        if isinstance(order, CancelOrder):
            self._check_cancel(order, index)
        elif order.options.expiry:
            self._check_expiry(order.options.expiry, index)
        self._commitments.add(order.commitment)
        self._open.setdefault(index, _Epoch()).orders[order.id] = order

    def close(self, event: Close) -> Closed:
        """Close an epoch; orders stamped before its end are refused from now on."""
        self._first_open = max(self._first_open, event.epoch + 1)
        closed = self._closed[event.epoch] = self._open.pop(event.epoch, _Epoch())
        if closed.orders:
            closed.csum = checksum(order.commitment for order in closed.orders.values())
        return Closed(event.epoch, tuple(closed.orders.values()), closed.csum)

    def process(self, event: Process) -> Processed:
        """Shuffle and match a closed epoch. Epochs must be processed in their order."""
        if event.epoch != min(self._closed):
            raise EpochMissedError(event.epoch, min(self._closed))
        closed = self._closed.pop(event.epoch)
        orders, preimages = closed.orders, event.preimages
        self._commitments.difference_update([order.commitment for order in orders.values()])
        shown = {order_id: preimages[order_id] for order_id in orders if order_id in preimages}
        queue = shuffle(shown)
        revealed = tuple([orders[order_id] for order_id in queue.order_ids])
        expired = self.book.expire(epoch_end(event.epoch, self.terms.epoch_ms))
        matched = match(self.book, revealed)
        report = self._report(event, matched)
        self.last_rate = report.end_rate
        return Processed(
            epoch=event.epoch,
            match_time=event.match_time,
            csum=closed.csum,
            seed=queue.seed,
            revealed=revealed,
            preimages=tuple([shown[order_id] for order_id in queue.order_ids]),
            missed=tuple([order for order_id, order in orders.items() if order_id not in shown]),
            matched=matched,
            report=report,
            expired=tuple(expired),
        )

    def unbook(self, event: Unbook) -> tuple[LimitOrder, ...]:
        """Take orders off the book; those that are not there are passed over."""
        removed = (self.book.remove(order_id) for order_id in event.order_ids)
        return tuple(order for order in removed if order is not None)

    def retract(self, event: Retract) -> None:
        """Forget an order of an open epoch."""
        epoch = self._open.get(event.epoch)
        order = epoch.orders.pop(event.order_id, None) if epoch is not None else None
        if order is not None:
            self._commitments.discard(order.commitment)

    def epoch_orders(self) -> Iterator[Order]:
        """All orders of open and closed, unprocessed epochs."""
        for epochs in (self._closed, self._open):
            for epoch in epochs.values():
                yield from epoch.orders.values()

    def find(self, order_id: bytes) -> Order | None:
        """A booked order, or one of an epoch that is not processed yet."""
        booked = self.book.get(order_id)
        if booked is not None:
            return booked
        for epoch in (*self._closed.values(), *self._open.values()):
            if order_id in epoch.orders:
                return epoch.orders[order_id]
        return None

    def cancellable(self, order_id: bytes) -> LimitOrder | None:
        """A booked or epoch standing limit order."""
        found = self.find(order_id)
        standing = isinstance(found, LimitOrder) and found.time_in_force is TimeInForce.STANDING
        return found if standing and isinstance(found, LimitOrder) else None

    def _check_cancel(self, order: CancelOrder, index: int) -> None:
        target = self.cancellable(order.target_id)
        if target is None:
            raise NotCancellableError(order.target_id)
        if target.account_id != order.account_id:
            raise TargetTakenError("the target belongs to another account")
        epoch = self._open.get(index)
        cancels = [other for other in epoch.orders.values() if isinstance(other, CancelOrder)] if epoch else []
        if any(other.target_id == order.target_id for other in cancels):
            raise TargetTakenError("this epoch already holds a cancel of the target")
        own = sum(other.account_id == order.account_id for other in cancels)
        if own >= self.terms.max_epoch_cancels:
            raise CancelLimitError(own, self.terms.max_epoch_cancels)

    def _check_expiry(self, expiry: int, index: int) -> None:
        """Cancelling within an epoch of placing is scored; an expiry is free, so it must not come sooner."""
        least = epoch_end(index + 1, self.terms.epoch_ms)
        if expiry < least:
            raise ExpiryError(expiry, least)

    def _report(self, event: Process, matched: Matched) -> Report:
        numbers, last = matched.statistics, self.last_rate
        traded = numbers.volume > 0
        return Report(
            epoch=event.epoch,
            start_stamp=event.epoch * self.terms.epoch_ms,
            end_stamp=epoch_end(event.epoch, self.terms.epoch_ms),
            match_volume=numbers.volume,
            quote_volume=numbers.quote_volume,
            high_rate=numbers.high if traded else last,
            low_rate=numbers.low if traded else last,
            start_rate=numbers.start if traded else last,
            end_rate=numbers.end if traded else last,
            fee_rate_base=event.fee_rate_base,
            fee_rate_quote=event.fee_rate_quote,
            summary=matched.summary,
        )


def replay(core: MarketCore, log: Iterable[Input]) -> list[Output]:
    """Feed a whole log."""
    return [core.apply(event) for event in log]


def cancel_gaps(processed: Processed, epoch_ms: int) -> Mapping[bytes, int]:
    """For each executed cancel, how many epochs after its target it took effect (0 or 1 count against the user)."""
    targets = {order.id: order.server_time for order in processed.matched.canceled}
    return {
        cancel.id: processed.epoch - epoch_index(targets[cancel.target_id], epoch_ms)
        for cancel in processed.matched.cancels_executed
    }
