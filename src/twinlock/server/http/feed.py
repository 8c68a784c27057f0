"""The market feed for programs: books, trades and tickers over a WebSocket, snapshots first and then each change.

Every book has a sequence of its own; an update carries only the levels that changed and a checksum of what the book
is after it. A market that nobody follows costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec
import structlog

from twinlock.protocol.limits import Meter
from twinlock.protocol.matcher import Match
from twinlock.protocol.orders import Side as OrderSide
from twinlock.protocol.wire import encode
from twinlock.seams import Clock
from twinlock.server.comms.channel import Channel
from twinlock.server.comms.frames import CloseCode
from twinlock.server.comms.hub import Hub
from twinlock.server.comms.link import Link
from twinlock.server.comms.outgoing import text_frame
from twinlock.server.http.errors import ApiError, InternalError, data_api_off
from twinlock.server.http.feed_messages import (
    Asked,
    BookSnapshot,
    BookUpdate,
    FeedProblem,
    Ping,
    Pong,
    Subscribe,
    Subscribed,
    TickerNote,
    Told,
    TradesNote,
    Unsubscribe,
    Unsubscribed,
    checksum,
)
from twinlock.server.http.market_data import MarketData, Units
from twinlock.server.http.shapes import Level, Problem, Trade, TradesQuery
from twinlock.server.market.manager import MarketManager

log = structlog.get_logger(__name__)

_STRIKES_MAX = 100

Levels = list[tuple[int, int]]


class _Following:
    """One market: who follows what, and its book as it was told last."""

    def __init__(self, market: MarketManager, units: Units) -> None:
        self.market = market
        self.units = units
        self.channels = {"book": Channel(), "trades": Channel(), "ticker": Channel()}
        self.trades = 0
        """How often there were trades since the start."""
        self.sequence = 0
        self.told: tuple[Levels, Levels] | None = None
        self._frame = b""
        """The snapshot of what was told last; empty until somebody asks for it."""

    def change(self, stamp: int) -> BookUpdate | None:
        """What changed since the last time, None for nothing; from now on this is what was told."""
        before, now = self.told or ([], []), self.market.public.depth()
        self.tell(now)
        if before == now:
            return None
        self.sequence += 1
        bids, asks = (self.units.levels(_difference(old, new)) for old, new in zip(before, now, strict=True))
        return BookUpdate(
            ticker_id=self.units.ticker_id,
            sequence=self.sequence,
            timestamp=stamp,
            bids=bids,
            asks=asks,
            checksum=checksum(*self._levels(now)),
        )

    def tell(self, book: tuple[Levels, Levels] | None) -> None:
        """This is what is told last, or nobody is told any more."""
        self.told, self._frame = book, b""

    def snapshot(self, stamp: int) -> bytes:
        """The whole book as it was told last: one frame for all who ask before the next change."""
        if self.told is None:
            self.tell(self.market.public.depth())
        if not self._frame:
            self._frame = text_frame(encode(self._snapshot(stamp)))
        return self._frame

    def _snapshot(self, stamp: int) -> BookSnapshot:
        bids, asks = self._levels(self.told or ([], []))
        return BookSnapshot(
            ticker_id=self.units.ticker_id,
            sequence=self.sequence,
            timestamp=stamp,
            bids=bids,
            asks=asks,
            checksum=checksum(bids, asks),
        )

    def _levels(self, book: tuple[Levels, Levels]) -> tuple[list[Level], list[Level]]:
        return self.units.levels(book[0]), self.units.levels(book[1])


class MarketFeed:
    """Owns the links at the feed's path. Build it when all markets are open."""

    def __init__(self, hub: Hub, data: MarketData, clock: Clock) -> None:
        self._hub = hub
        self._data = data
        self._clock = clock
        self._followed: dict[str, _Following] = {}
        for market in data.markets():
            following = _Following(market, data.units(market))
            self._followed[following.units.ticker_id] = following
            market.public.on_change.append(_Watcher(self, following).changed)
            market.on_epoch.append(_Watcher(self, following).epoch)

    # LinkOwner

    def opened(self, link: Link) -> None:
        self._hub.opened(link)

    def closed(self, link: Link) -> None:
        self._hub.closed(link)

    def settles(self, _link: Link, _data: bytes, /) -> bool:
        return False

    async def handle(self, link: Link, data: bytes) -> None:
        number = 0
        try:
            if not link.meter.take_only(Meter.MARKET_DATA, self._clock.monotonic()):
                raise ApiError(429, "api.limit", "too many messages", fix="slow down")
            asked = _parse(data)
            number = asked.id
            match asked:
                case Subscribe():
                    if not self._hub.data_api:
                        raise data_api_off()
                    await self._subscribe(link, asked)
                case Unsubscribe():
                    self._following(asked.ticker_id).channels[asked.channel].discard(link)
                    _send(link, Unsubscribed(id=number, channel=asked.channel, ticker_id=asked.ticker_id))
                case Ping():
                    _send(link, Pong(id=number, timestamp=self._clock.now_ms()))
        except ApiError as error:
            _refuse(link, number, error)
            link.strikes += 1
            if link.strikes >= _STRIKES_MAX:
                link.close(CloseCode.POLICY, "too many bad messages")
        except Exception:
            log.exception("feed failed", link=link.number)
            _refuse(link, number, InternalError(code="api.internal"))

    # Following

    async def _subscribe(self, link: Link, asked: Subscribe) -> None:
        """The state, and from then on every change of it. Trades that are out of date by then are read again."""
        following = self._following(asked.ticker_id)
        begun = False
        while not begun:
            count, page = following.trades, list[Trade]()
            if asked.channel == "trades":
                page = (await self._data.trades(TradesQuery(ticker_id=asked.ticker_id))).rows[::-1]
            begun = await following.market.between_epochs(partial(self._begin, link, asked, following, count, page))

    def _begin(self, link: Link, asked: Subscribe, following: _Following, count: int, page: list[Trade]) -> bool:
        """count: of trades before the page was read. False if there were more since."""
        match asked.channel:
            case "trades" if following.trades != count:
                return False
            case "trades":
                state = text_frame(encode(TradesNote(ticker_id=following.units.ticker_id, trades=page)))
            case "ticker":
                state = text_frame(encode(self._ticker(following)))
            case "book":
                state = following.snapshot(self._clock.now_ms())
        _send(link, Subscribed(id=asked.id, channel=asked.channel, ticker_id=following.units.ticker_id))
        link.send_long((state,))
        following.channels[asked.channel].add(link)
        return True

    def _ticker(self, following: _Following) -> TickerNote:
        market = following.market
        return TickerNote(ticker=self._data.ticker_now(market, *market.public.depth(1)))

    def _following(self, ticker_id: str) -> _Following:
        found = self._followed.get(ticker_id.upper())
        if found is None:
            raise ApiError(404, "pair.unknown", f"there is no pair {ticker_id!r}", fix="name one of /api/v1/pairs")
        return found

    # What happened

    def book_changed(self, following: _Following) -> None:
        """Tell the levels that changed."""
        channel = following.channels["book"]
        if not len(channel):
            following.tell(None)
            return
        update = following.change(self._clock.now_ms())
        if update is not None:
            channel.publish(text_frame(encode(update)))

    def traded(self, following: _Following, matches: Iterable[Match], stamp: int) -> None:
        """Tell the trades of an epoch."""
        channel, units, found = following.channels["trades"], following.units, tuple(matches)
        if not found:
            return
        following.trades += 1
        if len(channel):
            trades = [
                units.trade(match.id, match.rate, match.quantity, "sell" if _sells(match) else "buy", stamp)
                for match in found
            ]
            channel.publish(text_frame(encode(TradesNote(ticker_id=units.ticker_id, trades=trades))))

    def epoch_over(self, following: _Following) -> None:
        """Tell the ticker."""
        channel = following.channels["ticker"]
        if len(channel):
            channel.publish(text_frame(encode(self._ticker(following))))


