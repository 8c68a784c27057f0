"""Who may still ask: the protocol's token buckets, kept for each address, each link and for everybody.

The sizes of the buckets and which route draws from which stand in `twinlock.protocol.limits` and
`twinlock.protocol.routes`. Seconds come from the caller's clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from twinlock.protocol.limits import ALLOWANCES, Meter, TokenBucket
from twinlock.protocol.routes import ROUTES
from twinlock.server.comms.addresses import is_loopback

_ADDRESSES_MAX = 20_000
_OWN_BUCKET = frozenset(ALLOWANCES) - {Meter.CUMULATIVE, Meter.DATA, Meter.DATA_GLOBAL, Meter.MARKET_DATA}


class Granted(NamedTuple):
    """Whether a request is allowed, and what is left. wait_s: until the next is; reset_s: until all are."""

    allowed: bool
    limit: int
    left: int
    wait_s: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """As an HTTP answer tells it."""
        told = {"RateLimit-Limit": self.limit, "RateLimit-Remaining": self.left, "RateLimit-Reset": self.reset_s}
        if not self.allowed:
            told["Retry-After"] = self.wait_s
        return {name: str(value) for name, value in told.items()}


class PeerMeter:
    """The buckets of one peer, made when first drawn from: an idle peer costs an empty table."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[Meter, TokenBucket] = {}

    def take(self, meter: Meter, now: float) -> bool:
        """Draw one token from the meter's own bucket, if it has one, and from the cumulative one."""
        own = meter not in _OWN_BUCKET or self.take_only(meter, now)
        return self.take_only(Meter.CUMULATIVE, now) and own

    def take_only(self, meter: Meter, now: float) -> bool:
        """Draw one token from exactly that bucket."""
        return self.bucket(meter, now).take(now)

    def bucket(self, meter: Meter, now: float) -> TokenBucket:
        """The meter's own bucket."""
        bucket = self._buckets.get(meter)
        if bucket is None:
            bucket = self._buckets[meter] = TokenBucket(ALLOWANCES[meter], now)
        return bucket


class Meters:
    """The meters of all addresses, bounded: the least recently seen is forgotten first.

    seconds: the clock, monotonic.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._addresses: OrderedDict[str, PeerMeter] = OrderedDict()
        self._data_for_all = TokenBucket(ALLOWANCES[Meter.DATA_GLOBAL], seconds())

    def allows(self, route: str, address: str, link: PeerMeter) -> bool:
        """Charge one message of a link to its address and to itself.

        Behind an address of this machine are all clients of an onion service, or of whatever ends the TLS: each of
        them is charged alone.
        """
        known = ROUTES.get(route)
        meter = known.meter if known is not None else Meter.NONE
        if meter is Meter.EXEMPT:
            return True
        if meter is Meter.DATA:
            return self.allows_data(address)
        now = self._seconds()
        return link.take(meter, now) and (is_loopback(address) or self._of(address).take(meter, now))

    def allows_data(self, address: str) -> bool:
        """Charge one request of the data API, over whichever transport it came."""
        return self.grant_data(address).allowed

    def grant_data(self, address: str) -> Granted:
        """The same, and what is left."""
        return self._grant(address, Meter.DATA)

    def grant_market_data(self, address: str) -> Granted:
        """Charge one request of the listing sites' API."""
        return self._grant(address, Meter.MARKET_DATA)

    def _grant(self, address: str, meter: Meter) -> Granted:
        now = self._seconds()
        bucket, limit = self._of(address).bucket(meter, now), ALLOWANCES[meter].burst
        own = bucket.take(now)
        allowed = own and self._data_for_all.take(now)
        wait = 0 if allowed else max(1, bucket.seconds_to(1))
        return Granted(allowed, limit, bucket.left, wait, bucket.seconds_to(limit))

    def _of(self, address: str) -> PeerMeter:
        meter = self._addresses.get(address)
        if meter is None:
            meter = self._addresses[address] = PeerMeter()
            if len(self._addresses) > _ADDRESSES_MAX:
                self._addresses.popitem(last=False)
        else:
            self._addresses.move_to_end(address)
        return meter
