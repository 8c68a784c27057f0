"""Where connections come from, as far as limits, quarantine and rates are concerned."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_KNOWN_MAX = 4_096


def origin(address: str) -> str:
    """Whom an address stands for: an IPv4 address for itself, of IPv6 the network that one customer is given.

    Text that is no address stays as it is.

    >>> origin("8.8.4.4"), origin("::ffff:8.8.4.4"), origin("2600:db8:1:2::3"), origin("::1")
    ('8.8.4.4', '8.8.4.4', '2600:db8:1:2::/64', '::1')
    """
    try:
        parsed = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return address
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.version == 4 or parsed.is_loopback:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@lru_cache(_KNOWN_MAX)  # every message asks
def is_loopback(address: str) -> bool:
    """Whether an origin is this machine, behind which many clients may be."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
