"""Every refusal that the protocol's reference names, with its code, on a live server (`tests/server/refusals`)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.server.conftest import Exchange
from tests.server.jump_clock import JumpClock
from tests.server.refusals.scenes import SCENES, hall
from tests.server.refusals.unprovoked import UNPROVOKED

from twinlock.protocol.codes import ErrorCode
from twinlock.protocol.routes import ROUTES, Direction

pytestmark = pytest.mark.anyio

ROWS = [row for scene in SCENES.values() for row in scene.rows]


@pytest.mark.parametrize("name", SCENES)
async def test_each_defect_is_refused_with_its_code(name: str, tmp_path: Path, anyio_backend: str) -> None:
    scene, clock = SCENES[name], JumpClock()
    exchange = Exchange(tmp_path)
    exchange.clock, exchange.settings = clock, dict(scene.settings)
    try:
        await exchange.start()
        world = await hall(exchange, clock)
        found = [await act.play(world) for act in scene.acts]
    finally:
        await exchange.close()
    names = [[f"{row.route}: {row.defect}" for row in act.rows] for act in scene.acts]
    got = [dict(zip(*act, strict=True)) for act in zip(names, found, strict=True)]
    assert got == [{f"{row.route}: {row.defect}": row.code for row in act.rows} for act in scene.acts]


def test_every_code_is_provoked_or_has_its_reason_not_to_be() -> None:
    provoked = {row.code for row in ROWS}
    assert provoked | UNPROVOKED.keys() == set(ErrorCode)
    assert not provoked & UNPROVOKED.keys()


def test_every_route_refuses_something_and_no_row_hides_another() -> None:
    silent = {"config", "spots", "price_feed"}  # they take no payload, and anybody may ask
    to_server = {route.name for route in ROUTES.values() if route.direction is Direction.TO_SERVER}
    assert to_server - silent <= {row.route for row in ROWS}
    for scene in SCENES.values():
        for act in scene.acts:
            times = Counter((row.route, row.defect) for row in act.rows)
            assert [row for row, count in times.items() if count > 1] == []
