"""Responder: from a session's requests to the lines that answer them, in the JSON-RPC that it speaks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any, Protocol

import msgspec
import structlog

from twinlock.electrum.errors import FrameError
from twinlock.electrum.framing import BROKEN, Request, decode_request
from twinlock.errors import TwinlockError
from twinlock.indexer.caller import Caller
from twinlock.indexer.dispatch import FIRST, handle, method_of
from twinlock.indexer.lines import Line, body_of, error_line, result_line, told
from twinlock.indexer.methods import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    TIMED_OUT,
    Method,
    RpcError,
)

log = structlog.get_logger("indexer.sessions")

LATE = "too late"
"""What an answer that is awaited is cancelled with when its time is up: then the other side is told so."""

_ERROR_COST = 0.5
"""What a refusal costs."""

_AROUND = 100
"""Bytes of a line besides its result, about."""


class Asker(Caller, Protocol):
    """logged: whether its requests are, under its number. requests: so far. owed: costs that are not charged yet."""

    number: int
    logged: bool
    requests: int
    owed: float


class Responder:
    """Answers one session. Nothing that a request says makes it raise."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._shared = asker.shared
        self._max_send = asker.env.max_send
        self._unit_cost = asker.env.bandwidth_unit_cost
        self._modern: bool | None = None  # whether it speaks JSON-RPC 2.0; told by its first message

    def heard(self, line: bytes) -> None:
        """Learn from a line which JSON-RPC is spoken."""
        if self._modern is None:
            self._modern = b'"jsonrpc"' in line

    def answer(self, request: Request) -> Line | Awaitable[Line] | None:
        """The reply line, or what will give it; None for a notification."""
        silent = request.id is msgspec.UNSET
        asker = self._asker
        try:
            if request.method == BROKEN:
                raise RpcError(
                    INVALID_REQUEST, "not a JSON-RPC request: there should be a method, with params in a list"
                )
            if not asker.version and request.method != FIRST:
                asker.close_after_reply()
            method = method_of(request.method, asker.version)
            self._count(method)
            if silent:
                return None
            if self._shared.refusing and asker.version:
                raise RpcError(TIMED_OUT, "server busy - the chain is being reorganised")
            result = handle(asker, method, request.params)
            if inspect.isawaitable(result):
                return self._awaited(request.id, method, result)
            return self._reply(request.id, result)
        except TwinlockError as error:
            if silent:
                asker.owed += _ERROR_COST
                return None
            return self.refusal(request.id, error)
        except Exception:
            log.exception("request failed", method=request.method)
            return self.error(request.id, INTERNAL_ERROR, "internal server error")

    def member(self, member: msgspec.Raw, full: bool) -> Line | Awaitable[Line] | None:
        """The answer to a member of a batch. full: the batch's answers are as large as they may be."""
        try:
            request = decode_request(member)
        except FrameError as error:
            return self.error(None, PARSE_ERROR, str(error))
        if full and request.id is not msgspec.UNSET:
            return self.error(request.id, INVALID_REQUEST, "response too large (the batch's answers)")
        return self.answer(request)

    def refusal(self, request_id: Any, error: TwinlockError) -> bytes:
        """The line that tells of that error."""
        return self.error(request_id, *told(error))

    def error(self, request_id: Any, number: int, message: str) -> bytes:
        """The line with that error's number and message."""
        self._asker.owed += _ERROR_COST
        return error_line(self._modern, number, message, request_id)

    def _count(self, method: Method) -> None:
        asker = self._asker
        asker.requests += 1
        self._shared.requests += 1
        self._shared.requests_by_method[method.name] += 1
        if asker.logged:
            log.info("request", session=asker.number, method=method.name)
        asker.owed += method.cost

    def _reply(self, request_id: Any, result: Any) -> Line:
        body = body_of(result)
        self._asker.charge(len(body) / self._unit_cost)
        if len(body) > self._max_send - _AROUND:
            return self.error(request_id, INVALID_REQUEST, f"response too large (over {self._max_send:,d} bytes)")
        return result_line(self._modern, body, request_id)

    async def _awaited(self, request_id: Any, method: Method, result: Awaitable[Any]) -> Line:
        try:
            return self._reply(request_id, await result)
        except asyncio.CancelledError as error:
            if error.args != (LATE,):
                raise
            return self.error(request_id, TIMED_OUT, "server busy - request timed out")
        except TwinlockError as error:
            return self.refusal(request_id, error)
        except Exception:
            log.exception("request failed", method=method.name)
            return self.error(request_id, INTERNAL_ERROR, "internal server error")
