"""The fee rate that an epoch's matches must pay on a chain (protocol section 6.4)."""

from __future__ import annotations

from collections.abc import Callable

from twinlock.protocol.constants import FEE_RATE_GRACE_MS


class FeeRate:
    """Scaled by the operator, capped, and slow to rise.

    A higher rate is used a minute after it was first seen, so that who just looked the lower one up is not refused.

    >>> now = [0]
    >>> rate = FeeRate(max_rate=20, now_ms=lambda: now[0])
    >>> rate.current, rate.observe(5), rate.observe(9)
    (20, 5, 5)
    >>> now[0] = 60_000
    >>> rate.observe(9), rate.observe(0), rate.observe(3)
    (9, 9, 3)
    """

    def __init__(self, max_rate: int, now_ms: Callable[[], int], scale: float = 1.0) -> None:
        self._max_rate = max_rate
        self._now_ms = now_ms
        self._known = 0
        self._higher = 0
        self._higher_since = 0
        self.scale = scale
        self.fetched = 0
        """What the chain gave last."""

    @property
    def current(self) -> int:
        """The last known rate; the maximum before anything is known."""
        return self._known or self._max_rate

    def observe(self, fetched: int) -> int:
        """Take a freshly fetched rate in; 0 means that the chain gave none. Returns the rate to use."""
        self.fetched = fetched or self.fetched
        rate = self._bounded(fetched)
        if not self._known or rate <= self._known:
            self._known, self._higher = rate, 0
        elif not self._higher:
            self._higher, self._higher_since = rate, self._now_ms()
        elif self._now_ms() - self._higher_since >= FEE_RATE_GRACE_MS:
            self._known, self._higher = rate, 0
        return self._known

    def _bounded(self, fetched: int) -> int:
        if fetched <= 0:
            return self.current
        return min(self._max_rate, max(1, round(fetched * self.scale)))
