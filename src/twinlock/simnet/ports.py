"""Free TCP ports on loopback."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

_LOWEST = 10_000
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_OUTGOING = 32_768


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now, drawn at random, so that a clash is unlikely.

    They lie below those that the kernel gives to outgoing connections: of these, one that is free now may be some
    connection's a moment later.
    """
    ports = range(_LOWEST, max(_first_outgoing(), 2 * _LOWEST))
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            port = SystemRandom().choice(ports)
            holder = stack.enter_context(socket.socket())
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def _first_outgoing() -> int:
    try:
        return int(_OUTGOING.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_OUTGOING
