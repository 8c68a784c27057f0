"""What the server has asked its clients, until each question is answered or its time is over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from twinlock.protocol import envelope
from twinlock.protocol.codes import RpcError
from twinlock.protocol.envelope import Message
from twinlock.protocol.routes import Route
from twinlock.seams import Clock
from twinlock.server.comms.link import Link
from twinlock.server.comms.outgoing import text_frame

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Asked(Generic[R]):
    """A request of ours under way. `answer` carries RpcError for a refusal, TimeoutError for silence or absence."""

    number: int
    answer: asyncio.Future[R]


@dataclass(slots=True)
class _Pending:
    link: Link
    account: bytes
    route: Route[Any, Any]
    answer: asyncio.Future[Any]
    deadline: float


class Questions:
    """Numbered for the whole process, because an account may answer on another link than the one it was asked on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[int, _Pending] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._pending)

    def ask(self, link: Link | None, account: bytes, route: Route[P, R], payload: P, timeout_ms: int) -> Asked[R]:
        """Ask an account over its link; without one, the answer is a TimeoutError at once."""
        asked: Asked[R] = Asked(next(self._numbers), asyncio.get_running_loop().create_future())
        if link is None:
            asked.answer.set_exception(TimeoutError("the account is not connected"))
            return asked
        deadline = self._clock.monotonic() + timeout_ms / 1000
        self._pending[asked.number] = _Pending(link, account, route, asked.answer, deadline)
        link.send_frame(text_frame(envelope.request(asked.number, route.name, payload)))
        return asked

    def take(self, link: Link, message: Message) -> bool:
        """Take an answer in; False if this link was not asked under that number."""
        pending = self._pending.get(message.id)
        if pending is None or (pending.link is not link and pending.account != link.account):
            return False
        try:
            self._settle(message.id, envelope.decode_result(message.payload, pending.route.result))
        except RpcError as error:
            self._settle(message.id, error)
        return True

    def expire(self, now: float) -> None:
        """Give up on what should have been answered by now (seconds of the monotonic clock)."""
        for number, pending in tuple(self._pending.items()):
            if now >= pending.deadline:
                self._settle(number, TimeoutError(f"no answer to {pending.route.name}"))

    def close(self) -> None:
        """Give up on everything."""
        for number in tuple(self._pending):
            self._settle(number, TimeoutError("the server stops"))

    def _settle(self, number: int, outcome: object) -> None:
        pending = self._pending.pop(number)
        if pending.answer.done():
            return
        if isinstance(outcome, Exception):
            pending.answer.set_exception(outcome)
        else:
            pending.answer.set_result(outcome)
