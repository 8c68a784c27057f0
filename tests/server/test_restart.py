"""The exchange is stopped at the worst moments, and goes on where it was."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.server.conftest import BTC, EPOCH_MS, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.jump_clock import JumpClock
from tests.server.trader import PATIENCE_S, Trader

from twinlock.protocol import routes
from twinlock.protocol.codes import RpcError
from twinlock.protocol.messages.orders import OrderResult
from twinlock.protocol.messages.status import MatchStatusRequest, OrderStatusRequest
from twinlock.protocol.orders import OrderStatus, Side
from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.wire import Hex
from twinlock.server.app import Server

pytestmark = pytest.mark.anyio

VALUE = base_to_quote(RATE, 2 * LOT)
MAKER_LOCK_S, TAKER_LOCK_S = 20 * 3600, 8 * 3600


async def back(exchange: Exchange, *traders: Trader) -> None:
    """Restart the server, and log everyone in again."""
    await exchange.crash()
    await exchange.start()
    for trader in traders:
        await exchange.reconnect(trader)
        await trader.connect()


async def status(trader: Trader, receipt: OrderResult) -> OrderStatus:
    [found] = await trader.ask(
        routes.ORDER_STATUS, [OrderStatusRequest(base=LTC, quote=BTC, order_id=receipt.order_id)]
    )
    return OrderStatus(found.status)


async def became(trader: Trader, receipt: OrderResult, wanted: OrderStatus) -> None:
    """Wait until an order is stored with that status; the book knows a moment earlier."""
    async with asyncio.timeout(PATIENCE_S):
        while await status(trader, receipt) is not wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_booked_order_is_still_there_and_its_coin_locked(any_exchange: Exchange) -> None:
    exchange = any_exchange
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    await back(exchange, trader)
    result = await trader.connect()
    assert [(order.id, order.status) for order in result.active_orders] == [(receipt.order_id, OrderStatus.BOOKED)]
    book = await trader.ask(routes.ORDERBOOK, routes.ORDERBOOK.payload(base=LTC, quote=BTC))
    assert [order.order_id for order in book.orders] == [receipt.order_id]
    locks = exchange.running.manager.markets["ltc_btc"]
    assert locks.book.get(receipt.order_id) is not None


async def test_an_epoch_that_was_open_is_processed_after_the_restart(any_exchange: Exchange) -> None:
    exchange = any_exchange
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    assert await status(trader, receipt) in (OrderStatus.EPOCH, OrderStatus.BOOKED)
    await back(exchange, trader)
    await trader.booked(receipt.order_id, MARKET)
    assert await status(trader, receipt) is OrderStatus.BOOKED


async def test_an_epoch_that_ends_just_after_the_restart_waits_for_its_owners(exchange: Exchange) -> None:
    """Nobody can be back at once; the server has to wait for them as if the epoch had ended while it was away."""
    await exchange.stop()
    exchange.clock = clock = JumpClock()
    exchange.epoch_ms = 3_600_000
    await exchange.start()
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await exchange.crash()
    await exchange.start()
    clock.jump(3_600 - clock.now_ms() // 1000 % 3_600)
    await exchange.reconnect(trader)  # the handshake alone takes longer than asking whoever is there
    await trader.connect()
    await trader.booked(receipt.order_id, MARKET)
    assert (await trader.connect()).score == 0


async def epochs_of(exchange: Exchange, last: int = 0) -> list[int]:
    """The processed ones, once the present one is, or the one that is named."""
    last = last or exchange.running.manager.markets["ltc_btc"].now()
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while last not in found:
            await asyncio.sleep(0.01)
            entries = await exchange.running.manager.historian.ledger("ltc_btc", 0, 1_000)
            records = [msgspec.json.decode(bytes(entry.record)) for entry in entries]
            found = [record["epoch"] for record in records if record["kind"] == "epoch"]
    return found


async def test_no_epoch_is_missing_after_a_short_absence(tmp_path: Path, anyio_backend: str) -> None:
    """Also of those that began and ended while nobody was there; after a long absence the rest stays untold."""
    exchange = Exchange(tmp_path)
    exchange.clock = clock = JumpClock()
    await exchange.start()
    first = (await epochs_of(exchange))[0]
    await exchange.crash()
    clock.jump(10 * EPOCH_MS / 1000)
    await exchange.start()
    found = await epochs_of(exchange)
    assert found == list(range(first, found[-1] + 1))
    assert len(found) > 10
    await exchange.crash()
    clock.jump(3_600)
    await exchange.start()
    later = [epoch for epoch in await epochs_of(exchange) if epoch > found[-1]]
    assert later == list(range(later[0], later[-1] + 1))
    patience = exchange.config().server.broadcast_timeout_ms // 4 // EPOCH_MS
    assert patience <= len(later) < 3_600_000 // EPOCH_MS
    await exchange.close()


async def test_epochs_of_a_suspension_are_not_taken_up(tmp_path: Path, anyio_backend: str) -> None:
    exchange = Exchange(tmp_path)
    exchange.clock = clock = JumpClock()
    await exchange.start()
    final = await exchange.running.manager.suspend("ltc_btc")
    await exchange.crash()
    clock.jump(10 * EPOCH_MS / 1000)
    await exchange.start()
    assert (await epochs_of(exchange, final))[-1] == final
    start = await exchange.running.manager.resume("ltc_btc")
    await exchange.crash()
    clock.jump(10 * EPOCH_MS / 1000)
    await exchange.start()
    found = await epochs_of(exchange)
    assert next(epoch for epoch in found if epoch > final) == start
    assert final in found
    assert found == [*range(found[0], final + 1), *range(start, found[-1] + 1)]
    await exchange.close()


async def test_a_restart_after_each_step_of_a_swap(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, 2 * LOT, RATE, money))
    [made] = await taker.note(routes.MATCH)
    match_id, made_s = bytes(made.match_id), made.server_time // 1000
    await maker.counterparty(match_id)
    await back(exchange, maker, taker)
    secret, secret_hash = maker.new_secret()
    init = await maker.make_contract(match_id, LTC, 2 * LOT, secret_hash, made_s + MAKER_LOCK_S, funds)
    await maker.ask(routes.INIT, init)
    audit = await taker.note(routes.AUDIT)
    await back(exchange, maker, taker)
    [listed] = (await taker.connect()).active_matches
    assert (listed.status, listed.side, listed.address) == (1, 1, await taker.counterparty(match_id))
    [found] = await taker.ask(routes.MATCH_STATUS, [MatchStatusRequest(base=LTC, quote=BTC, match_id=Hex(match_id))])
    assert (found.maker_contract, found.maker_tx, found.active) == (audit.contract, audit.tx, True)
    exchange.chains[LTC].mine()
    await taker.ask(
        routes.INIT,
        await taker.make_contract(match_id, BTC, VALUE, secret_hash, made_s + TAKER_LOCK_S, money),
    )
    their_audit = await maker.note(routes.AUDIT)
    await back(exchange, maker, taker)
    exchange.chains[BTC].mine()
    await maker.ask(routes.REDEEM, maker.make_redemption(match_id, BTC, their_audit, secret))
    await taker.note(routes.REDEMPTION)
    await back(exchange, maker, taker)
    await taker.ask(routes.REDEEM, taker.make_redemption(match_id, LTC, audit, secret))
    await back(exchange, maker, taker)
    assert (await taker.connect()).active_matches == []
    assert [(await trader.connect()).score for trader in (maker, taker)] == [1, 1]


async def test_a_match_whose_addresses_are_lost_with_the_server_ends_without_blame(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    maker.acknowledge = lambda _: []
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, 2 * LOT, RATE, money))
    await maker.note(routes.MATCH)
    await back(exchange, maker, taker)
    await until(lambda: len(exchange.running.manager.executor) == 0)
    for trader in (maker, taker):
        result = await trader.connect()
        assert (result.active_matches, result.score) == ([], 0)


async def test_coins_promised_to_a_match_stay_locked_over_a_restart(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, 2 * LOT, RATE, money))
    [made] = await taker.note(routes.MATCH)
    await maker.counterparty(bytes(made.match_id))
    await back(exchange, taker)
    with pytest.raises(RpcError) as caught:
        await taker.place(taker.limit_order(MARKET, Side.BUY, LOT, RATE, money))
    assert caught.value.code == "rpc.funding"


async def test_an_order_whose_coin_was_spent_meanwhile_is_revoked_without_blame(any_exchange: Exchange) -> None:
    exchange = any_exchange
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    await exchange.crash()
    exchange.chains[LTC].spend(funds, trader.new_key())
    await exchange.start()
    await exchange.reconnect(trader)
    await trader.connect()
    await became(trader, receipt, OrderStatus.REVOKED)
    assert len(exchange.running.manager.markets["ltc_btc"].book) == 0
    assert (await trader.connect()).score == 0


@pytest.mark.parametrize("lot_size", [LOT // 2, 2 * LOT])
async def test_another_lot_size_empties_the_book_without_blame(exchange: Exchange, lot_size: int) -> None:
    """Coins that pay for two swaps need not pay for four, so whole lots alone are not enough."""
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    exchange.lot_size = lot_size
    await back(exchange, trader)
    assert await status(trader, receipt) is OrderStatus.REVOKED
    assert (await trader.connect()).score == 0
    again = await trader.place(trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await trader.booked(again.order_id, MARKET)
    await back(exchange, trader)
    assert await status(trader, again) is OrderStatus.BOOKED


async def test_a_suspension_that_is_only_scheduled_stops_no_epoch_that_was_open(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    await exchange.running.manager.suspend("ltc_btc", exchange.clock.now_ms() + 3_600_000)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await exchange.crash()
    await until(lambda: exchange.clock.now_ms() > (receipt.server_time // EPOCH_MS + 1) * EPOCH_MS)
    await exchange.start()
    await exchange.reconnect(trader)
    await trader.connect()
    await trader.booked(receipt.order_id, MARKET)
    assert exchange.running.manager.markets["ltc_btc"].running_now


async def test_a_book_that_a_suspension_was_to_empty_is_empty_after_a_restart(exchange: Exchange) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    final = await exchange.running.manager.suspend("ltc_btc", persist=False)
    await exchange.crash()
    await until(lambda: exchange.clock.now_ms() > (final + 1) * EPOCH_MS)
    await exchange.start()
    await until(lambda: not len(exchange.running.manager.markets["ltc_btc"].book))
    await exchange.reconnect(trader)
    assert ((await trader.connect()).active_orders, (await trader.connect()).score) == ([], 0)
    await became(trader, receipt, OrderStatus.REVOKED)


async def test_a_resumption_that_is_scheduled_is_not_forgotten(exchange: Exchange) -> None:
    manager = exchange.running.manager
    final = await manager.suspend("ltc_btc")
    await until(lambda: manager.markets["ltc_btc"].now() > final)
    start = await manager.resume("ltc_btc", exchange.clock.now_ms() + 3_600_000)
    await exchange.crash()
    await exchange.start()
    market = exchange.running.manager.markets["ltc_btc"]
    assert (market.schedule.start_epoch, market.running_now) == (start, False)


async def test_every_socket_that_listens_outlives_the_program(exchange: Exchange) -> None:
    """An address that stands for several has a socket of each kind, and the next program gets all of them."""
    settings = exchange.config()
    everywhere = replace(settings, server=replace(settings.server, listen="[::]:0"))
    await exchange.stop()
    async with Server(everywhere, exchange.clock, open_chain=exchange._open) as server:
        kept = [socket.socket(fileno=number) for _, number in server.keep_sockets()]
    assert {each.family for each in kept} == {socket.AF_INET, socket.AF_INET6}
    async with Server(everywhere, exchange.clock, open_chain=exchange._open, sockets={"listen": kept}) as server:
        assert len(server.keep_sockets()) == len(kept)
        for each in kept:
            host = "127.0.0.1" if each.family is socket.AF_INET else "::1"
            _, writer = await asyncio.open_connection(host, each.getsockname()[1])
            writer.close()
