"""Orders: funded from our wallets, committed to, stored, sent, and followed to their end.

Invariants
- An order is stored, preimage and all, before a byte of it is sent.
- No two orders share a commitment, because no two share their account and client time.
- A preimage is given away under one checksum only.
- An order without a verified receipt is not ours; its coins come back once the server confirms not to have it.
- In memory is what can still match or has coins set aside for it; every other order is found in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from weakref import WeakValueDictionary

from twinlock.client.book_mirror import Expectation
from twinlock.client.desk import Desk
from twinlock.client.drafts import Draft, LimitAsk, limit_draft, market_draft
from twinlock.client.errors import MisbehaviourError, NotConnectedError, OrderError
from twinlock.client.events import OrderChanged
from twinlock.client.order_funds import Fresh, OrderFunds, pays
from twinlock.client.order_login import reconcile
from twinlock.client.order_messages import ROUTES, message_of, proof_of, stamped
from twinlock.client.store import changing
from twinlock.client.store.living import Living
from twinlock.client.store.records import ACTIVE, AccountRecord, OrderRecord, id_mark, tag_mark
from twinlock.errors import TwinlockError
from twinlock.protocol import orders as rules
from twinlock.protocol import signing
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.epoch import epoch_index
from twinlock.protocol.messages.orders import (
    PLAIN,
    NoMatch,
    OrderOptions,
    OrderPrefix,
    OrderResult,
    PreimageRequest,
    PreimageResponse,
    RevokeOrder,
)
from twinlock.protocol.messages.status import ActiveOrder
from twinlock.protocol.orders import OrderType, Side, TimeInForce
from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.wire import Hex

_UNFOLLOWED = 10
"""Epochs after which it is clear that no mirror follows the market's book."""


