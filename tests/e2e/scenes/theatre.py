"""All stories of a module told side by side, each by two traders of its own; each test then waits for its story."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.e2e.scenes.stage import PLAN, Stage, opened

from twinlock.simnet.exchange import Plan

Story = Callable[[Stage, str], Awaitable[None]]
"""Told on a stage, by its name, from which the names of its players begin."""


class Theatre:
    """What is told now."""

    def __init__(self, stage: Stage, told: Mapping[str, asyncio.Task[None]]) -> None:
        self.stage = stage
        self._told = told

    async def ends_well(self, name: str) -> None:
        """Return when that story has ended; raises what made it fail."""
        await self._told[name]


@asynccontextmanager
async def playing(
    folder: Path, stories: Mapping[str, Story], plan: Plan = PLAN, *, picky: bool = False
) -> AsyncIterator[Theatre]:
    """Begin to tell all these stories. picky: see `Mint`."""
    async with opened(folder, plan, picky=picky) as stage:
        for _ in stories:
            stage.calendar.enter()
        told = {name: asyncio.create_task(_tell(stage, name, story)) for name, story in stories.items()}
        try:
            yield Theatre(stage, told)
        finally:
            for task in told.values():
                task.cancel()
            await asyncio.gather(*told.values(), return_exceptions=True)


def wanted(request: pytest.FixtureRequest, module: str, names: Iterable[str]) -> list[str]:
    """Those of the names that this run asks for: the parameters called `name` of the module's tests."""
    own = (item for item in request.session.items if isinstance(item, pytest.Function))
    calls = [getattr(item, "callspec", None) for item in own if item.module.__name__ == module]
    asked = {call.params.get("name") for call in calls if call is not None}
    return [name for name in names if name in asked]


async def _tell(stage: Stage, name: str, story: Story) -> None:
    try:
        await story(stage, name)
    finally:
        await stage.calendar.leave()
