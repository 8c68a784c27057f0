"""Peers that talk nonsense: the server answers with codes, stays sane, and forgets them when they go."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from typing import Any

import pytest
import structlog
from tests.server.conftest import Exchange, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from twinlock.protocol.messages.account import Connect
from twinlock.protocol.routes import ROUTES, Direction
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex, encode

pytestmark = pytest.mark.anyio

STEPS = int(os.environ.get("TWINLOCK_NONSENSE_STEPS", "1500"))
TO_SERVER = [route.name for route in ROUTES.values() if route.direction is Direction.TO_SERVER]


class Nonsense:
    """Draws messages that are wrong in every way, some of them nearly right."""

    def __init__(self, seed: int, example: bytes) -> None:
        self._draw = random.Random(seed)
        self._example = example

    def frame(self) -> str:
        make = self._draw.choice((self._envelope, self._envelope, self._text, self._mutated))
        return make()

    def _envelope(self) -> str:
        draw = self._draw
        message = {
            "type": draw.choice((1, 1, 1, 2, 3, 0, -1, "1", None)),
            "route": draw.choice([*TO_SERVER, "preimage", "match", "", "x" * 300, 7]),
            "id": draw.choice((0, 1, 2**64 - 1, 2**64, -1, 1.5, None, draw.randrange(10_000))),
            "payload": self._value(3),
        }
        for name in tuple(message):
            if draw.random() < 0.05:
                del message[name]
        return json.dumps(message)

    def _text(self) -> str:
        draw = self._draw
        return draw.choice(("", "{", "[" * 500, '"' * 3, "nul", "{}" * 3, "\x00", "🦊" * 50, "1e999", '{"type":1e99}'))

    def _mutated(self) -> str:
        text = bytearray(self._example)
        for _ in range(self._draw.randrange(1, 4)):
            text[self._draw.randrange(len(text))] = self._draw.randrange(32, 127)
        return text.decode()

    def _value(self, depth: int) -> Any:
        draw = self._draw
        if depth and draw.random() < 0.5:
            names = ("base", "quote", "marketid", "sig", "accountid", "coins", "matchid", "orderid", "tx", "x")
            return {draw.choice(names): self._value(depth - 1) for _ in range(draw.randrange(4))}
        if depth and draw.random() < 0.3:
            return [self._value(depth - 1) for _ in range(draw.randrange(4))]
        return draw.choice((None, True, 0, 2, -1, 2**63, 2**70, 0.5, "", "00" * 32, "zz", "ltc_btc", "abc"))


async def talk(exchange: Exchange, nonsense: Nonsense, steps: int) -> int:
    """Send nonsense, on a new link whenever the server has had enough; how many answers came."""
    server = exchange.running
    context = ssl.create_default_context(cafile=str(server.certificate))
    answers = 0
    while steps:
        async with connect(f"wss://localhost:{server.port}/ws", ssl=context, ping_interval=None) as socket:
            try:
                for _ in range(steps):
                    await socket.send(nonsense.frame())
                    steps -= 1
                    if steps % 20 == 0:
                        await asyncio.wait_for(socket.recv(), 10)
                        answers += 1
            except ConnectionClosed:
                pass
    return answers


async def test_nonsense_changes_nothing(exchange: Exchange) -> None:
    trader = await exchange.trader()
    request = signed(trader.key, Connect(account_id=Hex(trader.account), timestamp=1))
    example = b'{"type":1,"route":"connect","id":1,"payload":' + encode(request) + b',"sig":""}'
    before = exchange.running.manager.accounts.get(trader.account)
    with structlog.testing.capture_logs() as logs:
        answers = await asyncio.gather(*(talk(exchange, Nonsense(seed, example), STEPS // 3) for seed in range(3)))
    assert all(answers)
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
    await until(lambda: exchange.running.hub.connected <= 1)
    assert exchange.running.manager.accounts.get(trader.account) is before
    assert len(exchange.running.manager.markets["ltc_btc"].book) == 0
    assert exchange.running.data.healthy()


async def test_a_peer_that_reads_nothing_is_cut_off_and_costs_the_others_nothing(exchange: Exchange) -> None:
    guest = await exchange.guest()
    [link] = exchange.running.hub.links
    frame = b"\x81\x7e\xff\xff" + b" " * 65_535
    link.pause_writing()
    for _ in range(10_000):
        link.send_frame(frame)
    assert not link.is_open
    await until(lambda: exchange.running.hub.connected == 0)
    assert guest.socket is not None


async def test_links_that_come_and_go_leave_nothing_behind(exchange: Exchange) -> None:
    server = exchange.running
    context = ssl.create_default_context(cafile=str(server.certificate))
    for _ in range(40):
        async with connect(f"wss://localhost:{server.port}/ws", ssl=context) as socket:
            await socket.send('{"type":1,"route":"orderbook","id":1,"payload":{"base":2,"quote":0}}')
            await socket.recv()
    await until(lambda: server.hub.connected == 0)
    assert len(server.manager.markets["ltc_btc"].public.subscribers) == 0
