"""The control interface over HTTP: who may ask, and how it is answered. A refusal is `ErrorView` with its code."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from twinlock.client.control.endpoints import OPERATIONS
from twinlock.client.control.openapi import document
from twinlock.client.control.operations import Ask, ForbiddenError, Operation
from twinlock.client.control.views import ErrorView
from twinlock.client.errors import ClientError
from twinlock.client.events import Event
from twinlock.client.keyring import PREFIX, SCOPES
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError

_OWNER: frozenset[str] = frozenset(("owner", *SCOPES))


class Control:
    """Answers for one trader, to whoever sends `Authorization: Bearer <token>`, or a key of the trader's keyring."""

    def __init__(self, trader: Trader, token: str) -> None:
        self._trader = trader
        self._token = token

    def app(self) -> Starlette:
        """The ASGI application."""
        routes: list[Route | WebSocketRoute] = [
            Route(operation.path, self._guarded(operation), methods=[operation.method]) for operation in OPERATIONS
        ]
        routes.append(Route("/openapi.json", self._openapi))
        routes.append(WebSocketRoute("/events", self._events))
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
        return Starlette(routes=routes, middleware=[hosts])

    def _guarded(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            scopes = self._scopes(request)
            if not scopes:
                return _error(401, ForbiddenError("the key is missing or wrong", fix="read it from control.json"))
            if operation.scope not in scopes:
                return _error(403, _beyond(operation.scope))
            try:
                raw = await request.body()
                body = msgspec.json.decode(raw, type=operation.body) if operation.body else None
                ask = Ask(self._trader, request.path_params, dict(request.query_params), body, raw)
                return _json(200, await operation.endpoint(ask))
            except ForbiddenError as error:
                return _error(403, error)
            except TwinlockError as error:
                return _error(400, error)
            except (msgspec.DecodeError, ValueError, KeyError) as error:
                return _error(422, ClientError(f"the request is not valid: {error}", code="control.request"))

        return answer

    def _scopes(self, connection: HTTPConnection) -> frozenset[str]:
        given = connection.headers.get("authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return _OWNER
        return self._trader.keyring.scopes(given) if given.startswith(PREFIX) else frozenset()

    async def _openapi(self, request: Request) -> Response:
        if not self._scopes(request):
            return _error(401, ForbiddenError("the key is missing or wrong", fix="read it from control.json"))
        return _json(200, document())

    async def _events(self, socket: WebSocket) -> None:
        if "read" not in self._scopes(socket):
            await socket.close(1008)
            return
        stream = self._trader.events()
        await socket.accept()
        sender = asyncio.create_task(_send_all(socket, stream))
        try:
            while (await socket.receive())["type"] != "websocket.disconnect":
                continue
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)


async def _send_all(socket: WebSocket, stream: AsyncIterator[Event]) -> None:
    async with aclosing(stream):  # type: ignore[type-var]
        async for event in stream:
            await socket.send_text(msgspec.json.encode(event).decode())


def _json(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _beyond(scope: str) -> ForbiddenError:
    fix = f"create a key with it: twinlock client key create NAME --scope {scope}"
    if scope == "owner":
        fix = "use the command line where the client runs"
    return ForbiddenError(f"the key's scopes do not include {scope}", fix=fix)


def _error(status: int, error: TwinlockError) -> Response:
    return _json(status, ErrorView(error.code, str(error), error.fault, error.fix, error.numbers))
