"""Post-only orders, expiry and capped matches on a live exchange: kept, published, stored, and in the ledger."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.server.conftest import BTC, EPOCH_MS, LOT, LTC, MARKET, RATE, Exchange
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.audit import Auditor
from twinlock.protocol.codes import RpcError
from twinlock.protocol.epoch import epoch_end, epoch_index
from twinlock.protocol.ledger import Epoch
from twinlock.protocol.messages.book import BookSubscription
from twinlock.protocol.messages.orders import OPTION_NAMES, OrderOptions, OrderResult, PlaceLimit
from twinlock.protocol.messages.status import OrderStatusRequest
from twinlock.protocol.orders import OrderStatus, Side, TimeInForce, accept
from twinlock.protocol.signing import check, signed
from twinlock.protocol.wire import Hex
from twinlock.seams import SystemClock

pytestmark = pytest.mark.anyio


def sell(exchange: Exchange, trader: Trader, lots: int, rate: int = RATE, **options: Any) -> PlaceLimit:
    funds = exchange.chains[LTC].fund(trader.new_key(), (lots + 10) * LOT)
    return trader.limit_order(MARKET, Side.SELL, lots * LOT, rate, funds, options=OrderOptions(**options))


def buy(exchange: Exchange, trader: Trader, lots: int, **options: Any) -> PlaceLimit:
    funds = exchange.chains[BTC].fund(trader.new_key(), (lots + 10) * LOT)
    force = int(TimeInForce.STANDING if options else TimeInForce.IMMEDIATE)
    asked = {"options": OrderOptions(**options)} if options else {}
    return trader.limit_order(MARKET, Side.BUY, lots * LOT, RATE, funds, time_in_force=force, **asked)


async def status(trader: Trader, receipt: OrderResult) -> OrderStatus:
    question = OrderStatusRequest(base=LTC, quote=BTC, order_id=receipt.order_id)
    [answer] = await trader.ask(routes.ORDER_STATUS, [question])
    return OrderStatus(answer.status)


async def replayed(exchange: Exchange) -> tuple[Auditor, list[Epoch]]:
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    async with httpx.AsyncClient(verify=context, base_url=f"https://localhost:{exchange.running.port}") as client:
        lines = (await client.get("/api/ledger/ltc/btc")).content.splitlines()
    auditor = Auditor(exchange.running.key.public)
    records = [auditor.take(line) for line in lines]
    return auditor, [record for record in records if isinstance(record, Epoch)]


async def test_options_are_offered_signed_and_published(exchange: Exchange) -> None:
    trader, watcher = await exchange.trader(), await exchange.guest()
    assert (await trader.ask(routes.CONFIG, None)).order_options == list(OPTION_NAMES)
    await watcher.ask(routes.ORDERBOOK, BookSubscription(base=LTC, quote=BTC))
    message = sell(exchange, trader, 3, max_matches=2, post_only=True)
    receipt = await trader.place(message)
    stamped = replace(message, server_time=receipt.server_time)
    assert check(exchange.running.key.public, stamped.signed_bytes(), receipt.sig)
    assert accept(message, receipt.server_time).id == receipt.order_id
    told = await watcher.note(routes.EPOCH_ORDER)
    assert told.options == OrderOptions(max_matches=2, post_only=True)
    assert (await watcher.note(routes.BOOK_ORDER)).options == told.options
    funds = exchange.chains[LTC].fund(trader.new_key(), 10 * LOT)
    plain = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    assert (await watcher.note(routes.EPOCH_ORDER, lambda note: note.order_id == plain.order_id)).options is UNSET


async def test_a_signature_without_the_options_is_refused(exchange: Exchange) -> None:
    """As an order looks to a server that does not know them, the other way round."""
    trader = await exchange.trader()
    message = sell(exchange, trader, 1, post_only=True)
    unsigned = signed(trader.key, replace(message, options=UNSET))
    with pytest.raises(RpcError) as refused:
        await trader.place(replace(message, sig=unsigned.sig))
    assert refused.value.rpc_code == 22


async def test_post_only_orders_end_where_they_would_take(exchange: Exchange) -> None:
    maker, careful = await exchange.trader(), await exchange.trader()
    resting = await maker.place(sell(exchange, maker, 1))
    await maker.booked(resting.order_id, MARKET)
    message = buy(exchange, careful, 1, post_only=True)
    locks = exchange.running.manager.markets["ltc_btc"].services.locks[BTC]
    receipt = await careful.place(message)
    assert locks.holder(message.coins[0].coin_id) == receipt.order_id
    note = await careful.note(routes.NOMATCH)
    assert (note.order_id, note.crossed) == (receipt.order_id, True)
    assert await status(careful, receipt) is OrderStatus.EXECUTED
    assert locks.holder(message.coins[0].coin_id) is None
    auditor, _ = await replayed(exchange)
    assert (auditor.fills, len(auditor.book)) == (0, 1)


async def test_a_cap_survives_a_restart(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    capped = await maker.place(sell(exchange, maker, 5, max_matches=2))
    await maker.booked(capped.order_id, MARKET)
    await taker.place(buy(exchange, taker, 1))
    update = await maker.note(routes.UPDATE_REMAINING)
    assert (update.remaining, update.matches) == (4 * LOT, 1)
    await exchange.crash()
    await exchange.start()
    await exchange.reconnect(maker)
    await exchange.reconnect(taker)
    await maker.connect()
    await taker.connect()
    book = await maker.ask(routes.ORDERBOOK, BookSubscription(base=LTC, quote=BTC))
    assert [(order.quantity, order.matches, order.options) for order in book.orders] == [
        (4 * LOT, 1, OrderOptions(max_matches=2))
    ]
    await taker.place(buy(exchange, taker, 1))
    await maker.note(routes.UNBOOK_ORDER, lambda note: note.order_id == capped.order_id)
    assert await status(maker, capped) is OrderStatus.EXECUTED
    auditor, _ = await replayed(exchange)
    assert (auditor.fills, len(auditor.book)) == (2, 0)


async def test_an_order_expires_unblamed(exchange: Exchange) -> None:
    trader = await exchange.trader()
    now = epoch_index(SystemClock().now_ms(), EPOCH_MS)
    expiry = epoch_end(now + 5, EPOCH_MS)
    receipt = await trader.place(sell(exchange, trader, 1, expiry=expiry))
    await trader.booked(receipt.order_id, MARKET)
    await trader.note(routes.REVOKE_ORDER, lambda note: note.order_id == receipt.order_id)
    assert await status(trader, receipt) is OrderStatus.REVOKED
    assert (await trader.connect()).score >= 0
    auditor, epochs = await replayed(exchange)
    [gone] = [epoch for epoch in epochs if epoch.expired]
    assert gone.expired == [Hex(receipt.order_id)]
    assert epoch_end(gone.epoch - 1, EPOCH_MS) <= expiry < epoch_end(gone.epoch, EPOCH_MS)
    assert len(auditor.book) == 0


async def test_an_expiry_is_no_way_around_the_scored_cancel(exchange: Exchange) -> None:
    trader = await exchange.trader()
    soon = epoch_end(epoch_index(SystemClock().now_ms(), EPOCH_MS), EPOCH_MS)
    with pytest.raises(RpcError, match=r"order\.expiry") as refused:
        await trader.place(sell(exchange, trader, 1, expiry=soon))
    assert refused.value.rpc_code == 34
