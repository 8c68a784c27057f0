"""Matches for tests: two traders, a booked sell, and a buy that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.trader import Trader

from twinlock.chain.spend import Input
from twinlock.protocol import routes
from twinlock.protocol.messages.swaps import Init, Match
from twinlock.protocol.orders import Side
from twinlock.protocol.rates import base_to_quote

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
