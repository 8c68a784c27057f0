"""The control interface over HTTP: who may ask, and how it is answered. A refusal is `ErrorView` with its code."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from twinlock.client.control.openapi import document
from twinlock.client.control.operations import Ask, ForbiddenError, Operation, RequestError
from twinlock.client.control.pages import NO_PAGES, Page
from twinlock.client.control.table import OPERATIONS
from twinlock.client.control.views import ErrorView
from twinlock.client.errors import ClientError
from twinlock.client.events import Event, Notice
from twinlock.client.keyring import PREFIX, SCOPES
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError

EVENTS = "twinlock.events"
"""The subprotocol of the socket; a browser, which can set no header, names its key beside it, after `KEY`."""

KEY = "twinlock.key."

MAX_BODY = 16_000_000
"""Bytes of a request: a file of labels is the largest."""

_OWNER: frozenset[str] = frozenset(("owner", *SCOPES))


class Control:
    """Answers for one trader, to whoever sends `Authorization: Bearer <token>`, or a key of the trader's keyring.

    pages: files that anybody on this machine may see, by path; they hold nothing but what asks this interface.
    """

    def __init__(self, trader: Trader, token: str, pages: Mapping[str, Page] = NO_PAGES) -> None:
        self._trader = trader
        self._token = token
        self._pages = pages

    def app(self) -> Starlette:
        """The ASGI application."""
        routes: list[Route | WebSocketRoute] = [
            Route(operation.path, self._guarded(operation), methods=[operation.method]) for operation in OPERATIONS
        ]
        routes += [Route(path, page.answer, methods=["GET"]) for path, page in self._pages.items()]
        routes.append(Route("/openapi.json", self._openapi))
        routes.append(WebSocketRoute("/events", self._events))
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
        return Starlette(routes=routes, middleware=[hosts], exception_handlers={HTTPException: _unknown})

    def _guarded(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            scopes = self._scopes(request)
            if not scopes:
                return _error(401, _NO_KEY)
            try:
                self._allow(operation, scopes)
                return _json(200, await operation.endpoint(await _ask(self._trader, operation, request)))
            except ForbiddenError as error:
                return _error(403, error)
            except RequestError as error:
                return _error(422, error)
            except TwinlockError as error:
                return _error(400, error)
            except Exception as defect:  # Whoever asked is told, and so is whoever watches the events.
                return _error(500, self._defect(operation, defect))

        return answer

    def _allow(self, operation: Operation, scopes: frozenset[str]) -> None:
        """Raises ForbiddenError."""
        if operation.scope not in scopes:
            raise _beyond(operation.scope)
        if operation.scope == "withdraw" and not self._trader.config.control.allow_withdraw:
            raise ForbiddenError(
                "withdrawing is off", fix="set allow_withdraw = true under [control], and start the client again"
            )

    def _scopes(self, connection: HTTPConnection, given: str = "") -> frozenset[str]:
        given = given or connection.headers.get("authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return _OWNER
        return self._trader.keyring.scopes(given) if given.startswith(PREFIX) else frozenset()

    def _defect(self, operation: Operation, defect: Exception) -> ClientError:
        text = f"{operation.method} {operation.path}: {defect!r}"
        self._trader.tell(Notice(at=self._trader.clock.now_ms(), level="error", text=text))
        return ClientError(text, code="client.defect", fault="twinlock", fix="report it with what was asked")

    async def _openapi(self, request: Request) -> Response:
        if not self._scopes(request):
            return _error(401, _NO_KEY)
        return _json(200, document())

    async def _events(self, socket: WebSocket) -> None:
        offered: list[str] = socket.scope.get("subprotocols", [])
        named = next((each.removeprefix(KEY) for each in offered if each.startswith(KEY)), "")
        if "read" not in self._scopes(socket, named):
            await socket.close(1008)
            return
        stream = self._trader.events()
        await socket.accept(EVENTS if EVENTS in offered else None)
        sender = asyncio.create_task(_send_all(socket, stream))
        try:
            while (await socket.receive())["type"] != "websocket.disconnect":
                continue
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)


async def _ask(trader: Trader, operation: Operation, request: Request) -> Ask:
    """Everything that was asked, in its types. Raises RequestError."""
    given = dict(request.query_params)
    try:
        if int(request.headers.get("content-length", "0")) > MAX_BODY:
            raise ValueError("the body is too large")
        raw = await request.body()
        body = msgspec.json.decode(raw or b"{}", type=operation.body) if operation.body else None
        query = {
            each.name: msgspec.convert(given[each.name], each.kind, strict=False)
            for each in operation.query
            if each.name in given
        }
    except (msgspec.DecodeError, ValueError) as error:  # UnicodeDecodeError is one
        raise RequestError(f"the request is not valid: {error}", fix="compare it with /openapi.json") from error
    for each in operation.query:
        if each.name not in query and each.default is ...:
            raise RequestError(f"{each.name} is missing", fix=f"add {each.name}= to the address: {each.meaning}")
    defaults = {each.name: each.default for each in operation.query}
    return Ask(trader, request.path_params, defaults | query, body)


async def _send_all(socket: WebSocket, stream: AsyncIterator[Event]) -> None:
    async with aclosing(stream):  # type: ignore[type-var]
        async for event in stream:
            await socket.send_text(msgspec.json.encode(event).decode())


def _json(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


_NO_KEY = ForbiddenError("the key is missing or wrong", fix="read it from control.json")


def _beyond(scope: str) -> ForbiddenError:
    fix = f"create a key with it: twinlock client key create NAME --scope {scope}"
    if scope == "owner":
        fix = "use the command line where the client runs"
    return ForbiddenError(f"the key's scopes do not include {scope}", fix=fix)


def _error(status: int, error: TwinlockError) -> Response:
    return _json(status, ErrorView(error.code, str(error), error.fault, error.fix, error.numbers))


async def _unknown(_request: Request, error: Exception) -> Response:
    """No such path, or not with that method."""
    assert isinstance(error, HTTPException)
    told = RequestError(error.detail, code="control.unknown", fix="compare it with /openapi.json")
    answer = _error(error.status_code, told)
    answer.headers.update(error.headers or {})
    return answer
