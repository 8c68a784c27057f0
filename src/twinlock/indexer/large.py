"""Large answers: worked out in a thread, one at a time, in turns of the sessions that ask, while there is room.

One thread, as two would keep the event loop from its core. A session that asks for many waits for its own, not others
for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from twinlock.seams import Clock

_COPIES = 3
"""How often an answer is in memory while it is made."""


class _Task(NamedTuple):
    size: int
    work: Callable[[], Any]
    done: asyncio.Future[Any]


class LargeAnswers:
    """The queue. ready: whether one who asked can take an answer now. fits: whether there is room for so many bytes.

    When either may have changed, `go_on` has to be called.
    """

    def __init__(self, ready: Callable[[Any], bool], fits: Callable[[int], bool], clock: Clock) -> None:
        self._ready = ready
        self._fits = fits
        self._clock = clock
        self._waiting: OrderedDict[Hashable, deque[_Task]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "large answers")
        self._busy = False
        self._short_since: float | None = None

    def ask(self, who: Hashable, size: int, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """What `work` gives, later. size: bytes of the answer, about. May be cancelled until it is begun."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(_Task(size, work, done))
        self.go_on()
        return done

    def go_on(self) -> None:
        """Begin with the first task of the session whose turn it is and that reads."""
        for who in list(self._waiting):
            if self._busy:
                return
            tasks = self._waiting[who]
            while tasks and tasks[0].done.cancelled():
                tasks.popleft()
            if tasks and not self._ready(who):
                continue
            if tasks and not self._fits(_COPIES * tasks[0].size):
                if self._short_since is None:
                    self._short_since = self._clock.monotonic()
                return
            del self._waiting[who]
            if tasks:
                self._begin(tasks.popleft())
            if tasks:
                self._waiting[who] = tasks  # at the end of the row
        self._short_since = None

    @property
    def short_for(self) -> float:
        """Seconds that the next task has waited for room."""
        return 0.0 if self._short_since is None else self._clock.monotonic() - self._short_since

    def _begin(self, task: _Task) -> None:
        self._busy, self._short_since = True, None
        running = asyncio.get_running_loop().run_in_executor(self._worker, task.work)

        def ended(result: asyncio.Future[Any]) -> None:
            self._busy = False
            error = None if result.cancelled() else result.exception()
            if not task.done.cancelled():
                if error:
                    task.done.set_exception(error)
                elif result.cancelled():
                    task.done.cancel()
                else:
                    task.done.set_result(result.result())
            # What was answered is sent before the next one is begun.
            asyncio.get_running_loop().call_soon(self.go_on)

        running.add_done_callback(ended)

    def close(self) -> None:
        """Let go of the thread."""
        self._waiting.clear()
        self._worker.shutdown(wait=False, cancel_futures=True)