class Orders:
    """Our orders at one server. `expect` tells the book's mirror what the epoch's proof must account for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.funds = OrderFunds(desk)
        """The coins behind the orders."""
        self._placing = asyncio.Lock()
        self.records = Living(desk.store, OrderRecord, desk.host)
        self._by_id: WeakValueDictionary[bytes, OrderRecord] = WeakValueDictionary()
        """Those that were named since the start: that holds also where it could not be stored."""
        self.expect: dict[str, list[tuple[int, Expectation]]] = {}
        """By market: what the mirror has not taken over yet."""

    def by_id(self, order_id: bytes) -> OrderRecord | None:
        """The order that the server knows under this ID."""
        return self._by_id.get(order_id) or self.records.marked(id_mark(self._desk.host, order_id))

    async def received(self, order_id: bytes) -> OrderRecord | None:
        """Like `by_id`, but a match may overtake the receipt of its order, so what is being placed is waited for."""
        order = self.by_id(order_id)
        if order is None:
            async with self._placing:
                order = self.by_id(order_id)
        return order

    def by_key(self, key: str) -> OrderRecord | None:
        """The order with this commitment (hex)."""
        return self.records.get(key)

    def active(self) -> list[OrderRecord]:
        """Orders that can still match."""
        return [order for order in self.records.all() if order.active]

    def release(self, waiting: Collection[str]) -> None:
        """Free the coins of orders that are over, but for those (keys) for which swaps wait; what is over is let go."""
        for order in self.records.all():
            if not order.active and not order.funds_released and order.key not in waiting:
                self.funds.release(order)
        self.records.let_go()

    # Placing -------------------------------------------------------------------------------------------

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
        """Place a limit order. quantity: base atoms; rate: message-rate; tag: see `OrderRecord.tag`.

        split: pay for a transaction that makes a coin of exactly the sum needed, so that no more is locked.
        Raises OrderError, wallet errors for missing funds, RpcError (refused), RequestTimeoutError or
        LinkClosedError (nobody knows: it is settled at the next login).
        """
        ask = LimitAsk(market=market, side=side, quantity=quantity, rate=rate, force=force, tag=tag, options=options)
        return await self._place(limit_draft(self._desk, ask), split=split)

    async def market(
        self,
        market: str,
        side: Side,
        quantity: int,
        price_hint: int = 0,
        *,
        tag: str = "",
        options: OrderOptions = PLAIN,
    ) -> OrderRecord:
        """Place a market order. quantity: base atoms to sell, or quote atoms to spend.

        price_hint: the middle of the book as a message-rate, by which the lots of a buy are counted. Raises as `limit`.
        """
        draft = market_draft(self._desk, market, side, quantity, price_hint, tag=tag, options=options)
        return await self._place(draft, split=False)

    async def limits(self, asks: Sequence[LimitAsk]) -> list[OrderRecord | TwinlockError]:
        """Place several limit orders: for each its record, or why it was not placed.

        All are checked before the first is sent (OrderError). Where the coins do not give each order one of its own,
        a split transaction makes them. Raises OrderError, and wallet errors where the sum of all is not there.
        """
        drafts = [limit_draft(self._desk, ask) for ask in asks]
        results: list[OrderRecord | TwinlockError] = []
        async with self._placing:
            known = [self.tagged(draft.tag) if draft.tag else None for draft in drafts]
            orders = [order or await self._prepare(draft) for order, draft in zip(known, drafts, strict=True)]
            fresh = [row for row, before in zip(zip(orders, drafts, strict=True), known, strict=True) if not before]
            await self._fund_each(fresh, self.funds.each)
            for order, before in zip(orders, known, strict=True):
                try:
                    results.append(before or await self._send(order))
                except TwinlockError as error:
                    results.append(error)
        return results

    async def cancel(self, order_id: bytes) -> OrderRecord:
        """Ask for a standing order to be taken off the book. Raises as `limit`."""
        target = self.by_id(order_id)
        if target is None or target.type != OrderType.LIMIT or target.status not in ACTIVE:
            raise OrderError(
                "there is no such order to cancel",
                code="order.unknown",
                numbers={"order": order_id.hex()},
                fix="only standing limit orders that are still active can be cancelled",
            )
        async with self._placing:
            return await self.send_cancel(target.market, target.base, target.quote, order_id)

    def tagged(self, tag: str) -> OrderRecord | None:
        """The order that was placed under this name, failed ones aside."""
        return self.records.marked(tag_mark(self._desk.host, tag))

    async def _place(self, draft: Draft, *, split: bool) -> OrderRecord:
        async with self._placing:
            if draft.tag and (known := self.tagged(draft.tag)):
                return known
            order = await self._prepare(draft)
            if split:
                await self._fund_each([(order, draft)], self.funds.split)
            else:
                self.funds.one(order, draft)
                self.records.hold(order)
            return await self._send(order)

    async def _fund_each(self, fresh: Sequence[Fresh], fund: Callable[[Sequence[Fresh]], Awaitable[None]]) -> None:
        """Also where that fails, what was stored is remembered."""
        try:
            await fund(fresh)
        finally:
            for order, _ in fresh:
                if self._desk.store.get(OrderRecord, order.key) is not None:
                    self.records.hold(order)

    async def _prepare(self, draft: Draft) -> OrderRecord:
        """A record that is complete but for its coins, and not stored."""
        desk, offer = self._desk, draft.offer
        order = self._draft(offer.name, offer.base, offer.quote, draft.kind)
        order.side, order.quantity, order.rate, order.force = draft.side, draft.quantity, draft.rate, draft.force
        order.tag, order.options = draft.tag, draft.options
        base, quote = desk.asset(offer.base), desk.asset(offer.quote)
        order.base_fee_limit, order.quote_fee_limit = base.max_fee_rate, quote.max_fee_rate
        order.base_conf, order.quote_conf = base.swap_conf, quote.swap_conf
        order.address = await desk.coin(draft.gets).wallet.new_address()
        return order

    async def _send(self, order: OrderRecord) -> OrderRecord:
        try:
            payer = self._desk.coin(pays(order))
            proofs = [await proof_of(payer, coin_id) for coin_id in order.coins]
            return await self._submit(order, message_of(order, self._account().account_id, proofs))
        except BaseException:
            # An order whose receipt was lost may exist: its coins stay locked until the next login tells.
            if order.status == "failed":
                self.funds.release(order)
            raise

    async def send_cancel(self, market: str, base: int, quote: int, target: bytes) -> OrderRecord:
        """Send a cancel, whether we know its target or not."""
        order = self._draft(market, base, quote, OrderType.CANCEL)
        order.target = target
        return await self._submit(order, message_of(order, self._account().account_id, []))

    def _draft(self, market: str, base: int, quote: int, kind: OrderType) -> OrderRecord:
        account = self._account()
        client_time = max(self._desk.clock.now_ms(), account.last_order_ms + 1)
        account.last_order_ms = client_time
        preimage = self._desk.keys.preimage(account.account_id, client_time)
        return OrderRecord(
            host=self._desk.host,
            market=market,
            base=base,
            quote=quote,
            type=kind,
            side=0,
            quantity=0,
            commitment=rules.commit(preimage),
            preimage=preimage,
            tclient=client_time,
        )

    async def _submit(self, order: OrderRecord, message: OrderPrefix) -> OrderRecord:
        desk, account = self._desk, self._account()
        message = signing.signed(desk.signing_key(), message)
        with desk.store.transaction():
            desk.store.put(account)
            desk.store.put(order)
        self.records.hold(order)
        try:
            receipt = await desk.session.request(ROUTES[OrderType(order.type)], message)
            self._check_receipt(order, message, receipt)
        except (RpcError, NotConnectedError, MisbehaviourError) as error:
            self.set_status(order, "failed")
            if isinstance(error, RpcError) and error.rpc_code is ErrorCode.CLOCK_RANGE:
                self._set_back()
            raise
        return self._accept(order, receipt)

    def _set_back(self) -> None:
        """An order's time was refused: once the clock is right, orders need only be later than those that were not."""
        account = self._account()
        times = (order.tclient for order in self.records.backwards() if order.status != "failed")
        with changing(self._desk.store, account):
            account.last_order_ms = next(times, 0)

    def _check_receipt(self, order: OrderRecord, message: OrderPrefix, receipt: OrderResult) -> None:
        accepted = rules.accept(message, receipt.server_time)
        signed = stamped(message, receipt.server_time).signed_bytes()
        self._desk.require_server_signature("the order's receipt", signed, receipt.sig)
        if accepted.id != receipt.order_id:
            raise MisbehaviourError(f"the server gave our order {order.key} an ID that is not its hash")

    def _accept(self, order: OrderRecord, receipt: OrderResult) -> OrderRecord:
        self.name(order, bytes(receipt.order_id), receipt.server_time)
        order.receipt = bytes(receipt.sig)
        if order.status == "sent":
            order.status = "epoch"
        self._change(order)
        self._expect(order)
        return order

    def name(self, order: OrderRecord, order_id: bytes, server_time: int) -> None:
        """The server knows the order under this ID, since then (ms).

        So it is, even where that cannot be stored: it may be matched by now, and the next login would tell it again.
        """
        order.order_id, order.tserver = order_id, server_time
        self._by_id[order_id] = order

    def _expect(self, order: OrderRecord) -> None:
        epoch = epoch_index(order.tserver, self._desk.market(order.market).epoch_ms)
        expectation = Expectation(order.order_id, order.commitment, order.csum or b"")
        waiting = [row for row in self.expect.get(order.market, ()) if row[0] > epoch - _UNFOLLOWED]
        self.expect[order.market] = [*waiting, (epoch, expectation)]

    # What the server says ------------------------------------------------------------------------------

    async def on_preimage(self, request: PreimageRequest) -> PreimageResponse:
        """Give the preimage, under one checksum only. Refuses with 52 (other checksum) or 89 (not ours)."""
        order = self.records.get(request.commitment.hex())
        if order is None or order.status == "failed" or order.order_id not in (b"", request.order_id):
            raise RpcError(ErrorCode.UNKNOWN_ORDER, "no such order")
        if order.csum is not None and order.csum != request.csum:
            raise RpcError(ErrorCode.INVALID_REQUEST, "the preimage was given under another checksum")
        with changing(self._desk.store, order):
            order.csum = bytes(request.csum)
        if order.order_id:
            self._expect(order)
        return PreimageResponse(preimage=Hex(order.preimage))

    async def on_nomatch(self, note: NoMatch) -> None:
        order = self.by_id(note.order_id)
        if order is not None and order.status in ("sent", "epoch"):
            rests = order.type == OrderType.LIMIT and order.force == TimeInForce.STANDING
            self.set_status(order, "booked" if rests and not note.crossed else "executed")

    async def on_revoke(self, note: RevokeOrder) -> None:
        self._desk.require_server_signature("a revocation", note.signed_bytes(), note.sig)
        order = self.by_id(note.order_id)
        if order is not None and order.status in ACTIVE:
            self.set_status(order, "revoked")

    def matched(self, order: OrderRecord, quantity: int, rate: int) -> None:
        """A trade match took `quantity` base atoms of the order. Inside the caller's transaction."""
        market_buy = order.type == OrderType.MARKET and order.side == Side.BUY
        filled = order.filled + (base_to_quote(rate, quantity) if market_buy else quantity)
        rests = order.type == OrderType.LIMIT and order.force == TimeInForce.STANDING
        matches = order.matches + 1
        done = not rests or filled >= order.quantity or matches == order.options.max_matches
        ending = "executed" if done else "booked"
        self._change(order, filled=filled, matches=matches, status=ending if order.status in ACTIVE else order.status)

    def canceled(self, order: OrderRecord) -> None:
        """A cancel match ended the order, and with it the cancel."""
        self.set_status(order, "canceled")
        for cancel in self.active():
            if cancel.type == OrderType.CANCEL and cancel.target == order.order_id:
                self.set_status(cancel, "executed")

    def cancel_pending(self, order_id: bytes) -> bool:
        """Whether a cancel of that order is under way."""
        return any(order.type == OrderType.CANCEL and order.target == order_id for order in self.active())

    async def on_login(self, listed: Sequence[ActiveOrder]) -> None:
        """Compare what the server has with what we have."""
        await reconcile(self._desk, self, listed)

    # Records -------------------------------------------------------------------------------------------

    def set_status(self, order: OrderRecord, status: str) -> None:
        """Store and tell a change; nothing happens if it is none."""
        if order.status != status:
            self._change(order, status=status)

    def _change(self, order: OrderRecord, **members: object) -> None:
        """Store, then tell. Raises StoreError, and then nothing has changed."""
        with changing(self._desk.store, order):
            for name, value in members.items():
                setattr(order, name, value)
        self._desk.emit(
            OrderChanged,
            order_id=order.order_id.hex(),
            market=order.market,
            type=OrderType(order.type).name.lower(),
            side=Side(order.side).name.lower() if order.side else "",
            quantity=order.quantity,
            rate=order.rate,
            filled=order.filled,
            status=order.status,
        )

    def _account(self) -> AccountRecord:
        if self._desk.account is None or not self._desk.logged_in:
            raise OrderError(
                f"there is no account at {self._desk.host}, or it is not connected",
                code="order.account",
                fix="post a bond first, and wait for the connection",
            )
        return self._desk.account
