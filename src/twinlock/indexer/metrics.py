"""Numbers for monitoring, and whether the server is well: /metrics (Prometheus), /healthz, /readyz."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from twinlock.indexer.doors import opening
from twinlock.indexer.env import Service
from twinlock.indexer.operated import Operated

_NONSENSE = (ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
_ENDS = (OSError, TimeoutError, asyncio.CancelledError, *_NONSENSE)
"""What ends a connection and concerns nobody: nonsense, silence, or that the program ends."""


class _Collector:
    """Reads the numbers when they are asked for, so that serving costs nothing."""

    def __init__(self, operated: Operated) -> None:
        self._operated = operated

    def collect(self) -> Iterator[Metric]:
        c = self._operated
        gauges = {
            "height": ("Height of the indexed tip", c.storage.height),
            "transactions": ("Transactions in the index", c.storage.tx_count),
            "index_pieces": ("Pieces that a question looks into", len(c.storage.segments)),
            "mempool_transactions": ("Unconfirmed transactions", len(c.mempool.txs)),
            "sessions": ("Connected wallets", len(c.shared.sessions)),
            "watched_scripts": ("Scripts that somebody is subscribed to", len(c.shared.watchers)),
            "ready": ("1 when wallets are served", int(c.ready)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"twinlock_indexer_{name}", text, value=value)
        trouble = GaugeMetricFamily(
            "twinlock_indexer_trouble", "1 for each thing that keeps the indexer from its work", labels=["code"]
        )
        for code in {trouble.code for trouble in c.troubles.now}:
            trouble.add_metric([code], 1)
        yield trouble
        requests = CounterMetricFamily("twinlock_indexer_requests", "Requests answered", labels=["method"])
        for method, count in c.shared.requests_by_method.items():
            requests.add_metric([method], count)
        yield requests


class MetricsServer:
    """A few HTTP answers; nothing else is understood."""

    def __init__(self, operated: Operated) -> None:
        self._operated = operated
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(operated))
        self._server: asyncio.Server | None = None

    async def start(self, service: Service) -> None:
        """Listen. Raises DoorError."""
        with opening(service):
            self._server = await asyncio.start_server(self._serve, service.host, service.port, limit=1 << 14)

    def close(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()

    def answer(self, path: str) -> tuple[int, bytes]:
        """(status, body) of a path; what follows a question mark does not count."""
        path = path.partition("?")[0]
        if path == "/metrics":
            return 200, generate_latest(self._registry)
        c = self._operated
        if path == "/healthz":  # the program is alive; another start would change nothing
            return 200, f"ok, in trouble: {c.troubles.text}\n".encode() if c.troubles.now else b"ok\n"
        if path == "/readyz":
            if c.troubles.grave:
                return 503, f"in trouble: {c.troubles.text}\n".encode()
            if c.shared.refusing:
                return 503, b"busy: the index is between two chains\n"
            return (200, b"ready\n") if c.ready else (503, b"syncing\n")
        return 404, b"not found\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*_ENDS):
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            status, body = self.answer(head.split(b" ", 2)[1].decode())
            reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[status]
            writer.write(
                f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()
