"""One exchange server as a trader uses it: connection, account, bonds, orders, books and swaps, tied together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twinlock.client.account import log_in, read_config
from twinlock.client.bonds import Bonds
from twinlock.client.book_mirror import BookMirror, Note
from twinlock.client.conditional import ConditionRecord, Conditions
from twinlock.client.desk import Desk
from twinlock.client.drafts import LimitAsk
from twinlock.client.estimate import Estimate, MaxOrder, estimate, largest
from twinlock.client.events import Connected, Disconnected
from twinlock.client.feed import BookFeed
from twinlock.client.orders import Orders
from twinlock.client.store.records import OrderRecord
from twinlock.client.swapper import Swapper
from twinlock.errors import TwinlockError
from twinlock.protocol import routes
from twinlock.protocol.codes import RpcError
from twinlock.protocol.messages.account import ConnectResult, PenaltyNote, ScoreChange
from twinlock.protocol.messages.book import EpochReport, LedgerNote, Resumption, Spot
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import Side, TimeInForce


class Venue:
    """Live from entry to exit of `run`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.orders = Orders(desk)
        self.bonds = Bonds(desk, self._account_made)
        self.swapper = Swapper(desk, self.orders)
        self.conditions = Conditions(self)
        self.feeds: dict[str, BookFeed] = {}
        self.spots: dict[tuple[int, int], Spot] = {}
        """The last price of each market, by asset IDs."""
        desk.session.on_open = self._open
        desk.session.on_ready = self.wake
        desk.session.lost = self._lost
        desk.session.trouble = self._refused
        self._listen()

    async def run(self) -> None:
        """Connect, look after bonds and swaps, reconnect, until cancelled."""
        parts = (self.desk.session.run, self.bonds.run, self.swapper.run, self.conditions.run)
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(self._keep(part))

    async def _keep(self, part: Callable[[], Awaitable[None]]) -> None:
        """Begin a part again that ended by a defect: above all, nothing may stop the swaps."""
        while True:
            try:
                await part()
            except Exception as defect:
                self.desk.notice(f"{self.desk.host}: a part begins again after a defect: {defect!r}", "error")
            await self.desk.clock.sleep(self.desk.pace.reconnect_step)

    def wake(self) -> None:
        """Look at everything again: a block came, or the connection is back."""
        self.bonds.wake()
        self.swapper.wake_all()
        self.conditions.wake()

    # Trading ---------------------------------------------------------------------------------------------

    async def follow(self, market: str) -> BookMirror:
        """The market's book, followed from now on. Raises OrderError for an unknown market."""
        feed = self.feeds.get(market)
        if feed is None:
            feed = BookFeed(self.desk, self.desk.market(market), self.orders)
            self.feeds[market] = feed  # Before the answer, so that notes which overtake it are kept.
            try:
                await feed.subscribe()
            except TwinlockError:
                self.feeds.pop(market, None)
                raise
        return feed.mirror

    async def limit(
        self,
        market: str,
        side: Side,
        quantity: int,
        rate: int,
        force: TimeInForce = TimeInForce.STANDING,
        *,
        tag: str = "",
        options: OrderOptions = PLAIN,
        split: bool = False,
    ) -> OrderRecord:
        """See `Orders.limit`. The market's epochs are replayed from now on."""
        await self._try_to_follow(market)
        return await self.orders.limit(market, side, quantity, rate, force, tag=tag, options=options, split=split)

    async def limits(self, asks: Sequence[LimitAsk]) -> list[OrderRecord | TwinlockError]:
        """See `Orders.limits`."""
        for market in dict.fromkeys(ask.market for ask in asks):
            await self._try_to_follow(market)
        return await self.orders.limits(asks)

    async def market(
        self, market: str, side: Side, quantity: int, *, tag: str = "", options: OrderOptions = PLAIN
    ) -> OrderRecord:
        """See `Orders.market`."""
        await self._try_to_follow(market)
        return await self.orders.market(market, side, quantity, self.price(market), tag=tag, options=options)

    async def stop_limit(
        self,
        name: str,
        market: str,
        side: Side,
        quantity: int,
        stop: int,
        rate: int,
        *,
        rest_rate: int = 0,
        options: OrderOptions = PLAIN,
    ) -> ConditionRecord:
        """Place a limit order at `rate` once a trade reaches `stop`; with `rest_rate` one-cancels-other.

        Waits on our side, across restarts; see `twinlock.client.conditional`. Raises OrderError.
        """
        await self.follow(market)
        ask = LimitAsk(market=market, side=side, quantity=quantity, rate=rate, options=options)
        return self.conditions.add(name, ask, stop, rest_rate=rest_rate)

    async def estimate(self, ask: LimitAsk) -> Estimate:
        """See `twinlock.client.estimate`."""
        return await estimate(self.desk, ask)

    def largest(self, market: str, side: Side, rate: int) -> MaxOrder:
        """The largest limit order at that rate that is possible now. Raises OrderError."""
        ask = LimitAsk(market=market, side=side, quantity=self.desk.market(market).lot_size, rate=rate)
        return largest(self.desk, self.orders, self.bonds, ask)

    def price(self, market: str) -> int:
        """The middle of the mirrored book, else the last price, as a message-rate; 0 where neither is known."""
        feed, offer = self.feeds.get(market), self.desk.market(market)
        spot = self.spots.get((offer.base, offer.quote))
        return (feed.mirror.book.mid_gap() if feed else 0) or (spot.rate if spot else 0)

    async def _try_to_follow(self, market: str) -> None:
        """Without the book an order is as good, only its epochs are not replayed: told, no reason to refuse."""
        try:
            await self.follow(market)
        except RpcError as error:
            self.desk.notice(f"the book of {market} cannot be followed, epochs are not replayed: {error}", "warning")

    # The connection ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        on, swaps = self.desk.session.on, self.swapper.negotiation
        on(routes.PREIMAGE, self.orders.on_preimage)
        on(routes.NOMATCH, self.orders.on_nomatch)
        on(routes.REVOKE_ORDER, self.orders.on_revoke)
        on(routes.MATCH, swaps.on_match)
        on(routes.COUNTERPARTY_ADDRESS, swaps.on_counterparty_address)
        on(routes.AUDIT, swaps.on_audit)
        on(routes.REDEMPTION, swaps.on_redemption)
        on(routes.REVOKE_MATCH, swaps.on_revoke)
        on(routes.TIERCHANGE, self.bonds.on_tier_change)
        on(routes.BONDEXPIRED, self.bonds.on_expired)
        on(routes.SCORECHANGED, self._on_score)
        on(routes.PENALTY, self._on_penalty)
        on(routes.PRICE_UPDATE, self._on_price)
        on(routes.RESUMPTION, self._on_resumption)
        on(routes.NOTIFY, self._on_notify)
        on(routes.EPOCH_LEDGER, self._on_ledger)
        for route in _BOOK_ROUTES:
            on(route, self._on_note)

    async def _open(self) -> None:
        await read_config(self.desk)
        result = await log_in(self.desk)
        if result is not None:
            await self._logged_in(result)
        else:
            self.bonds.on_unknown()
        await self._hear_prices()
        wanted = {
            *self.desk.server.follow,
            *self.feeds,
            *self.conditions.markets(),
            *(order.market for order in self.orders.active()),
        }
        offered = {market.name for market in self.desk.require_config().markets}
        for market in sorted(wanted & offered):
            await self._subscribe(market)
        account = self.desk.account
        self.desk.emit(
            Connected, account_id=account.account_id.hex() if account and account.exists else "", tier=self.bonds.tier
        )

    async def _hear_prices(self) -> None:
        """As with a book: behind one address there may be so many clients that the server tells no more of them."""
        try:
            await self.desk.session.request(routes.PRICE_FEED, None)
        except RpcError as error:
            self.desk.notice(f"{self.desk.host} does not tell prices: {error}", "warning")

    async def _subscribe(self, market: str) -> None:
        """A book that cannot be had now must not keep us from the rest of the server."""
        feed = self.feeds[market] = BookFeed(self.desk, self.desk.market(market), self.orders)
        try:
            await feed.subscribe()
        except RpcError as error:
            self.desk.notice(f"the book of {market} cannot be followed: {error}", "warning")
            del self.feeds[market]

    async def _account_made(self) -> None:
        """The first bond was accepted: now the account exists and can log in."""
        result = await log_in(self.desk)
        if result is not None:
            await self._logged_in(result)

    async def _logged_in(self, result: ConnectResult) -> None:
        await self.orders.on_login(result.active_orders)
        await self.swapper.negotiation.on_login(result.active_matches)
        self.bonds.on_login(result)

    def _lost(self, error: TwinlockError) -> None:
        self.desk.emit(Disconnected, reason=f"{error} [{error.code}]" + (f"; {error.fix}" if error.fix else ""))

    def _refused(self, error: TwinlockError) -> None:
        self.desk.notice(f"{self.desk.host}: {error} [{error.code}]", "warning")

    # Notes -------------------------------------------------------------------------------------------------

    async def _on_note(self, note: Note) -> None:
        feed = self.feeds.get(note.market)
        if feed is not None:
            await feed.on_note(note)
            if isinstance(note, EpochReport):
                self.conditions.wake()

    async def _on_ledger(self, note: LedgerNote) -> None:
        feed = self.feeds.get(note.market)
        if feed is not None:
            feed.on_ledger(note)

    async def _on_score(self, note: ScoreChange) -> None:
        self.desk.require_server_signature("a score", note.signed_bytes(), note.sig)
        self.bonds.told(note.reputation)

    async def _on_penalty(self, note: PenaltyNote) -> None:
        self.desk.require_server_signature("a penalty", note.signed_bytes(), note.sig)
        self.desk.notice(f"penalty (rule {note.penalty.rule}): {note.penalty.details}", "warning")

    async def _on_price(self, spot: Spot) -> None:
        offered = self.desk.config.markets if self.desk.config else ()
        if any((market.base, market.quote) == (spot.base, spot.quote) for market in offered):
            self.spots[spot.base, spot.quote] = spot

    async def _on_resumption(self, note: Resumption) -> None:
        self.desk.notice(f"market {note.market} resumes with epoch {note.start_epoch}")
        await read_config(self.desk)

    async def _on_notify(self, text: str) -> None:
        self.desk.notice(f"{self.desk.host}: {text[:1000]}")


_BOOK_ROUTES: tuple[routes.Route[Any, None], ...] = (
    routes.BOOK_ORDER,
    routes.UNBOOK_ORDER,
    routes.UPDATE_REMAINING,
    routes.EPOCH_ORDER,
    routes.MATCH_PROOF,
    routes.EPOCH_REPORT,
    routes.SUSPENSION,
)
