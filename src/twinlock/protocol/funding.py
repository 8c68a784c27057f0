"""What a market asks of an order, and how much an order moves (protocol sections 5.7 and 5.8)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from twinlock.protocol.messages.orders import PlaceLimit, PlaceMarket
from twinlock.protocol.orders import Side
from twinlock.protocol.rates import base_to_quote, quote_to_base


@dataclass(frozen=True, kw_only=True)
class MarketRules:
    """What a market asks of an order. Amounts in atoms, rates as message-rates, times in ms.

    minimum_rate: below it one lot is worth less than the quote chain's smallest swap.
    """

    lot_size: int
    rate_step: int
    minimum_rate: int
    buy_buffer: float
    running: bool


def market_buy_minimum(rules: MarketRules, mid_gap: int) -> int:
    """Quote atoms that a market buy must bring at least, so that the price may move before it matches."""
    return base_to_quote(mid_gap or rules.rate_step, int(rules.lot_size * Fraction(str(rules.buy_buffer))))


def swap_value(message: PlaceLimit | PlaceMarket) -> int:
    """Atoms of the funding asset that the order's swaps move together."""
    if isinstance(message, PlaceLimit) and message.side == Side.BUY:
        return base_to_quote(message.rate, message.quantity)
    return message.quantity


def lots(message: PlaceLimit | PlaceMarket, rules: MarketRules, mid_gap: int) -> int:
    """In how many swaps an order may be settled: one for each lot, or as many as it allows matches."""
    base = message.quantity
    if isinstance(message, PlaceMarket) and message.side == Side.BUY:
        base = quote_to_base(mid_gap or rules.rate_step, message.quantity)
    return min(base // rules.lot_size, message.asked.max_matches or base)
