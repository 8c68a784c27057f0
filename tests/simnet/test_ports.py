"""Free ports are free, different, and no outgoing connection's."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from twinlock.simnet.ports import free_ports


def test_each_can_be_listened_on_at_once() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with ExitStack() as stack:
        for port in ports:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", port))
            listener.listen()
        assert set(free_ports(20)).isdisjoint(ports)


def test_none_is_among_those_of_outgoing_connections() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first >= 20_000:
        assert not any(first <= port <= last for port in free_ports(50))
