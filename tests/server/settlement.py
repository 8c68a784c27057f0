"""Matches for tests: two traders, a booked sell, and a buy that takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.trader import Trader

from twinlock.chain.spend import Input
from twinlock.protocol import routes
from twinlock.protocol.messages.swaps import Init, Match
from twinlock.protocol.orders import Side
from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex

QUANTITY = 2 * LOT
VALUE = base_to_quote(RATE, QUANTITY)
MAKER_LOCK_S, TAKER_LOCK_S = 20 * 3600, 8 * 3600


@dataclass
class Made:
    """A match between two traders; the maker sells."""

    maker: Trader
    taker: Trader
    match: Match
    funds: Input
    money: Input

    @property
    def id(self) -> bytes:
        return bytes(self.match.match_id)

    @property
    def made_s(self) -> int:
        return self.match.server_time // 1000

    async def maker_contract(self, secret_hash: bytes, **changes: Any) -> Init:
        terms: dict[str, Any] = {
            "value": QUANTITY,
            "lock_time": self.made_s + MAKER_LOCK_S,
            "funds": self.funds,
        } | changes
        return await self.maker.make_contract(self.id, LTC, secret_hash=secret_hash, **terms)

    async def taker_contract(self, secret_hash: bytes, **changes: Any) -> Init:
        terms: dict[str, Any] = {"value": VALUE, "lock_time": self.made_s + TAKER_LOCK_S, "funds": self.money}
        return await self.taker.make_contract(self.id, BTC, secret_hash=secret_hash, **(terms | changes))


async def matched(exchange: Exchange, *, addresses: bool = True, self_trade: bool = False, lots: int = 2) -> Made:
    """Two traders, a booked sell of so many lots, and a buy that takes two of them."""
    maker = await exchange.trader(tiers=4)
    taker = maker if self_trade else await exchange.trader()
    if not addresses:
        taker.acknowledge = lambda _: []
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, lots * LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, QUANTITY, RATE, money))
    matches = await taker.note(routes.MATCH)
    made = Made(maker, taker, matches[-1], funds, money)
    if addresses:
        await maker.counterparty(made.id)
        await taker.counterparty(made.id)
    return made


async def settle(
    exchange: Exchange,
    maker: Trader,
    taker: Trader,
    market: tuple[int, int],
    rate: int = RATE,
    between: Callable[[], None] = lambda: None,
) -> bytes:
    """A whole trade of one lot on any market, the maker selling; `between` is called between any two steps."""
    base, quote = market
    value = base_to_quote(rate, LOT)
    funds, money = (
        exchange.chains[base].fund(maker.new_key(), 4 * LOT),
        exchange.chains[quote].fund(taker.new_key(), 4 * LOT),
    )
    sold = await maker.place(maker.limit_order(market, Side.SELL, LOT, rate, funds))
    await maker.booked(sold.order_id, market)
    between()
    bought = await taker.place(taker.limit_order(market, Side.BUY, LOT, rate, money))
    found = await taker.note(routes.MATCH, lambda note: any(each.order_id == bought.order_id for each in note))
    [made] = [each for each in found if each.order_id == bought.order_id]
    match_id, made_s = bytes(made.match_id), made.server_time // 1000
    secret, secret_hash = maker.new_secret()
    between()
    order_ids = {"maker": bytes(sold.order_id), "taker": bytes(bought.order_id)}
    await maker.ask(
        routes.INIT,
        await maker.make_contract(
            match_id, base, LOT, secret_hash, made_s + MAKER_LOCK_S, funds, order_id=order_ids["maker"]
        ),
    )
    audit = await taker.note(routes.AUDIT, lambda note: note.order_id == bought.order_id)
    exchange.chains[base].mine()
    between()
    await taker.ask(
        routes.INIT,
        await taker.make_contract(
            match_id, quote, value, secret_hash, made_s + TAKER_LOCK_S, money, order_id=order_ids["taker"]
        ),
    )
    answer = await maker.note(routes.AUDIT, lambda note: note.order_id == sold.order_id)
    exchange.chains[quote].mine()
    between()
    redeemed = maker.make_redemption(match_id, quote, answer, secret)
    await maker.ask(routes.REDEEM, signed(maker.key, replace(redeemed, order_id=Hex(order_ids["maker"]))))
    shown = await taker.note(routes.REDEMPTION, lambda note: note.match_id == match_id and note.secret == secret)
    between()
    last = taker.make_redemption(match_id, base, audit, bytes(shown.secret))
    await taker.ask(routes.REDEEM, signed(taker.key, replace(last, order_id=Hex(order_ids["taker"]))))
    return match_id
