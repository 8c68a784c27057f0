"""Refusals at intake (protocol section 5.7), in the order of its steps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from msgspec import Raw
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, until
from tests.server.refusals.table import NUMBERS, Row, World, asks, refusal
from tests.server.trader import Trader

from twinlock.chain.spend import Input
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode as E
from twinlock.protocol.constants import CLOCK_TOLERANCE_MS, PREIMAGE_TIMEOUT_MS
from twinlock.protocol.envelope import request
from twinlock.protocol.messages.orders import OrderOptions, PlaceCancel, PlaceLimit, PlaceMarket
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex, encode

HUGE = 2**63 - 2**63 % LOT + LOT
"""The first whole lots beyond 2^63 - 1."""


def sell(world: World, **changes: Any) -> PlaceLimit:
    """Two lots for sale, funded with three."""
    return world.trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, world.funds, **changes)


def market_sell(world: World, **changes: Any) -> PlaceMarket:
    """The same at any price."""
    return world.trader.market_order(MARKET, Side.SELL, 2 * LOT, world.funds, **changes)


def market_buy(world: World, quantity: int) -> PlaceMarket:
    """Quote atoms at any price."""
    return world.trader.market_order(MARKET, Side.BUY, quantity, money(world))


def cancel(world: World, target: bytes = bytes(32), **changes: Any) -> PlaceCancel:
    """Of nothing, unless a target is named."""
    return world.trader.cancel_order(MARKET, target, **changes)


def money(world: World) -> Input:
    """A coin of the quote chain that pays for a lot."""
    return world.exchange.chains[BTC].fund(world.trader.new_key(), LOT)


def _limit(defect: str, code: E, **changes: Any) -> Row:
    return asks("trader", routes.LIMIT, defect, code, lambda w: sell(w, **changes))


def _market(defect: str, code: E, **changes: Any) -> Row:
    return asks("trader", routes.MARKET, defect, code, lambda w: market_sell(w, **changes))


def _cancel(defect: str, code: E, **changes: Any) -> Row:
    return asks("trader", routes.CANCEL, defect, code, lambda w: cancel(w, **changes))


def _coin(defect: str, code: E, **changes: Any) -> Row:
    """With other members in the coin's proof; a callable makes one from the trader."""

    def make(world: World) -> PlaceLimit:
        made = {name: value(world.trader) if callable(value) else value for name, value in changes.items()}
        return sell(world, coins=[replace(sell(world).coins[0], **made)])

    return asks("trader", routes.LIMIT, defect, code, make)


def _later(defect: str, ms: int, route: Any, make: Any) -> Row:
    return asks("trader", route, defect, E.CLOCK_RANGE, lambda w: make(w, client_time=w.clock.now_ms() + ms))


def _address(world: World, asset: int) -> str:
    return world.exchange.chains[asset].address(world.trader.new_key())


def _spent(world: World) -> PlaceLimit:
    chain = world.exchange.chains[LTC]
    funds = chain.fund(world.trader.new_key(), 3 * LOT)
    chain.claim(funds.point)
    return world.trader.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds)


def _cheap(world: World) -> PlaceLimit:
    chain, trader = world.exchange.chains[LTC], world.trader
    cheap = chain.spend(chain.fund(trader.new_key(), 3 * LOT), trader.new_key(), rate=1)
    return trader.limit_order(MARKET, Side.SELL, LOT, RATE, cheap)


def _rich(world: World, lots: int, rate: int = RATE) -> PlaceLimit:
    funds = world.exchange.chains[LTC].fund(world.trader.new_key(), 2 * lots * LOT)
    return world.trader.limit_order(MARKET, Side.SELL, lots * LOT, rate, funds)


def _never_seen(world: World, trader: Trader) -> PlaceLimit:
    funds = world.exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    world.exchange.chains[LTC].unindexed.add(funds.point)
    return trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds)


async def _not_found(world: World) -> int:
    """The server looks for a minute."""
    waiting = asyncio.create_task(refusal(world.trader.place(_never_seen(world, world.trader))))
    while not waiting.done():
        await world.pass_time()
    return await waiting


async def _many_coins(world: World) -> int:
    """No struct holds so many, so the message is put together by hand."""
    order = json.loads(encode(sell(world)))
    order["coins"] *= 256
    number = next(NUMBERS)
    return await refusal(world.trader.ask_raw(number, request(number, "limit", order), Raw))


async def _reused(world: World) -> int:
    """The epoch of the first order stays unprocessed, because its owner keeps the preimage."""
    silent: Trader = world.kept["silent"]
    funds = [world.exchange.chains[LTC].fund(silent.new_key(), 3 * LOT) for _ in range(2)]
    first = silent.limit_order(MARKET, Side.SELL, LOT, RATE, funds[0])
    await silent.place(first)
    again = silent.limit_order(MARKET, Side.SELL, LOT, RATE, funds[1], commitment=first.commitment)
    code = await refusal(silent.place(again))
    await world.pass_time(PREIMAGE_TIMEOUT_MS / 2_000)
    await world.pass_time(PREIMAGE_TIMEOUT_MS / 2_000)
    return code


