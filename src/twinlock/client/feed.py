"""One market's feed: subscribed, followed, resubscribed after a gap, and each verdict told and kept."""

from __future__ import annotations

from twinlock.client.book_mirror import BookMirror, GapError, Note, Verdict
from twinlock.client.desk import Desk
from twinlock.client.epochs import EpochHistory
from twinlock.client.events import EpochReplayed
from twinlock.client.evidence import accuse
from twinlock.client.ledger_watch import LedgerWatch
from twinlock.client.orders import Orders
from twinlock.client.store.records import LedgerRecord
from twinlock.protocol.ledger import Entry
from twinlock.protocol.messages.book import BookSubscription, EpochReport, LedgerNote
from twinlock.protocol.messages.config import Market
from twinlock.protocol.routes import ORDERBOOK
from twinlock.protocol.wire import encode


class BookFeed:
    """The mirror of one market, kept in step. Notes that overtake the snapshot wait for it."""

    def __init__(self, desk: Desk, market: Market, orders: Orders) -> None:
        self._desk = desk
        self._orders = orders
        self._early: list[Note] | None = []
        self.mirror = BookMirror(market)
        self._history = EpochHistory(desk.store, desk.host, market.name)
        self._watch: LedgerWatch | None = None

    async def subscribe(self) -> None:
        """Take a snapshot and the notes that follow it. Raises what the request raises."""
        market = self.mirror.market
        self._early = []
        # Servers of the reference have no ledger; `config` shows whether this one is of ours.
        ledger = bool(self._desk.require_config().order_options)
        question = BookSubscription(base=market.base, quote=market.quote, ledger=ledger)
        snapshot = await self._desk.session.request(ORDERBOOK, question)
        self.mirror.load(snapshot)
        early, self._early = self._early, None
        for note in early:
            self._apply(note)

    async def on_note(self, note: Note) -> None:
        """Follow one note of the server."""
        if self._early is not None:
            self._early.append(note)
            return
        try:
            self._apply(note)
        except GapError as gap:
            self._desk.notice(f"{gap}; subscribing again", "warning")
            await self.subscribe()

    def on_ledger(self, note: LedgerNote) -> None:
        """Hold a record of the epoch ledger to what we saw, and keep it: the next must follow it."""
        watch = self._watch = self._watch or self._begin_watch()
        accusation = watch.take(note, self.mirror.told)
        if accusation:
            shown = [watch.last_line.decode(), Entry(record=note.record, sig=note.sig).line().decode()]
            self._accuse(f"ledger/{self._desk.clock.now_ms()}", accusation, encode({"entries": shown}))
        else:
            record = LedgerRecord(host=self._desk.host, market=self.mirror.market.name, line=watch.last_line)
            self._desk.store.put(record)

    def _begin_watch(self) -> LedgerWatch:
        name = self.mirror.market.name
        known = self._desk.store.get(LedgerRecord, f"{self._desk.host}/{name}")
        return LedgerWatch(name, bytes(self._desk.require_config().public_key), known.line if known else b"")

    def _apply(self, note: Note) -> None:
        for epoch, own in self._orders.expect.pop(self.mirror.market.name, ()):
            self.mirror.expect(epoch, own)
        verdict = self.mirror.apply(note)
        if verdict is not None:
            assert isinstance(note, EpochReport)
            self._history.add(verdict, note)
            self._tell(verdict)

    def _tell(self, verdict: Verdict) -> None:
        name = self.mirror.market.name
        if not verdict.accusation:
            self._desk.emit(
                EpochReplayed,
                market=name,
                epoch=verdict.epoch,
                orders=verdict.orders,
                matches=verdict.matches,
                complete=verdict.complete,
            )
            return
        self._accuse(str(verdict.epoch), verdict.accusation, verdict.evidence)

    def _accuse(self, what: str, accusation: str, body: bytes) -> None:
        accuse(self._desk, self.mirror.market.name, what, accusation, body)
