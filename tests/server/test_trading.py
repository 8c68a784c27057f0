"""From a bond to a settled swap, over a real TLS WebSocket."""

from __future__ import annotations

import pytest
import structlog
from tests.server.conftest import BOND, BTC, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.settlement import matched, settle

from twinlock.protocol import routes
from twinlock.protocol.orders import Side
from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.signing import check

pytestmark = pytest.mark.anyio


async def test_a_bond_opens_an_account(any_exchange: Exchange) -> None:
    exchange = any_exchange
    trader = await exchange.guest()
    config = await trader.ask(routes.CONFIG, None)
    assert config.bond_assets["btc"].amount == BOND
    result = await trader.register(BTC, BOND * 3)
    assert result.reputation.bonded_tier == 3
    assert [bond.strength for bond in result.active_bonds] == [3]


async def test_maker_and_taker_settle(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    await taker.ask(routes.ORDERBOOK, routes.ORDERBOOK.payload(base=LTC, quote=BTC))
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    sell = maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds)
    receipt = await maker.place(sell)
    await taker.note(routes.BOOK_ORDER, lambda note: note.order_id == receipt.order_id)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    await taker.place(taker.limit_order(MARKET, Side.BUY, 2 * LOT, RATE, money))
    [made] = await taker.note(routes.MATCH)
    assert (made.quantity, made.rate, made.side) == (2 * LOT, RATE, 1)
    match_id = bytes(made.match_id)
    config = await maker.ask(routes.CONFIG, None)
    assert check(config.public_key, made.signed_bytes(), made.sig)
    secret, secret_hash = maker.new_secret()
    lock = made.server_time // 1000
    init = await maker.make_contract(match_id, LTC, 2 * LOT, secret_hash, lock + 20 * 3600, funds)
    acknowledged = await maker.ask(routes.INIT, init)
    assert check(config.public_key, init.signed_bytes(), acknowledged.sig)
    audit = await taker.note(routes.AUDIT)
    exchange.chains[LTC].mine()
    value = base_to_quote(RATE, 2 * LOT)
    answer = await taker.make_contract(match_id, BTC, value, secret_hash, lock + 8 * 3600, money)
    await taker.ask(routes.INIT, answer)
    their_audit = await maker.note(routes.AUDIT)
    exchange.chains[BTC].mine()
    await maker.ask(routes.REDEEM, maker.make_redemption(match_id, BTC, their_audit, secret))
    redemption = await taker.note(routes.REDEMPTION)
    assert redemption.secret == secret
    await taker.ask(routes.REDEEM, taker.make_redemption(match_id, LTC, audit, secret))
    await maker.note(routes.REDEMPTION)
    assert (await maker.connect()).active_matches == []
    assert (await taker.connect()).score == 1


async def test_each_line_about_a_match_carries_its_id_and_the_first_names_its_orders(exchange: Exchange) -> None:
    maker, taker = await exchange.trader(), await exchange.trader()
    with structlog.testing.capture_logs() as logs:
        match_id = await settle(exchange, maker, taker, MARKET)
        await maker.note(routes.REDEMPTION, lambda note: note.match_id == match_id)
    told = [line for line in logs if line.get("match") == match_id.hex()]
    assert [line["event"] for line in told] == [
        *("match made", "contract accepted", "contract accepted"),
        *("redemption accepted", "redemption accepted", "match complete"),
    ]
    orders = {told[0]["maker_order"], told[0]["taker_order"]}
    assert orders == {line["order"] for line in logs if line["event"] == "order accepted"}


async def test_the_coins_of_a_half_filled_order_are_free_when_order_and_match_have_ended(exchange: Exchange) -> None:
    made = await matched(exchange, lots=4)
    executor, market = exchange.running.manager.executor, exchange.running.manager.markets["ltc_btc"]
    settling = executor.find(made.id)
    assert settling is not None
    await executor.expired(settling)
    locked = market.services.locks[LTC].coins()
    assert set(locked.values()) == {settling.stored.maker_order}  # the rest of the order still stands on them
    await made.maker.place(made.maker.cancel_order(MARKET, settling.stored.maker_order))
    await until(lambda: not locked)