async def _out_of_view(world: World) -> int:
    chain = world.exchange.chains[LTC]
    order = sell(world)
    chain.mute = True
    code = await refusal(world.trader.place(order))
    chain.mute = False
    return code


async def _not_in_view(world: World) -> int:
    chain, market = world.exchange.chains[LTC], world.exchange.running.manager.markets["ltc_btc"]
    chain.connected = False
    await until(lambda: not market.running_now)
    code = await refusal(world.trader.place(sell(world)))
    chain.connected = True
    return code


PREFIX = (
    _limit("another account", E.ORDER_PARAMETER, account_id=Hex(bytes(32))),
    _market("another account", E.ORDER_PARAMETER, account_id=Hex(bytes(32))),
    _cancel("another account", E.ORDER_PARAMETER, account_id=Hex(bytes(32))),
    asks("trader", routes.LIMIT, "no signature", E.SIGNATURE, lambda w: replace(sell(w), sig=Hex())),
    asks("trader", routes.LIMIT, "signature of other bytes", E.SIGNATURE, lambda w: replace(sell(w), quantity=LOT)),
    asks("trader", routes.LIMIT, "another's signature", E.SIGNATURE, lambda w: signed(w.guest.key, sell(w))),
    asks("trader", routes.MARKET, "signature of other bytes", E.SIGNATURE, lambda w: replace(market_sell(w), base=42)),
    asks("trader", routes.CANCEL, "signature not DER", E.SIGNATURE, lambda w: replace(cancel(w), sig=Hex(b"\x30"))),
    _limit("unknown market", E.UNKNOWN_MARKET_ERROR, base=42),
    _market("unknown market", E.UNKNOWN_MARKET_ERROR, quote=42),
    _cancel("unknown market", E.UNKNOWN_MARKET_ERROR, base=42),
    _limit("side 3", E.ORDER_PARAMETER, side=3),
    _market("side 0", E.ORDER_PARAMETER, side=0),
    asks("trader", routes.CANCEL, "target too short", E.ORDER_PARAMETER, lambda w: cancel(w, bytes(31))),
    _cancel("target of nothing", E.UNKNOWN_ORDER),
    asks("trader", routes.CANCEL, "immediate order", E.UNKNOWN_ORDER, lambda w: cancel(w, w.kept["immediate"])),
    asks("trader", routes.CANCEL, "order that ended", E.UNKNOWN_ORDER, lambda w: cancel(w, w.kept["ended"])),
    asks("trader", routes.CANCEL, "stranger's order", E.UNKNOWN_MARKET_ERROR, lambda w: cancel(w, w.kept["strange"])),
)

FORM = (
    _limit("order type of another route", E.ORDER_PARAMETER, order_type=2),
    _market("order type of another route", E.ORDER_PARAMETER, order_type=1),
    asks(
        "trader",
        routes.CANCEL,
        "order type of another route",
        E.ORDER_PARAMETER,
        lambda w: cancel(w, w.kept["booked"], order_type=1),
    ),
    _limit("rate 0", E.ORDER_PARAMETER, rate=0),
    _limit("rate off the step", E.ORDER_PARAMETER, rate=RATE + 1),
    _limit("time in force 3", E.ORDER_PARAMETER, time_in_force=3),
    _limit("time in force 0", E.ORDER_PARAMETER, time_in_force=0),
    _limit(
        "post-only and immediate",
        E.ORDER_PARAMETER,
        time_in_force=int(TimeInForce.IMMEDIATE),
        options=OrderOptions(post_only=True),
    ),
    _market("post-only", E.ORDER_PARAMETER, options=OrderOptions(post_only=True)),
    _later("clock behind", -CLOCK_TOLERANCE_MS - 1, routes.LIMIT, sell),
    _later("clock ahead", CLOCK_TOLERANCE_MS + 5_000, routes.LIMIT, sell),
    _later("clock behind", -CLOCK_TOLERANCE_MS - 1, routes.MARKET, market_sell),
    _later("clock ahead", CLOCK_TOLERANCE_MS + 5_000, routes.CANCEL, lambda w, **c: cancel(w, w.kept["booked"], **c)),
    _limit("server time set", E.ORDER_PARAMETER, server_time=1),
    _market("server time set", E.ORDER_PARAMETER, server_time=1),
    asks(
        "trader",
        routes.LIMIT,
        "address of the wrong chain",
        E.ORDER_PARAMETER,
        lambda w: sell(w, address=_address(w, LTC)),
    ),
    asks(
        "trader",
        routes.LIMIT,
        "address in capitals",
        E.ORDER_PARAMETER,
        lambda w: sell(w, address=_address(w, BTC).upper()),
    ),
    _limit("no address", E.ORDER_PARAMETER, address=""),
    _limit("address of another network", E.ORDER_PARAMETER, address="bc1qq3wc0u7x0nezw3hfjkh45ffk09gm4ghl0k7dwe"),
    _limit("quantity 0", E.ORDER_PARAMETER, quantity=0),
    _limit("quantity off the lots", E.ORDER_PARAMETER, quantity=LOT + 1),
    _market("quantity 0", E.ORDER_PARAMETER, quantity=0),
    _market("quantity off the lots", E.ORDER_PARAMETER, quantity=LOT + 1),
    _limit("commitment too short", E.ORDER_PARAMETER, commitment=Hex(bytes(31))),
    _limit("no commitment", E.ORDER_PARAMETER, commitment=Hex()),
    asks(
        "trader",
        routes.CANCEL,
        "commitment too long",
        E.ORDER_PARAMETER,
        lambda w: cancel(w, w.kept["booked"], commitment=Hex(bytes(33))),
    ),
)

