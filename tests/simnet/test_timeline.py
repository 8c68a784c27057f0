"""The same story, told to people and to programs."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from twinlock.seams import VirtualClock
from twinlock.simnet.timeline import JsonTimeline, RichTimeline, Timeline


async def story(timeline: Timeline, clock: VirtualClock) -> None:
    with timeline:
        timeline.tell("started", "server", "listens", port=7232)
        await clock.advance(1.5)
        timeline.status("btc", "height 5")
        timeline.tell("swap", "alice", "locks 1.5 LTC", txid="ab" * 32, atoms=150_000_000)
        timeline.table("Balances", ("wallet", "atoms"), [("alice", "5")])
        timeline.summary(swaps=1)


@pytest.mark.anyio
async def test_programs_read_one_object_a_line() -> None:
    clock, out = VirtualClock(), io.StringIO()
    await story(JsonTimeline(clock, out), clock)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"event": "started", "ms": 0, "who": "server", "text": "listens", "port": 7232},
        {
            "event": "swap",
            "ms": 1500,
            "who": "alice",
            "text": "locks 1.5 LTC",
            "txid": "ab" * 32,
            "atoms": 150_000_000,
        },
        {"event": "summary", "swaps": 1},
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("terminal", [False, True])
async def test_people_read_times_actors_and_sentences(terminal: bool) -> None:
    clock, out = VirtualClock(), io.StringIO()
    await story(RichTimeline(clock, Console(file=out, force_terminal=terminal, width=100, color_system=None)), clock)
    shown = out.getvalue()
    assert "    0.0s    server  listens" in shown
    assert "    1.5s     alice  locks 1.5 LTC" in shown
    assert "Balances" in shown
    assert ("height 5" in shown) == terminal