class _Watcher:
    """Passes what one market does on to the feed."""

    def __init__(self, feed: MarketFeed, following: _Following) -> None:
        self._feed = feed
        self._following = following

    def changed(self, matches: Sequence[Match], stamp: int) -> None:
        self._feed.traded(self._following, matches, stamp)
        self._feed.book_changed(self._following)

    def epoch(self, _market: MarketManager, _epoch: int) -> None:
        self._feed.epoch_over(self._following)


def _parse(data: bytes) -> Asked:
    try:
        asked: Asked = msgspec.json.decode(data, type=Asked)
        return asked
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "feed.message", str(error), fix="see /api/asyncapi.json") from error


def _refuse(link: Link, number: int, error: ApiError) -> None:
    _send(link, FeedProblem(id=number, error=Problem(code=error.code, message=str(error), fix=error.fix)))


def _send(link: Link, message: Told) -> None:
    link.send_frame(text_frame(encode(message)))


def _sells(found: Match) -> bool:
    return getattr(found.taker, "side", None) is OrderSide.SELL


def _difference(before: Levels, now: Levels) -> Levels:
    """The levels that are new or other, and those that are gone with amount 0, by rate."""
    old, new = dict(before), dict(now)
    changed = {rate: quantity for rate, quantity in new.items() if old.get(rate) != quantity}
    return sorted((changed | dict.fromkeys(old.keys() - new.keys(), 0)).items())
