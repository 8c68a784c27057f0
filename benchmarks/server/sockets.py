"""Blocking sockets that speak just enough WebSocket to load a server: the cost is in the kernel, not here."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence

_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MASKED, _MASK = 0x80, bytes(4)  # a mask of zeros: the server undoes it like any other


def text(payload: bytes) -> bytes:
    """A masked text frame."""
    size = len(payload)
    length = bytes((_MASKED | size,)) if size < 126 else bytes((_MASKED | 126,)) + size.to_bytes(2, "big")
    return b"\x81" + length + _MASK + payload


def source(number: int) -> str:
    """A loopback address of its own for each connection, so that each has its own token buckets."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def dial(port: int, number: int, *, tls: bool = False) -> socket.socket:
    """An upgraded connection."""
    raw = socket.create_connection(("127.0.0.1", port), source_address=(source(number), 0), timeout=60)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the default one reads a store of certificates each time
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = context.wrap_socket(raw)
    raw.sendall(_HANDSHAKE)
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(4_096)
    if b" 101 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(head.decode())
    return raw


def ask(link: socket.socket, message: bytes, until: bytes = b'"type":2') -> bytes:
    """Send a message and read until the answer is there."""
    link.sendall(text(message))
    answer = b""
    while until not in answer:
        data = link.recv(1 << 20)
        if not data:
            raise ConnectionError(answer.decode("latin-1"))
        answer += data
    return answer


class Reader:
    """Reads all of many sockets as fast as the kernel gives it; `took` is called with socket number and bytes."""

    def __init__(self, links: Sequence[socket.socket], took: Callable[[int, bytes], None]) -> None:
        self._selector = selectors.DefaultSelector()
        self._took = took
        for number, link in enumerate(links):
            link.setblocking(False)
            self._selector.register(link, selectors.EVENT_READ, number)

    def run(self, done: Callable[[], bool], patience_s: float) -> None:
        """Until `done`, or nothing came for so long."""
        last = time.monotonic()
        while not done():
            ready = self._selector.select(0.1)
            now = time.monotonic()
            if ready:
                last = now
            elif now - last > patience_s:
                return
            for key, _ in ready:
                self._read(key.fileobj, key.data)  # type: ignore[arg-type]

    def _read(self, link: socket.socket, number: int) -> None:
        try:
            while data := link.recv(1 << 18):
                self._took(number, data)
                if not isinstance(link, ssl.SSLSocket):
                    return
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        self._selector.unregister(link)


def cpu_seconds(pid: int, *, loop_only: bool = False) -> float:
    """User and system time of a process, or of its first thread, in which the event loop runs."""
    with open(f"/proc/{pid}/task/{pid}/stat" if loop_only else f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """What a process holds in memory."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
