"""How much an account may have at work at once (protocol section 4.9). Quantities in base atoms."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from twinlock.protocol.book import Book
from twinlock.protocol.constants import MAX_PARCELS_PER_TIER, MAX_SCORE, PARCELS_PER_TIER
from twinlock.protocol.orders import LimitOrder, Side, TimeInForce, TradeOrder
from twinlock.protocol.rates import quote_to_base


class Exposure(msgspec.Struct, frozen=True):
    """What an account has at work on one market.

    maker: booked, and epoch orders unlikely to take. taker: epoch orders likely to take. settling: matches of the
    maker below status 3, of the taker below status 2.
    """

    lot_size: int
    parcel_size: int
    maker: int = 0
    taker: int = 0
    settling: int = 0

    @property
    def parcels(self) -> tuple[int, int]:
        """Unrounded parcels, as numerator and denominator."""
        return self.maker + self.settling + 2 * self.taker, self.lot_size * self.parcel_size


def used(exposures: Iterable[Exposure]) -> int:
    """Parcels over all markets, rounded at 8 decimals and floored."""
    above, below = 0, 1
    for exposure in exposures:
        parcels, unit = exposure.parcels
        above, below = above * unit + parcels * below, below * unit
    scaled, rest = divmod(above * 10**8, below)
    return (scaled + (2 * rest > below or (2 * rest == below and scaled % 2))) // 10**8


def limit(tier: int, score: int) -> int:
    """Parcels that a tier allows, growing with the score."""
    least, most = tier * PARCELS_PER_TIER, tier * MAX_PARCELS_PER_TIER
    return least + (2 * max(score, 0) * (most - least) + MAX_SCORE) // (2 * MAX_SCORE)


def likely_taker(order: TradeOrder, book: Book) -> bool:
    """Whether an order would match the book as it stands."""
    if not isinstance(order, LimitOrder) or order.time_in_force is TimeInForce.IMMEDIATE:
        return True
    return not order.options.post_only and book.crosses(order)


def base_quantity(order: TradeOrder, book: Book) -> int:
    """The order's remaining size in base atoms; a market buy is valued at the mid gap."""
    if isinstance(order, LimitOrder) or order.side is Side.SELL:
        return order.remaining
    middle = book.mid_gap()
    return quote_to_base(middle, order.remaining) if middle else book.lot_size


def with_order(exposure: Exposure, order: TradeOrder, book: Book) -> Exposure:
    """The exposure with an epoch order added at its weight."""
    quantity = base_quantity(order, book)
    if likely_taker(order, book):
        return msgspec.structs.replace(exposure, taker=exposure.taker + quantity)
    return msgspec.structs.replace(exposure, maker=exposure.maker + quantity)
