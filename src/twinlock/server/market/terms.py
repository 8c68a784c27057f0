"""What a market is: the operator's numbers, frozen."""

from __future__ import annotations

import msgspec

from twinlock.protocol.rates import minimum_rate


class MarketTerms(msgspec.Struct, frozen=True, kw_only=True):
    """lot_size: base atoms. rate_step: message-rate. min_quote_lot: quote atoms that one lot must be worth."""

    name: str
    base: int
    quote: int
    lot_size: int
    rate_step: int
    epoch_ms: int
    buy_buffer: float
    parcel_size: int
    min_quote_lot: int = 1
    max_epoch_cancels: int = 2

    @property
    def minimum_rate(self) -> int:
        """The lowest acceptable message-rate (protocol section 5.7, last paragraph)."""
        return minimum_rate(self.min_quote_lot, self.lot_size)
