"""Orders that wait on our side for a price: stop-limit, and one-cancels-other. No server knows of them.

A stop waits until a trade of its market reaches the stop rate, then places its limit order. In one-cancels-other a
limit order rests on the book meanwhile: filled, it ends the stop; once the stop is reached it is cancelled first, and
the stop's order is placed for what was left of it.

Invariants
- A condition is stored before anything is done for it, and each step may be repeated after a crash: its orders carry
  tags that follow from its name, and a tag is placed once.
- What cannot be placed for want of coins is placed once there are some: those of the order that rested come back a
  moment after it was cancelled. So it is with whatever else passes: a wallet that is still looking, a chain or an
  exchange that does not answer, a suspended market.
- Nobody is there to be asked whether many small coins shall be made one, for a fee: where no order could name them all,
  they are.
- What was traded while we were away counts, as far back as the server's list of recent matches goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

from twinlock.client.desk import Desk
from twinlock.client.drafts import LimitAsk, limit_draft
from twinlock.client.errors import OrderError, SessionError, StoreError
from twinlock.client.events import ConditionChanged
from twinlock.client.feed import BookFeed
from twinlock.client.orders import Orders
from twinlock.client.store import Record, changing
from twinlock.client.store.base import LIVE
from twinlock.client.store.living import Living
from twinlock.client.store.records import OrderRecord
from twinlock.client.waiting import rest
from twinlock.client.wallet.errors import NodeWalletError, ScanningError, ShortFundsError, TooManyCoinsError
from twinlock.electrum.errors import ElectrumError
from twinlock.errors import TwinlockError
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import Side

OPEN = ("waiting", "reached")
"""States in which a condition may still place an order."""


_PASSING = (ShortFundsError, ScanningError, NodeWalletError, ElectrumError)
_PASSING_REFUSALS = (
    ErrorCode.MARKET_NOT_RUNNING,
    ErrorCode.TRY_AGAIN_LATER,
    ErrorCode.TOO_MANY_REQUESTS,
    ErrorCode.FUNDING,  # A coin is too new for the server: it asks for a confirmation, or has not seen it yet.
)
"""What keeps an order from being placed now, and not for good."""

_PAUSES_MS = (10_000, 600_000)
"""Between two tries of an order that the server refused: at first, and at most. Each try is an order that failed."""


class _Refused(NamedTuple):
    error: RpcError
    pause: int
    until: int


class Floor(Protocol):
    """Where conditions are met and orders placed: one server's market; `twinlock.client.venue.Venue` is such."""

    @property
    def desk(self) -> Desk: ...

    @property
    def orders(self) -> Orders: ...

    @property
    def feeds(self) -> Mapping[str, BookFeed]: ...

    def price(self, market: str) -> int: ...

    async def limit(
        self,
        market: str,
        side: Side,
        quantity: int,
        rate: int,
        *,
        tag: str = "",
        options: OrderOptions = PLAIN,
        split: bool = False,
    ) -> OrderRecord: ...


class ConditionRecord(Record, kw_only=True):
    """One condition. stop, rate: message-rates; quantity: base atoms; rest_rate: of the order that rests, 0 for none.
    options: of both orders.

    status: waiting, reached, placed, dropped (the resting order ended it), canceled, failed. reason: why it ended, or
    what it lacks.
    """

    kind: ClassVar[str] = "condition"
    name: str
    host: str
    market: str
    side: int
    quantity: int
    stop: int
    rate: int
    rest_rate: int = 0
    options: OrderOptions = PLAIN
    made_ms: int
    status: str = "waiting"
    reason: str = ""

    @property
    def key(self) -> str:
        return f"{self.host}/{self.name}"

    @property
    def marks(self) -> tuple[str, ...]:
        """The host, and the market there."""
        return (self.host, f"{self.host}/{self.market}", *((LIVE,) if self.status in OPEN else ()))

    @property
    def at(self) -> int:
        return self.made_ms

    @property
    def stop_tag(self) -> str:
        return f"stop/{self.name}"

    @property
    def rest_tag(self) -> str:
        return f"rest/{self.name}"


