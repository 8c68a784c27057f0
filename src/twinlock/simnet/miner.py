"""Blocks at a human pace: a block is found a little after a transaction is waiting for one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from twinlock.seams import Clock
from twinlock.simnet.node import Node, NodeError

Found = Callable[[Node, int, int], None]
"""Told of each block: the node, the new height, and how many transactions were waiting."""


class Miner:
    """Mines on every chain that has something to confirm, `seconds` after it was last looked at. Use as a context."""

    def __init__(self, nodes: Iterable[Node], clock: Clock, seconds: float, found: Found) -> None:
        self._nodes = list(nodes)
        self._clock = clock
        self._seconds = seconds
        self._found = found
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Miner:
        self._tasks = [asyncio.create_task(self._work(node), name=f"miner-{node.symbol}") for node in self._nodes]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, node: Node) -> None:
        while True:
            await self._clock.sleep(self._seconds)
            # A node that is down, or still starting, is asked again at the next turn.
            with contextlib.suppress(OSError, NodeError):
                if waiting := len(await node.mempool()):
                    await node.mine()
                    self._found(node, await node.height(), waiting)
