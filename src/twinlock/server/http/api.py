"""The routes below `/api`, and the probes for an operator's monitoring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlencode

import msgspec
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.wire import encode
from twinlock.server.comms.hub import Hub
from twinlock.server.comms.link import PORTION
from twinlock.server.comms.listener import HttpFactory
from twinlock.server.comms.meters import Granted
from twinlock.server.comms.outgoing import Spliced
from twinlock.server.data import DataDesk
from twinlock.server.http.asyncapi import asyncapi_document
from twinlock.server.http.errors import ApiError, InternalError, data_api_off
from twinlock.server.http.market_data import MarketData
from twinlock.server.http.openapi import openapi_document
from twinlock.server.http.operations import JSON, Answer, Operation, operations, parse
from twinlock.server.http.shapes import Problem, ProblemBody, Query

_KEEP_ALIVE_S = 10
_V1 = "/api/v1/"

Endpoint = Callable[[Request], Awaitable[Response]]


class HttpApi:
    """The application, and the protocol factory that the listener hands connections to."""

    def __init__(self, hub: Hub, data: DataDesk, market_data: MarketData, registry: CollectorRegistry) -> None:
        self._hub = hub
        self._data = data
        self._registry = registry
        self.operations = operations(data, market_data)
        self._documents = {
            "/api/openapi.json": encode(openapi_document(self.operations)) + b"\n",
            "/api/asyncapi.json": encode(asyncapi_document()) + b"\n",
        }
        self.app = Starlette(
            routes=[
                *(Route(operation.path, self._endpoint(operation)) for operation in self.operations),
                *(Route(path, self._document) for path in self._documents),
                Route("/healthz", self._alive),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
            ],
            exception_handlers={HTTPException: _no_route, Exception: _broken},
        )

    def factory(self) -> HttpFactory:
        """What makes a protocol for each connection that is no WebSocket."""
        config = uvicorn.Config(
            self.app, ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=_KEEP_ALIVE_S
        )
        config.load()
        state = ServerState()
        return lambda: HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())

    def _endpoint(self, operation: Operation) -> Endpoint:
        """The limits, the parameters, the answer: 503 while data is off, 429 for who asks too often, 400 and 404."""

        async def endpoint(request: Request) -> Response:
            granted = self._grant(operation, request)
            try:
                self._check(operation, granted)
                answer = await operation.ask(_query(operation, request))
            except (RpcError, ApiError) as error:
                response = _refusal(error, reference=operation.reference)
            else:
                response = _response(operation, request, answer)
            if granted is not None:
                response.headers.update(granted.headers())
            return response

        return endpoint

    def _grant(self, operation: Operation, request: Request) -> Granted | None:
        if not operation.metered:
            return None
        address = request.client.host if request.client else ""
        meters = self._hub.meters
        return meters.grant_data(address) if operation.reference else meters.grant_market_data(address)

    def _check(self, operation: Operation, granted: Granted | None) -> None:
        if operation.metered and not self._hub.data_api:
            raise data_api_off()
        if granted is not None and not granted.allowed:
            raise ApiError(429, "api.limit", "too many requests", fix=f"wait {granted.wait_s} s")

    async def _document(self, request: Request) -> Response:
        return Response(self._documents[request.url.path], media_type=JSON)

    async def _alive(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        healthy = self._data.healthy()
        return PlainTextResponse("ready\n" if healthy else "a chain is out of view\n", 200 if healthy else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _query(operation: Operation, request: Request) -> Query:
    """The parameters. Raises ApiError; the protocol's own routes pass over what they do not know."""
    pairs = [*request.query_params.multi_items(), *request.path_params.items()]
    given = dict(pairs)
    if operation.reference:
        known = {member.encode_name for member in msgspec.structs.fields(operation.query)}
        given = {name: text for name, text in given.items() if name in known}
    elif len(given) != len(pairs):
        raise ApiError(400, "api.parameter", "a parameter is given twice", fix="give each once")
    try:
        return parse(operation.query, given)
    except msgspec.ValidationError as error:
        raise ApiError(400, "api.parameter", str(error), fix="see /api/openapi.json") from error


def _response(operation: Operation, request: Request, answer: Answer) -> Response:
    media = f"{operation.media}; charset=utf-8"
    if isinstance(answer.body, Spliced):
        length = {"Content-Length": str(len(answer.body) + 1)}
        response: Response = StreamingResponse(_pieces(answer.body), headers=length, media_type=media)
    else:
        body = answer.body if isinstance(answer.body, bytes) else encode(answer.body) + b"\n"
        response = Response(body, media_type=media)
    if answer.following:
        following = urlencode({**request.query_params, **answer.following})
        response.headers["Link"] = f'<{request.url.path}?{following}>; rel="next"'
    return response


async def _pieces(body: Spliced) -> AsyncIterator[bytes]:
    """So much at a time as the connection may hold: uvicorn waits for the reader in between."""
    yield body.before
    for start in range(0, len(body.shared), PORTION):
        yield body.shared[start : start + PORTION]
    yield body.after + b"\n"


def _refusal(error: RpcError | ApiError, *, reference: bool) -> Response:
    """reference: in the shape of protocol section 1.6."""
    if isinstance(error, ApiError):
        status = error.status
    else:
        status = 404 if error.rpc_code == ErrorCode.UNKNOWN_MARKET and not reference else 400
    if reference:
        return _json({"error": str(error)}, status)
    return _json(ProblemBody(error=Problem(code=error.code, message=str(error), fix=error.fix)), status)


def _reference(path: str) -> bool:
    """Whether a path that is no route stands among the protocol's own."""
    return path.startswith("/api/") and not path.startswith(_V1)


async def _no_route(request: Request, error: Exception) -> Response:
    """No such path, or not this method."""
    assert isinstance(error, HTTPException)
    refused = ApiError(404, "api.path", "there is no such path", fix="see /api/openapi.json")
    if error.status_code == 405:
        refused = ApiError(405, "api.method", "the path does not know this method", fix="see /api/openapi.json")
    response = _refusal(refused, reference=_reference(request.url.path))
    response.headers.update(error.headers or {})
    return response


async def _broken(request: Request, _: Exception) -> Response:
    """Not foreseen."""
    return _refusal(InternalError(code="api.internal"), reference=_reference(request.url.path))


def _json(value: object, status: int) -> Response:
    return Response(encode(value) + b"\n", status, media_type=f"{JSON}; charset=utf-8")
