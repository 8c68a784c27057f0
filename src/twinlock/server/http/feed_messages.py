"""The market feed's messages at `/api/v1/ws`, each one JSON text frame. The AsyncAPI document is made from them.

The checksum covers the best 25 levels of each side: `price:amount` of bid and ask in turn, a side that has ended left
out, joined by `:`, as CRC-32.

>>> checksum([("0.1", "2")], [("0.2", "3"), ("0.3", "4")]) == zlib.crc32(b"0.1:2:0.2:3:0.3:4")
True
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Literal, TypeAlias

import msgspec

from twinlock.server.http.shapes import Decimal, Level, Millis, Problem, Ticker, TickerId, Trade

CHECKSUM_LEVELS = 25

Channel = Literal["book", "trades", "ticker"]
Identifier = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Checksum = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1, description="CRC-32 of the best 25 levels")]


class _Ask(msgspec.Struct, kw_only=True, frozen=True, tag_field="op"):
    """id: comes back in the answer."""

    id: Identifier = 0


class Subscribe(_Ask, frozen=True, tag="subscribe"):
    """Follow a channel of a pair: its state comes first, then every change."""

    channel: Channel
    ticker_id: TickerId


class Unsubscribe(_Ask, frozen=True, tag="unsubscribe"):
    """Follow it no more."""

    channel: Channel
    ticker_id: TickerId


class Ping(_Ask, frozen=True, tag="ping"):
    """Answered with a pong."""


class _Tell(msgspec.Struct, kw_only=True, frozen=True, tag_field="type"):
    """What the server says."""


class Subscribed(_Tell, frozen=True, tag="subscribed"):
    """The answer to `subscribe`, before the channel's state."""

    id: Identifier
    channel: Channel
    ticker_id: TickerId


class Unsubscribed(_Tell, frozen=True, tag="unsubscribed"):
    """The answer to `unsubscribe`."""

    id: Identifier
    channel: Channel
    ticker_id: TickerId


class Pong(_Tell, frozen=True, tag="pong"):
    """The answer to `ping`."""

    id: Identifier
    timestamp: Millis


class BookSnapshot(_Tell, frozen=True, tag="book_snapshot"):
    """Both sides in full, best first, at a sequence number."""

    ticker_id: TickerId
    sequence: int
    timestamp: Millis
    bids: list[Level]
    asks: list[Level]
    checksum: Checksum


class BookUpdate(_Tell, frozen=True, tag="book_update"):
    """Levels that changed: amounts replace, "0" removes. `sequence` grows by one; checksum: of the book after it."""

    ticker_id: TickerId
    sequence: int
    timestamp: Millis
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]
    checksum: Checksum


class TradesNote(_Tell, frozen=True, tag="trades"):
    """The trades of one epoch, oldest first; as a channel's state, the newest before it."""

    ticker_id: TickerId
    trades: list[Trade]


class TickerNote(_Tell, frozen=True, tag="ticker"):
    """The last day, after every epoch."""

    ticker: Ticker


class FeedProblem(_Tell, frozen=True, tag="error"):
    """A refusal; id: of the question, 0 where it could not be read."""

    id: Identifier
    error: Problem


Asked: TypeAlias = Subscribe | Unsubscribe | Ping
Told: TypeAlias = Subscribed | Unsubscribed | Pong | BookSnapshot | BookUpdate | TradesNote | TickerNote | FeedProblem


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Of a book's best levels, best first."""
    pairs = zip_longest(bids[:CHECKSUM_LEVELS], asks[:CHECKSUM_LEVELS])
    text = ":".join(f"{level[0]}:{level[1]}" for pair in pairs for level in pair if level is not None)
    return zlib.crc32(text.encode())
