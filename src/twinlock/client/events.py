"""What happens to a trader, as typed events: the timeline of the demo, the control interface and bots read these.

Amounts are atoms, times milliseconds. IDs are lower-case hex, coin IDs their usual text (`txid:index`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_snake):
    """Base of all events. `at` is the client's clock; `host` names the exchange server, empty if none is meant."""

    at: int = 0
    host: str = ""


class Connected(Event, frozen=True, kw_only=True):
    """The configuration was read and, if there is an account, the login succeeded."""

    account_id: str = ""
    tier: int = 0


class Disconnected(Event, frozen=True, kw_only=True):
    """The server is not connected (any more), and why; it is tried again."""

    reason: str


class Notice(Event, frozen=True, kw_only=True):
    """Something a person should read. `level` is info, warning or error."""

    text: str
    level: str = "info"


class ServerAccused(Event, frozen=True, kw_only=True):
    """The server broke the rules in a way that can be proved; the evidence is stored under `evidence`."""

    accusation: str
    evidence: str


class BondChanged(Event, frozen=True, kw_only=True):
    """state: signed, broadcast, confirmed, posted, expired, refunded."""

    asset: str
    coin: str
    amount: int
    state: str
    confirmations: int = 0
    needed: int = 0


class TierChanged(Event, frozen=True, kw_only=True):
    """What the server counts for us. score: 0 is neutral."""

    tier: int
    score: int
    reason: str = ""


class OrderChanged(Event, frozen=True, kw_only=True):
    """status: sent, epoch, booked, executed, canceled, revoked, failed."""

    order_id: str
    market: str
    type: str
    side: str
    quantity: int
    rate: int
    filled: int
    status: str


class ConditionChanged(Event, frozen=True, kw_only=True):
    """status: waiting, reached, placed, dropped, canceled, failed; see `twinlock.client.conditional`."""

    name: str
    market: str
    status: str
    reason: str = ""


class EpochReplayed(Event, frozen=True, kw_only=True):
    """The epoch's orders were replayed through the matcher and gave the published result."""

    market: str
    epoch: int
    orders: int
    matches: int
    complete: bool


class MatchMade(Event, frozen=True, kw_only=True):
    """An order of ours was matched; role: maker or taker."""

    match_id: str
    order_id: str
    market: str
    role: str
    side: str
    quantity: int
    rate: int


class SwapStep(Event, frozen=True, kw_only=True):
    """A step of a swap. `step` is one of `twinlock.client.swapper.matches.STEPS`; `coin` is its transaction."""

    match_id: str
    role: str
    step: str
    asset: str = ""
    coin: str = ""
    amount: int = 0
    confirmations: int = 0
    needed: int = 0


class SwapEnded(Event, frozen=True, kw_only=True):
    """outcome: complete, refunded, or revoked before any coin moved."""

    match_id: str
    role: str
    outcome: str


class WalletChanged(Event, frozen=True, kw_only=True):
    """A wallet's balance, in atoms."""

    asset: str
    available: int
    locked: int
    unconfirmed: int


class EventStream:
    """Fans events out to subscribers; each sees everything that was emitted after it subscribed.

    A subscriber that lags behind by more than `limit` events loses the oldest ones, never slows the trader.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._queues: set[asyncio.Queue[Event]] = set()
        self._limit = limit

    def emit(self, event: Event) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def subscribe(self) -> AsyncIterator[Event]:
        """Begins at once, not at the first `anext`; ends with `aclose`."""
        return _Subscription(self._queues, self._limit)


class _Subscription(AsyncIterator[Event]):
    """A class, not a generator: one that was never started could not take its queue away."""

    def __init__(self, queues: set[asyncio.Queue[Event]], limit: int) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue(limit)
        self._queues = queues
        queues.add(self._queue)

    async def __anext__(self) -> Event:
        return await self._queue.get()

    async def aclose(self) -> None:
        """No more events."""
        self._queues.discard(self._queue)


async def until(events: AsyncIterator[Event], wanted: type[Event], **members: Any) -> Event:
    """The next event of that type whose members are as given; the others are skipped."""
    async with aclosing(events) as stream:  # type: ignore[type-var]
        async for event in stream:
            if isinstance(event, wanted) and all(getattr(event, name) == value for name, value in members.items()):
                return event
    raise RuntimeError("the stream ended")
