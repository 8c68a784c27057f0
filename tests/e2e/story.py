"""What a story without a stage of its own needs: an exchange's plan, money, and a price."""

from __future__ import annotations

from twinlock.simnet.exchange import Plan

PLAN = Plan(epoch_ms=1_000, block_seconds=0.5)
FUNDS = {"btc": 100_000_000, "ltc": 4_000_000_000}
RATE = 150_000