class Conditions:
    """Those of one server. `run` looks at them whenever an epoch ended."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._desk = floor.desk
        self.records = Living(self._desk.store, ConditionRecord, self._desk.host)
        self._wake = asyncio.Event()
        self._refused: dict[str, _Refused] = {}
        """By name of the condition."""

    def open(self) -> list[ConditionRecord]:
        """Those that may still place an order, oldest first."""
        return [record for record in self.records.all() if record.status in OPEN]

    def named(self, name: str) -> ConditionRecord | None:
        """The one of that name, be it over or not."""
        return self.records.get(f"{self._desk.host}/{name}")

    def markets(self) -> set[str]:
        """Whose books have to be followed."""
        return {record.market for record in self.open()}

    def add(self, name: str, ask: LimitAsk, stop: int, *, rest_rate: int = 0) -> ConditionRecord:
        """Store a condition: once a trade reaches `stop`, place `ask`. The same name again returns the first.

        rest_rate: at this rate an order of the same size is placed now, and is cancelled once the stop is reached.
        The options of `ask` count for both; with their expiry the condition ends too. Raises OrderError.
        """
        if (known := self.named(name)) is not None:
            return known
        if not name:
            raise OrderError("a condition needs a name", code="order.name", fix="name it; the name is used once")
        limit_draft(self._desk, ask)
        _check_rates(ask, stop, rest_rate, self._floor.price(ask.market))
        record = ConditionRecord(
            name=name,
            host=self._desk.host,
            market=ask.market,
            side=int(ask.side),
            quantity=ask.quantity,
            stop=stop,
            rate=ask.rate,
            rest_rate=rest_rate,
            options=ask.options,
            made_ms=self._desk.clock.now_ms(),
        )
        self._move(record, "waiting")
        self.records.hold(record)
        self._wake.set()
        return record

    async def cancel(self, name: str) -> ConditionRecord:
        """Give a condition up, and with it the order that rests for it. Raises OrderError."""
        record = self.named(name)
        if record is None or record.status not in OPEN:
            raise OrderError(f"no condition {name!r} is open", code="order.unknown", fix="list the conditions")
        self._move(record, "canceled")
        await self._take_off(self._floor.orders.tagged(record.rest_tag))
        return record

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for record in self.open():
                await self._look(record)
            self._let_go()
            self._wake.clear()
            await rest(self._desk.clock, self._desk.pace.swap_check, self._wake)

    def _let_go(self) -> None:
        """What is over leaves the memory."""
        self.records.let_go()
        names = {record.name for record in self.open()}
        self._refused = {name: refused for name, refused in self._refused.items() if name in names}

    def wake(self) -> None:
        """An epoch ended, or the connection is back."""
        self._wake.set()

    # Steps -------------------------------------------------------------------------------------------------

    async def _look(self, record: ConditionRecord) -> None:
        if not self._desk.logged_in or not self._desk.session.ready.is_set():
            return
        try:
            if 0 < record.options.expiry <= self._desk.clock.now_ms():
                self._move(record, "dropped", "it expired")
                return  # The order that rests for it, if any, expired with it.
            if record.rest_rate:
                await self._keep_resting(record)
            if record.status == "waiting" and self._reached(record):
                self._move(record, "reached")
            if record.status == "reached":
                await self._place(record)
        except (SessionError, StoreError):
            return  # The connection is gone, or the disk full for a moment: at the next look.
        except TwinlockError as error:
            if _passes(error):
                self._lack(record, error)
                return
            self._move(record, "failed", f"{error} [{error.code}]")
            self._desk.notice(f"condition {record.name} failed: {error}", "error")

    def _lack(self, record: ConditionRecord, error: TwinlockError) -> None:
        if not record.reason:
            self._desk.notice(f"condition {record.name} cannot be placed yet, and waits: {error}", "warning")
        if record.reason != str(error):
            self._move(record, record.status, str(error))

    async def _keep_resting(self, record: ConditionRecord) -> None:
        """Place the resting order if that was not done yet; see whether it ended the condition."""
        orders = self._floor.orders
        order = orders.tagged(record.rest_tag)
        if order is None and record.status == "waiting":
            await self._send(record, record.rest_rate, record.quantity, record.rest_tag)
        elif order is not None and order.status == "executed":
            self._move(record, "dropped", "the resting order was filled")
        elif order is not None and order.status == "canceled" and record.status == "waiting":
            self._move(record, "dropped", "the resting order was cancelled")

    def _reached(self, record: ConditionRecord) -> bool:
        feed = self._floor.feeds.get(record.market)
        trades = feed.mirror.recent if feed else ()
        rates = [rate for rate, _, time in trades if time >= record.made_ms]
        falls = record.side == Side.SELL
        return any(rate <= record.stop if falls else rate >= record.stop for rate in rates)

    async def _place(self, record: ConditionRecord) -> None:
        resting, quantity = self._floor.orders.tagged(record.rest_tag), record.quantity
        if resting is not None:
            if resting.active:
                await self._take_off(resting)
                return  # What is left of it is known once it is off the book.
            quantity = resting.quantity - resting.filled
        if quantity <= 0:
            self._move(record, "dropped", "the resting order was filled")
            return
        await self._send(record, record.rate, quantity, record.stop_tag)
        self._move(record, "placed")

    async def _take_off(self, order: OrderRecord | None) -> None:
        orders = self._floor.orders
        if order is not None and order.status == "booked" and not orders.cancel_pending(order.order_id):
            await orders.cancel(order.order_id)

    async def _send(self, record: ConditionRecord, rate: int, quantity: int, tag: str) -> None:
        side, options = Side(record.side), record.options
        ask = LimitAsk(market=record.market, side=side, quantity=quantity, rate=rate, options=options)
        draft = limit_draft(self._desk, ask)
        # Before an order is prepared, which takes a fresh address each time.
        limit, split = self._desk.asset(draft.pays).max_fee_rate, False
        try:
            self._desk.coin(draft.pays).wallet.plan(draft.value, draft.swaps, limit)
        except TooManyCoinsError:
            split = True
        refused, now = self._refused.get(record.name), self._desk.clock.now_ms()
        if refused is not None and now < refused.until:
            raise refused.error
        try:
            await self._floor.limit(record.market, side, quantity, rate, tag=tag, options=options, split=split)
        except RpcError as error:
            pause = min(2 * refused.pause, _PAUSES_MS[1]) if refused is not None else _PAUSES_MS[0]
            self._refused[record.name] = _Refused(error, pause, now + pause)
            raise
        self._refused.pop(record.name, None)

    def _move(self, record: ConditionRecord, status: str, reason: str = "") -> None:
        with changing(self._desk.store, record):
            record.status, record.reason = status, reason
        self._desk.emit(ConditionChanged, name=record.name, market=record.market, status=status, reason=reason)


def _passes(error: TwinlockError) -> bool:
    if isinstance(error, RpcError):
        return error.rpc_code in _PASSING_REFUSALS
    return isinstance(error, _PASSING) or error.code == "order.market_closed"


def _check_rates(ask: LimitAsk, stop: int, rest_rate: int, price: int) -> None:
    """A sell stop lies below the price and below the resting order; a buy stop above both."""
    sign = 1 if ask.side is Side.SELL else -1
    if stop <= 0 or (rest_rate and sign * (rest_rate - stop) <= 0):
        raise OrderError(
            "the resting order has to be on the other side of the stop",
            code="order.stop",
            numbers={"stop": stop, "rest_rate": rest_rate},
            fix="sell: the stop below the resting rate; buy: above it",
        )
    if price and sign * (price - stop) <= 0:
        raise OrderError(
            "the stop is reached already",
            code="order.stop_reached",
            numbers={"stop": stop, "price": price},
            fix="place a limit order instead, or choose a stop on the other side of the price",
        )
