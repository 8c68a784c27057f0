"""A real process is killed at the n-th operation of its disk while it syncs and follows reorganisations, twice on the
same data; what it leaves becomes the index that was built in one go. The default run draws some n, `TWINLOCK_SOAK` goes
through them in small steps.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.chains import SCRIPTS, branch
from tests.indexer.fake_node import FakeNode
from tests.indexer.test_lies import running, until
from tests.indexer.test_storage import truth_of_raw

from twinlock.kernels.scan import hashx
from twinlock.simnet.ports import free_ports

SOAK = "TWINLOCK_SOAK" in os.environ
ROOT = Path(__file__).parents[2]
PLOT = ((0, 3), (2, 4), (5, 6), (3, 0), (0, 9), (8, 9), (1, 2), (0, 12))
"""How many blocks are undone, and how many follow, one after another."""


class Life:
    """The processes, one after another, and the node that they follow."""

    def __init__(self, folder: Path) -> None:
        self.node, self._folder = FakeNode(), folder
        self._count_file = folder.with_suffix(".operations")
        self.synced_at = 0
        self._looks = 0
        self._next = 0

    async def start(self) -> None:
        await self.node.start()
        self.node.lie = self._count

    def _count(self, method: str, _: list[Any], answer: Any) -> Any:
        self._looks += method == "getbestblockhash"
        return answer

    @property
    def operations(self) -> int:
        """How many the last process did."""
        return int(self._count_file.read_text() or 0)

    async def until_death(self, dies_at: int) -> bool:
        """Whether it died of it, and not of old age."""
        (port,) = free_ports(1)
        words = (self.node.url, str(self._folder), str(dies_at), str(port), str(self._count_file))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.indexer.dying", *words),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        dead = asyncio.create_task(process.wait())
        assert process.stdout
        await process.stdout.readline()
        await self._seen(dead)
        self.synced_at = self.operations
        while not dead.done() and self._next < len(PLOT):
            self.node.blocks = branch(self.node.blocks, *PLOT[self._next], self._next + 1)
            self._next += 1
            await self._seen(dead)
        died = dead.done()
        with suppress(ProcessLookupError):  # it may just have died
            process.kill()
        assert await dead == -9
        return died

    async def _seen(self, dead: asyncio.Task[int]) -> None:
        """Wait until the process looked at the node again and had time to follow, or died."""
        looks = self._looks
        await until(lambda: dead.done() or self._looks > looks + 3)


async def moments(folder: Path, rnd: random.Random) -> list[int]:
    """The n at which processes are to die: during the first sync, and after it."""
    life = Life(folder)
    await life.start()
    await life.until_death(0)
    life.node.stop()
    # How many there are after the sync depends a little on when the node is looked at.
    sync = life.synced_at
    end = sync + (life.operations - sync) * 3 // 4
    if SOAK:
        return [*range(1, sync, 40), *range(sync, end, 3)]
    return [rnd.randrange(1, sync), *rnd.sample(range(sync, end), 3)]


@pytest.mark.anyio
@pytest.mark.timeout(3600 if SOAK else 120)
async def test_a_process_that_is_killed_at_any_operation_goes_on(tmp_path: Path) -> None:
    rnd = random.Random(6)
    deaths = 0
    numbers = await moments(tmp_path / "counted", rnd)
    for number in numbers:
        folder = tmp_path / str(number)
        life = Life(folder)
        await life.start()
        deaths += await life.until_death(number)
        await life.until_death(rnd.randint(2, 60))
        wanted = truth_of_raw(life.node.blocks)
        async with running(life.node, folder) as (controller, _):
            await until(lambda: controller.storage.height == wanted.height)  # noqa: B023
            storage = controller.storage
            assert storage.block_hash(storage.height) == wanted.block_hash(wanted.height), number
            for name in (*map(hashx, SCRIPTS), *set(storage.names())):
                assert storage.history(name) == wanted.history(name), number
                assert storage.unspent(name) == wanted.unspent(name), number
        life.node.stop()
    assert deaths > len(numbers) // 2, "they died of it, and not of old age"
