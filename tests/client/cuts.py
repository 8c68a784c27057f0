"""A story with every cut that it can have, each told to its end by a process of its own.

The story is told once. Before and after every write and every broadcast of one trader the process forks: in the child
the trader's power goes, and the story is told to its end; in the parent it goes on to the next moment. So a cut differs
from the whole story in nothing but the cut, and what led up to it is not told again for each.

What a trader leaves behind is what it stored, broadcast and told its server. Where nothing of that, no time and no
block lies between two moments, a power cut at one is the same as at the other, and is made once; `TWINLOCK_SOAK` makes
both.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from tests.client.world import Fuse, World

SOAK = "TWINLOCK_SOAK" in os.environ

TOLD = "told to its end"


class Cuts:
    """The cuts of one trader's power."""

    def __init__(self, it: World, fuse: Fuse, *, after: bool) -> None:
        self.made = 0
        self.failures: list[str] = []
        self._it = it
        self._fuse = fuse
        self._after = after
        self._last: object = None
        self._parent: int | None = None

    def here(self, before: bool) -> bool:
        """Does the power go now? Yes in the process that tells of this cut, no in the one that goes on."""
        heights = tuple(chain.height for chain in self._it.chains.values())
        moment = self._it.clock.monotonic(), heights, self._fuse.effects
        same = moment == self._last and self._after and not SOAK
        if self.failures or same or not (before or self._after):
            return False
        self._last = moment
        self.made += 1
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        child = os.fork()
        if not child:
            asyncio._set_running_loop(loop)  # a fork forgets which one runs
            gc.disable()  # it would copy all that is shared, for a life of a second
            os.close(reading)
            self._parent = writing
            return True
        os.close(writing)
        told = _heard(child, reading)
        if told != TOLD:
            self.failures.append(f"cut {self.made}, {'before' if before else 'after'} its operation:\n{told}")
        return False

    def leave(self, told: str) -> None:
        """In the process of a cut: report how the story went, and end."""
        if self._parent is not None:
            with os.fdopen(self._parent, "w") as report:
                report.write(told)
            os._exit(0)


def _heard(child: int, reading: int) -> str:
    """What the child says in the end."""
    try:
        with os.fdopen(reading) as report:
            return report.read()
    finally:
        os.kill(child, signal.SIGKILL)  # it has ended, unless we were interrupted
        os.waitpid(child, 0)


@contextmanager
def every_cut(it: World, name: str, *, after: bool = True) -> Iterator[Cuts]:
    """Cut the trader's power at each moment from here on until its fuse is renewed; the block is the rest of the story.

    after: also after each write and broadcast; without it only before each of them, where a trader may live on.
    """
    fuse = it.fuses[name]
    cuts = Cuts(it, fuse, after=after)
    fuse.goes = cuts.here
    try:
        yield cuts
    except BaseException as error:
        cuts.leave("".join(traceback.format_exception(error)))
        raise
    cuts.leave(TOLD)
    assert not cuts.failures, cuts.failures[0]