COINS = (
    _limit("no coins", E.FUNDING, coins=[]),
    _market("no coins", E.FUNDING, coins=[]),
    Row("limit", "more coins than a byte counts", E.PARSE, _many_coins),
    _coin("coin without a signature", E.SIGNATURE, signatures=[]),
    _coin("coin without a key", E.ORDER_PARAMETER, public_keys=[]),
    _coin("coin ID too short", E.FUNDING, coin_id=Hex(bytes(35))),
    _coin("no coin ID", E.FUNDING, coin_id=Hex()),
    _coin("coin signed by a stranger", E.COIN_AUTH, signatures=lambda t: [Hex(t.new_key().sign(bytes(32)))]),
    _coin("coin of a stranger", E.COIN_AUTH, public_keys=lambda t: [Hex(t.new_key().public)]),
    _coin("key that is none", E.COIN_AUTH, public_keys=[Hex(b"\5" * 33)]),
    _coin("coin signature not DER", E.COIN_AUTH, signatures=[Hex(b"\x30")]),
    _coin("script for a coin that has none", E.COIN_AUTH, redeem=Hex(b"\x51")),
    asks("trader", routes.LIMIT, "the same coin twice", E.FUNDING, lambda w: sell(w, coins=sell(w).coins * 2)),
    asks("trader", routes.LIMIT, "coin of another order", E.FUNDING, lambda w: w.kept["again"]),
    asks("trader", routes.LIMIT, "coin that is spent", E.FUNDING, _spent),
    asks("trader", routes.LIMIT, "unconfirmed coin that pays too little", E.FUNDING, _cheap),
    asks("trader", routes.LIMIT, "the same order again", E.FUNDING, lambda w: w.kept["sent"]),
)

FUNDS = (
    asks("trader", routes.MARKET, "buy below the buffer", E.FUNDING, lambda w: market_buy(w, LOT // 10)),
    _limit("more than the coins hold", E.FUNDING, quantity=4 * LOT),
    _limit("all that the coins hold, and no fees", E.FUNDING, quantity=3 * LOT),
    _market("more than the coins hold", E.FUNDING, quantity=4 * LOT),
    _limit("more than there can be", E.FUNDING, quantity=HUGE),
    _limit("commitment all zero", E.UNKNOWN_MARKET_ERROR, commitment=Hex(bytes(32))),
    _limit("rate beyond 63 bits", E.UNKNOWN_MARKET_ERROR, rate=2**63 + 100 - 2**63 % 100),
    _limit("rate below the quote chain's dust", E.UNKNOWN_MARKET_ERROR, rate=100),
    Row("limit", "commitment of a running epoch", E.UNKNOWN_MARKET_ERROR, _reused),
    asks("trader", routes.LIMIT, "more parcels than the tier gives", E.QUANTITY_TOO_HIGH, lambda w: _rich(w, 60)),
    Row("limit", "coin never seen", E.TRANSACTION_UNDISCOVERED, _not_found),
    Row("limit", "chain that does not answer", E.TRY_AGAIN_LATER, _out_of_view),
    Row("limit", "chain out of view", E.MARKET_NOT_RUNNING, _not_in_view),
)


ROWS = (*PREFIX, *FORM, *COINS, *FUNDS)
SUSPENDED = (
    _limit("market suspended", E.MARKET_NOT_RUNNING),
    _market("market suspended", E.MARKET_NOT_RUNNING),
    _cancel("market suspended, target of nothing", E.UNKNOWN_ORDER),
)
POOR = (
    _limit("tier below 1", E.ACCOUNT_CLOSED),
    _market("tier below 1", E.ACCOUNT_CLOSED),
)
BROKEN = (
    _limit("order cannot be stored", E.SERVER_INTERNAL),
    asks(
        "guest",
        routes.ORDERBOOK,
        "no feed",
        E.MARKET_NOT_RUNNING,
        lambda _: routes.ORDERBOOK.payload(base=LTC, quote=BTC),
    ),
)
