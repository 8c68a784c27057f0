"""One epoch after another: cancels, misses, market orders, proofs, suspension (protocol section 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.server.conftest import BTC, EPOCH_MS, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.epoch import verify_proof
from twinlock.protocol.messages.book import OrderBook, SnapshotSubscription
from twinlock.protocol.messages.orders import OrderResult
from twinlock.protocol.messages.status import OrderStatusRequest
from twinlock.protocol.orders import CancelOrder, LimitOrder, OrderStatus, Side, TimeInForce, order_id
from twinlock.protocol.signing import check
from twinlock.server.db.history import account_orders, read_orders
from twinlock.server.market.departures import PORTION

pytestmark = pytest.mark.anyio

NAME = "ltc_btc"


async def book(trader: Trader) -> OrderBook:
    return await trader.ask(routes.ORDERBOOK, routes.ORDERBOOK.payload(base=LTC, quote=BTC))


async def sell(exchange: Exchange, trader: Trader, lots: int = 2, rate: int = RATE) -> OrderResult:
    funds = exchange.chains[LTC].fund(trader.new_key(), 2 * lots * LOT)
    return await trader.place(trader.limit_order(MARKET, Side.SELL, lots * LOT, rate, funds))


async def status(trader: Trader, receipt: OrderResult) -> OrderStatus:
    [found] = await trader.ask(
        routes.ORDER_STATUS, [OrderStatusRequest(base=LTC, quote=BTC, order_id=receipt.order_id)]
    )
    return OrderStatus(found.status)


async def test_notes_of_an_epoch_prove_themselves(exchange: Exchange) -> None:
    watcher, maker = await exchange.guest(), await exchange.trader()
    start = await book(watcher)
    receipt = await sell(exchange, maker)
    entered = await watcher.note(routes.EPOCH_ORDER)
    assert (entered.order_id, entered.quantity, entered.rate, entered.side) == (receipt.order_id, 2 * LOT, RATE, 2)
    proof = await watcher.note(routes.MATCH_PROOF, lambda note: note.epoch == entered.epoch)
    verify_proof({receipt.order_id: entered.commitment}, proof.preimages, proof.misses, proof.csum, proof.seed)
    booked = await watcher.note(routes.BOOK_ORDER)
    assert [entered.seq, booked.seq] == [start.seq + 1, start.seq + 2]
    report = await watcher.note(routes.EPOCH_REPORT, lambda note: note.epoch == entered.epoch)
    assert (report.match_volume, report.match_summary) == (0, [])
    assert report.end_stamp - report.start_stamp == EPOCH_MS
    assert (await maker.note(routes.NOMATCH)).order_id == receipt.order_id


async def test_an_empty_epoch_has_an_empty_proof(exchange: Exchange) -> None:
    watcher = await exchange.guest()
    await book(watcher)
    proof = await watcher.note(routes.MATCH_PROOF)
    assert (proof.preimages, proof.misses, proof.csum, proof.seed) == ([], [], b"", b"")


async def test_a_cancel_takes_its_order_off_the_book(exchange: Exchange) -> None:
    trader, watcher = await exchange.trader(), await exchange.guest()
    receipt = await sell(exchange, trader)
    await trader.booked(receipt.order_id, MARKET)
    await book(watcher)
    cancel = await trader.place(trader.cancel_order(MARKET, receipt.order_id))
    entered = await watcher.note(routes.EPOCH_ORDER)
    assert (entered.order_type, entered.target, entered.quantity, entered.rate) == (3, receipt.order_id, 0, 0)
    assert (await watcher.note(routes.UNBOOK_ORDER)).order_id == receipt.order_id
    matches = await trader.note(routes.MATCH)
    assert {(match.order_id, match.side, match.address) for match in matches} == {
        (receipt.order_id, 0, ""),
        (cancel.order_id, 1, ""),
    }
    assert await status(trader, receipt) is OrderStatus.CANCELED
    assert await status(trader, cancel) is OrderStatus.EXECUTED
    again = await sell(exchange, trader)
    assert await status(trader, again) is not OrderStatus.CANCELED


async def test_a_third_cancel_in_one_epoch_is_refused(exchange: Exchange) -> None:
    trader = await exchange.trader(tiers=8)
    receipts = [await sell(exchange, trader) for _ in range(3)]
    await trader.booked(receipts[-1].order_id, MARKET)
    refusals = []
    for receipt in receipts:
        try:
            await trader.place(trader.cancel_order(MARKET, receipt.order_id))
        except RpcError as error:
            refusals.append(error.rpc_code)
    # The three may have been sent across an epoch's end; inside one, the third is too much.
    assert refusals in ([], [ErrorCode.UNKNOWN_MARKET_ERROR])


async def test_a_missed_preimage_costs_points_and_the_order(exchange: Exchange) -> None:
    trader, watcher = await exchange.trader(), await exchange.guest()
    await book(watcher)
    trader.reveals = False
    receipt = await sell(exchange, trader)
    await watcher.note(routes.EPOCH_ORDER)
    assert trader.socket is not None
    await trader.note(routes.PREIMAGE)
    await trader.shut()
    exchange.expire_requests()
    proof = await watcher.note(routes.MATCH_PROOF, lambda note: bool(note.misses))
    assert proof.misses == [receipt.order_id]
    await exchange.reconnect(trader)
    assert (await trader.connect()).score == -2
    assert await status(trader, receipt) is OrderStatus.REVOKED


async def test_a_wrong_preimage_is_named_and_counts_as_a_miss(exchange: Exchange) -> None:
    trader = await exchange.trader()
    trader.lies = True
    await sell(exchange, trader)
    assert (await trader.complaint()).rpc_code == ErrorCode.PREIMAGE_COMMITMENT_MISMATCH
    revoked = await trader.note(routes.REVOKE_ORDER)
    assert check(exchange.running.key.public, revoked.signed_bytes(), revoked.sig)
    changed = await trader.note(routes.SCORECHANGED)
    assert changed.reputation.score == -2
    assert check(exchange.running.key.public, changed.signed_bytes(), changed.sig)


async def test_an_immediate_order_without_a_match_ends(exchange: Exchange) -> None:
    trader = await exchange.trader()
    money = exchange.chains[BTC].fund(trader.new_key(), 10 * LOT)
    order = trader.limit_order(MARKET, Side.BUY, LOT, RATE, money, time_in_force=int(TimeInForce.IMMEDIATE))
    receipt = await trader.place(order)
    assert (await trader.note(routes.NOMATCH)).order_id == receipt.order_id
    assert await status(trader, receipt) is OrderStatus.EXECUTED
    again = trader.limit_order(MARKET, Side.BUY, LOT, RATE, money)
    await trader.place(again)  # its coins are free again


async def test_a_market_buy_spends_whole_lots(exchange: Exchange) -> None:
    maker, taker = await exchange.trader(), await exchange.trader()
    receipt = await sell(exchange, maker, lots=3)
    await taker.booked(receipt.order_id, MARKET)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    await taker.place(taker.market_order(MARKET, Side.BUY, LOT // 4, money))
    [match] = await taker.note(routes.MATCH)
    assert (match.quantity, match.rate) == (2 * LOT, RATE)
    update = await taker.note(routes.UPDATE_REMAINING)
    assert (update.order_id, update.remaining) == (receipt.order_id, LOT)
    report = await taker.note(routes.EPOCH_REPORT, lambda note: note.match_volume > 0)
    assert report.match_summary == [(RATE, -2 * LOT)]
    assert (report.quote_volume, report.start_rate, report.end_rate) == (LOT // 5, RATE, RATE)
    newest = (await book(await exchange.guest())).recent_matches
    assert [(rate, quantity) for rate, quantity, _ in newest] == [(RATE, -2 * LOT)]


async def test_prices_reach_the_feed_and_the_candles(exchange: Exchange) -> None:
    watcher = await exchange.guest()
    prices = await watcher.ask(routes.PRICE_FEED, None)
    assert list(prices) == [NAME]
    update = await watcher.note(routes.PRICE_UPDATE)
    assert (update.base, update.quote, update.book_volume) == (LTC, BTC, 0)
    request = routes.CANDLES.payload(base=LTC, quote=BTC, bin_size=f"{EPOCH_MS}ms", count=5)
    candles = await watcher.ask(routes.CANDLES, request)
    assert 1 <= len(candles.start_stamps) <= 5
    assert len({len(getattr(candles, name)) for name in candles.__struct_fields__}) == 1


async def test_market_makers_get_signed_snapshots(exchange: Exchange) -> None:
    trader = await exchange.trader()
    await trader.ask(routes.SUBSCRIBE_MM_SNAPSHOTS, SnapshotSubscription(market=NAME))
    await sell(exchange, trader)
    snapshot = await trader.note(routes.MM_EPOCH_SNAPSHOT, lambda note: bool(note.sells))
    assert [(level.rate, level.quantity) for level in snapshot.sells] == [(RATE, 2 * LOT)]
    assert (snapshot.best_buy, snapshot.best_sell, snapshot.account_id) == (0, RATE, trader.account)
    assert check(exchange.running.key.public, snapshot.signed_bytes(), snapshot.sig)


async def test_suspension_keeps_the_book_and_cancels_at_once(exchange: Exchange) -> None:
    trader = await exchange.trader()
    receipt = await sell(exchange, trader)
    await trader.booked(receipt.order_id, MARKET)
    manager = exchange.running.manager
    final = await manager.suspend(NAME)
    announced = await trader.note(routes.SUSPENSION, lambda note: note.time is not None)
    assert (announced.final_epoch, announced.time) == (final, (final + 1) * EPOCH_MS)
    effective = await trader.note(routes.SUSPENSION, lambda note: note.time is None)
    assert (effective.persist_book, effective.seq) == (True, None)
    with pytest.raises(RpcError) as caught:
        await sell(exchange, trader)
    assert caught.value.rpc_code == ErrorCode.MARKET_NOT_RUNNING
    await until(lambda: manager.markets[NAME].schedule.stopped(manager.markets[NAME].now()))
    with pytest.raises(RpcError):
        await manager.suspend(NAME)
    [offered] = (await trader.ask(routes.CONFIG, None)).markets
    assert (offered.status.final_epoch, offered.status.persist_book) == (final, True)
    await trader.place(trader.cancel_order(MARKET, receipt.order_id))
    assert (await trader.note(routes.UNBOOK_ORDER)).order_id == receipt.order_id
    matches = await trader.note(routes.MATCH)
    assert len(matches) == 2
    start = await manager.resume(NAME)
    assert (await trader.note(routes.RESUMPTION, lambda note: note.time is not None)).start_epoch == start
    resumed = await trader.note(routes.RESUMPTION, lambda note: note.time is None)
    assert (resumed.start_epoch, manager.markets[NAME].now() >= start) == (start, True)
    assert [note.time is None for note in trader.notes[routes.RESUMPTION.name]] == [False, True]
    await sell(exchange, trader)


async def test_suspension_may_empty_the_book(exchange: Exchange) -> None:
    trader = await exchange.trader()
    receipt = await sell(exchange, trader)
    await trader.booked(receipt.order_id, MARKET)
    await exchange.running.manager.suspend(NAME, persist=False)
    assert (await trader.note(routes.REVOKE_ORDER)).order_id == receipt.order_id
    [effective] = [note for note in trader.notes[routes.SUSPENSION.name] if note.time is None]
    assert effective.seq is not None
    # The suspension alone says that the book is empty, and it comes first: who hears of the revocation before it
    # takes the order for one that was removed for a fault.
    told = (routes.SUSPENSION.name, routes.UNBOOK_ORDER.name, routes.REVOKE_ORDER.name)
    assert [route for route in trader.heard if route in told] == [told[0], told[0], told[2]]
    assert await status(trader, receipt) is OrderStatus.REVOKED
    assert (await trader.connect()).score == 0


async def test_a_big_book_is_emptied_in_portions(exchange: Exchange) -> None:
    """Everybody else has turns of the loop in between, and every revocation is signed all the same."""
    trader, count = await exchange.trader(), 3 * PORTION + 1
    market = exchange.running.manager.markets[NAME]
    locks, holdings = market.services.locks[LTC], market._state.holdings
    for number in range(count):
        order = LimitOrder(
            id=number.to_bytes(32, "big"),
            account_id=trader.account,
            base=LTC,
            quote=BTC,
            client_time=1,
            server_time=1,
            commitment=bytes(32),
            coins=(number.to_bytes(36, "big"),),
            side=Side.SELL,
            quantity=LOT,
            address="",
            rate=RATE,
            time_in_force=TimeInForce.STANDING,
        )
        market.book.insert(order)
        holdings.rest(order)
        locks.lock(order.id, order.coins)
    await exchange.running.manager.suspend(NAME, persist=False)
    freed = list[int]()
    while locked := len(locks):
        await asyncio.sleep(0)
        freed.append(locked - len(locks))
    assert [portion for portion in freed if portion] == [PORTION, PORTION, PORTION, 1]
    await until(lambda: len(trader.notes[routes.REVOKE_ORDER.name]) == count)
    notes = trader.notes[routes.REVOKE_ORDER.name]
    assert {int.from_bytes(note.order_id, "big") for note in notes} == set(range(count))
    assert all(check(exchange.running.key.public, note.signed_bytes(), note.sig) for note in notes)


@pytest.fixture
async def hasty(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Exchange]:
    exchange = Exchange(tmp_path)
    exchange.settings = {"broadcast_timeout_ms": 1_000}
    await exchange.start()
    yield exchange
    await exchange.close()


async def test_an_absent_trader_leaves_the_book_after_a_broadcast_timeout(hasty: Exchange) -> None:
    trader, watcher = await hasty.trader(), await hasty.guest()
    receipt = await sell(hasty, trader)
    await watcher.booked(receipt.order_id, MARKET)
    await trader.shut()
    assert (await watcher.note(routes.UNBOOK_ORDER)).order_id == receipt.order_id


async def test_each_revocation_leaves_a_cancel_that_the_server_made(exchange: Exchange) -> None:
    """For an order off the book, and for one whose preimage was missed; neither counts as the owner's cancel."""
    trader = await exchange.trader()
    booked = await sell(exchange, trader)
    await trader.booked(booked.order_id, MARKET)
    market = exchange.running.manager.markets[NAME]
    await market.revoke(list(market.book))
    trader.lies = True
    missed = await sell(exchange, trader, rate=2 * RATE)
    await trader.note(routes.REVOKE_ORDER, lambda note: note.order_id == missed.order_id)
    stored = await read_orders(exchange.running.database, account_orders(trader.account))
    cancels = {entry.order.target_id: entry for entry in stored if isinstance(entry.order, CancelOrder)}
    assert cancels.keys() == {booked.order_id, missed.order_id}
    for cancel in cancels.values():
        assert (cancel.status, cancel.order.commitment) == (OrderStatus.REVOKED, bytes(32))
        assert cancel.order.id == order_id(cancel.order)
    assert (await trader.connect()).score == -2


async def test_who_falls_below_tier_one_loses_its_orders(hasty: Exchange) -> None:
    trader = await hasty.trader(tiers=1)
    receipt = await sell(hasty, trader)
    await trader.booked(receipt.order_id, MARKET)
    trader.lies = True
    hasty.running.manager.accounts.policy = type(hasty.running.manager.accounts.policy)(penalty_threshold=2)
    await sell(hasty, trader)
    change = await trader.note(routes.TIERCHANGE)
    assert (change.tier, change.reputation.bonded_tier, change.reputation.penalties) == (0, 1, 1)
    penalty = await trader.note(routes.PENALTY)
    assert penalty.penalty.rule == 1
    await trader.note(routes.REVOKE_ORDER, lambda note: note.order_id == receipt.order_id)
