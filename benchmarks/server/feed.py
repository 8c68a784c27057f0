"""The load of the book feed, two processes that print JSON.

`read PORT TLS SUBSCRIBERS UPDATES`: so many connections subscribe; when did each update reach the last of them?
`send PORT TLS RATE SECONDS`: places orders at an even rate. Each accepted order is one update.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
import time
from itertools import chain
from typing import Any

from benchmarks.server.intake import login, orders
from benchmarks.server.sockets import Reader, ask, dial
from benchmarks.server.world import BTC, LTC, World

from twinlock.protocol import envelope
from twinlock.protocol.messages.book import BookSubscription

SENDERS, ORDERS_EACH = 80, 100
_UPDATE = b'"route":"epoch_order"'
_ACCEPTED = re.compile(rb'"time":(\d+)')
_READERS_ADDRESS = 1_000


class Subscribers:
    """Counts updates on every link; all links get the same ones in the same order."""

    def __init__(self, port: int, links: int, *, tls: bool) -> None:
        request = envelope.request(1, "orderbook", BookSubscription(base=LTC, quote=BTC))
        self.links = [dial(port, _READERS_ADDRESS + number, tls=tls) for number in range(links)]
        for link in self.links:
            ask(link, request)
        self.seen = [0] * links
        self.tails = [b""] * links
        self.last: list[float] = []
        self.first_link = bytearray()
        self.reads = 0

    def take(self, number: int, data: bytes) -> None:
        now, self.reads = time.time(), self.reads + 1
        if number == 0:
            self.first_link += data
        found = (self.tails[number] + data).count(_UPDATE)
        self.tails[number] = data[1 - len(_UPDATE) :]
        start = self.seen[number]
        end = self.seen[number] = start + found
        self.last.extend([now] * (end - len(self.last)))
        self.last[start:end] = [now] * found

    def run(self, updates: int) -> dict[str, Any]:
        print("ready", flush=True)
        began = time.process_time()
        Reader(self.links, self.take).run(lambda: min(self.seen) >= updates, patience_s=10)
        accepted = [int(time_) / 1000 for time_ in _ACCEPTED.findall(self.first_link)]
        took = [arrived - sent for arrived, sent in zip(self.last, accepted, strict=False)]
        return {
            "updates": len(took),
            "complete": min(self.seen) == len(took),
            "frames_per_second": round(sum(self.seen) / (self.last[-1] - accepted[0])),
            "p50_ms": round(statistics.median(took) * 1000, 1),
            "p99_ms": round(statistics.quantiles(took, n=100)[98] * 1000, 1),
            "max_ms": round(max(took) * 1000, 1),
            "frames_per_read": round(sum(self.seen) / self.reads, 1),
            "reader_cpu_seconds": round(time.process_time() - began, 2),
        }


def send(port: int, rate: int, seconds: int, *, tls: bool) -> dict[str, Any]:
    """Place orders at an even rate, in turn from all senders."""
    world, draw = World(SENDERS, ORDERS_EACH), random.Random(2)
    links = [dial(port, number, tls=tls) for number in range(SENDERS)]
    for number, link in enumerate(links):
        login(link, world, number)
    frames = [orders(world, number, draw) for number in range(SENDERS)]
    turns = list(chain.from_iterable(zip(links, turn, strict=True) for turn in zip(*frames, strict=True)))
    began, late = time.perf_counter(), 0.0
    for number, (link, frame) in enumerate(turns[: rate * seconds]):
        wait = began + number / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        late = max(late, -wait)
        link.sendall(frame)
    return {"sent": rate * seconds, "latest_ms": round(late * 1000, 1)}


def main() -> None:
    role, *words = sys.argv[1:]
    port, tls, first, second = (int(word) for word in words)
    if role == "read":
        print(json.dumps(Subscribers(port, first, tls=bool(tls)).run(second)))
    else:
        print(json.dumps(send(port, first, second, tls=bool(tls))))


if __name__ == "__main__":
    main()
