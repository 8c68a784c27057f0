"""How much a peer may send (protocol section 1.3). The arithmetic of a token bucket; who owns one decides when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import Final

MAX_FRAME_BEFORE_CONNECT: Final = 8_192
MAX_FRAME: Final = 262_144
"""Bytes of one inbound frame, before and after `connect` succeeded."""
MAX_CLIENTS: Final = 10_000
MAX_CONNECTIONS_PER_IP: Final = 8
QUARANTINE_MS: Final = 3_600_000
MAX_SEND_QUEUE: Final = 7_168
"""Messages waiting for one link; a link that reaches it is closed."""


class Meter(Enum):
    """Groups of routes that share a token bucket. Every value but EXEMPT and DATA also draws from CUMULATIVE."""

    STATUS = "status"
    ORDERS = "orders"
    INFO = "info"
    SUBSCRIPTIONS = "subscriptions"
    CONNECT = "connect"
    CUMULATIVE = "cumulative"
    DATA = "data"
    DATA_GLOBAL = "data, all peers together"
    MARKET_DATA = "market data for listing sites and programs"
    NONE = "no bucket of its own"
    EXEMPT = "not metered"


@dataclass(frozen=True)
class Allowance:
    """A bucket's size: tokens refilled per second, and the most it holds."""

    per_second: float
    burst: int


ALLOWANCES: Final = {
    Meter.STATUS: Allowance(10, 500),
    Meter.ORDERS: Allowance(5, 100),
    Meter.INFO: Allowance(10, 200),
    Meter.SUBSCRIPTIONS: Allowance(0.5, 100),
    Meter.CONNECT: Allowance(0.2, 100),
    Meter.CUMULATIVE: Allowance(40, 1_000),
    Meter.DATA: Allowance(1, 5),
    Meter.DATA_GLOBAL: Allowance(100, 1_000),
    Meter.MARKET_DATA: Allowance(10, 100),
}


class TokenBucket:
    """A bucket that starts full.

    >>> bucket = TokenBucket(Allowance(per_second=1, burst=2), now=0.0)
    >>> [bucket.take(0.0), bucket.take(0.0), bucket.take(0.5), bucket.take(1.0)]
    [True, True, False, True]
    """

    __slots__ = ("_allowance", "_at", "_tokens")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._tokens = float(allowance.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now` (seconds of a monotonic clock); takes a token if so."""
        elapsed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(float(self._allowance.burst), self._tokens + elapsed * self._allowance.per_second)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def left(self) -> int:
        """Whole tokens at the last taking."""
        return int(self._tokens)

    def seconds_to(self, tokens: int) -> int:
        """Whole seconds after the last taking until there are so many, at least 1 if there are fewer."""
        missing = tokens - self._tokens
        return max(1, ceil(missing / self._allowance.per_second)) if missing > 0 else 0
