"""Constants of the protocol (API version 3), each with its unit. All are facts of the wire, not settings."""

from __future__ import annotations

from typing import Final

API_VERSION: Final = 3
"""The only version that clients of this generation accept in `config`."""

# Times, in milliseconds unless the name says otherwise.
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS

EPOCH_MS: Final = 20 * SECOND_MS
CLIENT_REQUEST_TIMEOUT_MS: Final = 60 * SECOND_MS
PREIMAGE_TIMEOUT_MS: Final = 20 * SECOND_MS
MATCH_TIMEOUT_MS: Final = 30 * SECOND_MS
BROADCAST_TIMEOUT_MS: Final = 12 * MINUTE_MS
FUNDING_SEARCH_MS: Final = MINUTE_MS
FUNDING_RETRY_MS: Final = 2 * SECOND_MS
BOND_POLL_MS: Final = 5 * SECOND_MS
BOND_EXPIRY_CHECK_MS: Final = 20 * SECOND_MS
CLOCK_TOLERANCE_MS: Final = 10 * MINUTE_MS
FEE_RATE_GRACE_MS: Final = MINUTE_MS

LOCK_TIME_MAKER_MS: Final = 20 * HOUR_MS
LOCK_TIME_TAKER_MS: Final = 8 * HOUR_MS
"""Lock times count from the end of the match's epoch (`tserver`)."""

PING_MS: Final = 18 * SECOND_MS
PONG_WAIT_MS: Final = 20 * SECOND_MS
READ_DEADLINE_MS: Final = 36 * SECOND_MS

# Bonds and reputation.
BOND_VERSION: Final = 0
BOND_EXPIRY_S: Final = {"mainnet": 30 * 24 * 3600, "testnet": 180 * 60, "regtest": 4 * 60}
BOND_PENDING_BUFFER_S: Final = {"mainnet": 90 * 60, "testnet": 20 * 60, "regtest": 90}
MAX_BOND_LIFE_S: Final = 120 * 24 * 3600
PREPAID_ASSET_ID: Final = 2**31 - 1
PREPAID_CODE_BYTES: Final = 16
PREPAID_MIN_LIFE_S: Final = 24 * 3600
BOND_RECOVERY_INDICES: Final = 10_000

PENALTY_THRESHOLD: Final = 20
MAX_SCORE: Final = 60
CANCEL_THRESHOLD: Final = 0.95
MATCH_WINDOW: Final = 60
PREIMAGE_WINDOW: Final = 40
ORDER_WINDOW: Final = 100
PARCELS_PER_TIER: Final = 2
MAX_PARCELS_PER_TIER: Final = 6

# Orders and books.
RATE_FACTOR: Final = 10**8
"""A message-rate is quote atoms per this many base atoms."""
MAX_ORDER_VALUE: Final = 2**63 - 1
MAX_COINS: Final = 255
RECENT_MATCHES: Final = 100
CANDLES_DEFAULT: Final = 50
CANDLES_MAX: Final = 1_000
CANDLE_BINS: Final = {"24h": 24 * HOUR_MS, "1h": HOUR_MS, "5m": 5 * MINUTE_MS}
ORDER_STATUS_BATCH: Final = 10_000
SNAPSHOT_ORDERS: Final = 65_535

# Hashes and keys, in bytes.
HASH_BYTES: Final = 32
SECRET_BYTES: Final = 32
