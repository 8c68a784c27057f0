"""When an order may be asked for at all, whoever's clock is wrong."""

from __future__ import annotations

import pytest

from twinlock.client.drafts import may_run
from twinlock.protocol.constants import CLOCK_TOLERANCE_MS
from twinlock.protocol.messages.config import Market, MarketStatus

NOW_MS, EPOCH_MS = 2_000_000_000_000, 10_000
NOW = NOW_MS // EPOCH_MS
FAR = CLOCK_TOLERANCE_MS // EPOCH_MS + 2


@pytest.mark.parametrize(
    ("start", "final", "runs"),
    [
        (0, 0, False),
        (1, 0, True),
        (NOW + FAR, 0, True),  # it has begun by the server's clock: ours is wrong
        (1, NOW - FAR, False),
        (1, NOW - 1, True),  # our clock may be somewhat ahead
        (1, NOW + FAR, True),
        (NOW + FAR, NOW - FAR, False),
        (NOW + 1, NOW - FAR, True),
        (NOW - 1, NOW - FAR, True),
    ],
)
def test_a_market_that_may_run_is_asked(start: int, final: int, runs: bool) -> None:
    offer = Market(
        name="ltc_btc",
        base=2,
        quote=0,
        epoch_ms=EPOCH_MS,
        lot_size=1,
        rate_step=1,
        buy_buffer=1.25,
        parcel_size=1,
        status=MarketStatus(start_epoch=start, final_epoch=final),
    )
    assert may_run(offer, NOW_MS) is runs
