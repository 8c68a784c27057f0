"""The load of order intake, a process of its own: `python -m benchmarks.server.intake PORT TLS ACCOUNTS COINS WINDOW`.

Every account has a connection and sends one order per coin, keeping WINDOW of them unanswered. Prints JSON.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from itertools import count, islice
from socket import socket
from typing import Any

from benchmarks.server.sockets import Reader, ask, dial, text
from benchmarks.server.world import BTC, LOT, LTC, RATE, RATE_STEP, World

from twinlock.chain.families import family_of
from twinlock.protocol import envelope
from twinlock.protocol.messages.account import Connect
from twinlock.protocol.messages.orders import Coin, PlaceLimit
from twinlock.protocol.orders import OrderType, Side, TimeInForce, commit
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex
from twinlock.seams import SystemClock

ids = count(1)


def orders(world: World, number: int, draw: random.Random) -> list[bytes]:
    """The frames of an account's orders: standing, one lot, spread over both sides of a rate."""
    key, account, address = world.keys[number], world.ids[number], world.address(number)
    side = Side.BUY if world.funded_by(number) == BTC else Side.SELL
    family = family_of(world.chains[world.funded_by(number)].coin)
    frames = []
    for funds in world.coins[number]:
        coin_id = family.coin_id(funds.point.txid, funds.point.index)
        public_keys, signatures = family.coin_proof(coin_id, [key])
        order = PlaceLimit(
            account_id=Hex(account),
            base=LTC,
            quote=BTC,
            order_type=int(OrderType.LIMIT),
            client_time=SystemClock().now_ms(),
            commitment=Hex(commit(draw.randbytes(32))),
            side=int(side),
            quantity=LOT,
            coins=[
                Coin(
                    coin_id=Hex(coin_id),
                    public_keys=[Hex(public) for public in public_keys],
                    signatures=[Hex(signature) for signature in signatures],
                )
            ],
            address=address,
            rate=RATE + draw.randrange(-50, 50) * RATE_STEP,
            time_in_force=int(TimeInForce.STANDING),
        )
        frames.append(text(envelope.request(next(ids), "limit", signed(key, order))))
    return frames


def login(link: socket, world: World, number: int) -> None:
    """Let a connection speak for an account."""
    request = Connect(account_id=Hex(world.ids[number]), timestamp=SystemClock().now_ms())
    ask(link, envelope.request(next(ids), "connect", signed(world.keys[number], request)))


class Load:
    """The connections, what they still have to send, and when each order went out."""

    def __init__(self, port: int, world: World, *, tls: bool, window: int) -> None:
        draw = random.Random(1)
        self.waiting = [iter(orders(world, number, draw)) for number in range(len(world.keys))]
        self.links = [dial(port, number, tls=tls) for number in range(len(world.keys))]
        self.sent: list[list[float]] = [[] for _ in self.links]
        self.answered = [0] * len(self.links)
        self.took: list[float] = []
        self.refused: dict[str, int] = {}
        self.window = window
        for number, link in enumerate(self.links):
            login(link, world, number)

    def take(self, number: int, data: bytes) -> None:
        """Count receipts and refusals and send what follows them."""
        answers = data.count(b'{"type":2,')
        if b'"error"' in data:
            text_ = data[data.index(b'"error"') :][:120].decode("latin-1")
            self.refused[text_] = self.refused.get(text_, 0) + data.count(b'"error"')
        now = time.perf_counter()
        for _ in range(answers):
            self.took.append(now - self.sent[number][self.answered[number]])
            self.answered[number] += 1
        self.send(number, answers)

    def send(self, number: int, many: int) -> None:
        """Send the next orders of a connection."""
        frames = list(islice(self.waiting[number], many))
        if frames:
            self.sent[number] += [time.perf_counter()] * len(frames)
            self.links[number].sendall(b"".join(frames))

    def run(self, total: int) -> dict[str, Any]:
        reader = Reader(self.links, self.take)
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(len(self.links)):
            self.send(number, self.window)
        reader.run(lambda: len(self.took) >= total, patience_s=20)
        seconds = time.perf_counter() - began
        return {
            "orders": len(self.took),
            "refused": self.refused,
            "seconds": round(seconds, 3),
            "per_second": round(len(self.took) / seconds),
            "p50_ms": round(statistics.median(self.took) * 1000, 1),
            "p99_ms": round(statistics.quantiles(self.took, n=100)[98] * 1000, 1),
            "load_cpu_seconds": round(time.process_time() - cpu, 2),
        }


def main() -> None:
    port, tls, accounts, coins, window = (int(word) for word in sys.argv[1:])
    load = Load(port, World(accounts, coins), tls=bool(tls), window=window)
    print(json.dumps(load.run(accounts * coins)))


if __name__ == "__main__":
    main()
