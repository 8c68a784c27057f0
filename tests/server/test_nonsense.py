"""Peers that do anything at any time: the server answers with codes, stays sane, and forgets them when they go."""

from __future__ import annotations

import os
import random
import ssl
import sys

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.server.conftest import Exchange, until
from tests.server.nonsense.machine import Nonsense
from websockets.asyncio.client import connect

pytestmark = pytest.mark.anyio

STEPS = int(os.environ.get("TWINLOCK_NONSENSE_STEPS", "150"))
SEED = int(os.environ.get("TWINLOCK_NONSENSE_SEED", "0")) or random.randrange(2**32)
LIFE = int(os.environ.get("TWINLOCK_NONSENSE_LIFE", "60"))
"""Steps of one life of one exchange, at most."""


def test_nonsense_changes_nothing() -> None:
    sys.stdout.write(f"TWINLOCK_NONSENSE_SEED={SEED}\n")
    rounds = 0
    while Nonsense.steps < STEPS:
        # No shrinking: a live server is never twice the same, and the steps up to the failure are printed anyway.
        lives = settings(
            max_examples=2 + (STEPS - Nonsense.steps) // LIFE,  # the first of them is the dullest
            stateful_step_count=LIFE,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(seed(SEED + rounds)(Nonsense), settings=lives)
        except Exception:
            if Nonsense.failure is not None:
                raise Nonsense.failure from None
            raise
        rounds += 1
    sys.stdout.write(f"{Nonsense.steps} steps in {rounds} lives: {dict(Nonsense.seen)}\n")


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
