"""Routes of the operator's API, as one table."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from twinlock.errors import TwinlockError
from twinlock.protocol.wire import encode
from twinlock.server.admin.operator import Operator
from twinlock.server.comms.listener import HttpFactory
from twinlock.server.db.audit import AuditEntry
from twinlock.server.db.history import NEWEST, Place

log = structlog.get_logger(__name__)

Action = Callable[[Operator, Request], Awaitable[object]]
Endpoint = Callable[[Request], Awaitable[Response]]


def _id(request: Request, name: str = "id") -> bytes:
    return bytes.fromhex(request.path_params[name])


def _number(request: Request, name: str, default: int) -> int:
    return int(request.query_params.get(name, default))


def _place(request: Request) -> Place:
    """``after=TIME:ID`` of the last row of the page before."""
    text = request.query_params.get("after", "")
    stamp, _, last = text.partition(":")
    return Place(int(stamp), bytes.fromhex(last)) if text else NEWEST


async def _ping(_: Operator, __: Request) -> object:
    return "pong"


async def _body(request: Request) -> str:
    return (await request.body()).decode()


async def _notify(operator: Operator, request: Request) -> object:
    return await operator.notify(_id(request), await _body(request))


async def _notify_all(operator: Operator, request: Request) -> object:
    return await operator.notify_all(await _body(request))


async def _suspend(operator: Operator, request: Request) -> object:
    persist = request.query_params.get("persist", "true") == "true"
    return await operator.suspend(request.path_params["name"], _number(request, "t", 0), persist=persist)


async def _codes(operator: Operator, request: Request) -> object:
    count, days = _number(request, "n", 1), _number(request, "days", 30)
    return await operator.prepaid_bonds(count, days, _number(request, "strength", 1))


async def _matches(operator: Operator, request: Request) -> object:
    inactive = request.query_params.get("includeinactive") == "true"
    return await operator.matches(request.path_params["name"], _number(request, "n", 100), inactive=inactive)


async def _switch(operator: Operator, request: Request) -> object:
    return await operator.switch_data_api(request.path_params["on"] == "true")


READING: dict[str, Action] = {
    "/api/ping": _ping,
    "/api/config": lambda operator, _: operator.config(),
    "/api/accounts": lambda operator, r: operator.accounts(
        bytes.fromhex(r.query_params.get("after", "")), _number(r, "n", 100)
    ),
    "/api/account/{id}": lambda operator, r: operator.account(_id(r)),
    "/api/account/{id}/outcomes": lambda operator, r: operator.outcomes(_id(r), _number(r, "n", 100)),
    "/api/account/{id}/fails": lambda operator, r: operator.outcomes(_id(r), _number(r, "n", 100), bad=True),
    "/api/account/{id}/explain": lambda operator, r: operator.explain(_id(r), _number(r, "n", 200)),
    "/api/account/{id}/orders": lambda operator, r: operator.orders(_id(r), _place(r), _number(r, "n", 100)),
    "/api/account/{id}/matches": lambda operator, r: operator.account_matches(_id(r), _place(r), _number(r, "n", 100)),
    "/api/audit": lambda operator, r: operator.audit(_number(r, "before", 0), _number(r, "n", 100)),
    "/api/assets": lambda operator, _: operator.assets(),
    "/api/asset/{symbol}": lambda operator, r: operator.asset(r.path_params["symbol"]),
    "/api/markets": lambda operator, _: operator.markets(),
    "/api/market/{name}": lambda operator, r: operator.market(r.path_params["name"]),
    "/api/market/{name}/orderbook": lambda operator, r: operator.book(r.path_params["name"]),
    "/api/market/{name}/epochorders": lambda operator, r: operator.epoch_orders(r.path_params["name"]),
    "/api/market/{name}/matches": _matches,
}
CHANGING: dict[str, Action] = {
    "/api/enabledataapi/{on}": _switch,
    "/api/account/{id}/forgive_user": lambda operator, r: operator.forgive_account(_id(r)),
    "/api/account/{id}/forgive_match/{matchid}": lambda operator, r: operator.forgive_match(_id(r), _id(r, "matchid")),
    "/api/account/{id}/notify": _notify,
    "/api/notifyall": _notify_all,
    "/api/asset/{symbol}/setfeescale/{factor}": lambda operator, r: operator.set_fee_scale(
        r.path_params["symbol"], float(r.path_params["factor"])
    ),
    "/api/market/{name}/suspend": _suspend,
    "/api/market/{name}/resume": lambda operator, r: operator.resume(r.path_params["name"], _number(r, "t", 0)),
    "/api/prepaybonds": _codes,
}


class Page(NamedTuple):
    """A file that the operator's listener shows; the browser asks for the password first."""

    media_type: str
    content: bytes


class AdminApi:
    """The application behind the operator's listener. Any user name, one password. pages: by path."""

    def __init__(self, operator: Operator, password: str, pages: Mapping[str, Page] | None = None) -> None:
        self._operator = operator
        self._secret = sha256(password.encode()).digest()
        self.app = Starlette(
            routes=[
                *(Route(path, self._reading(action), methods=["GET"]) for path, action in READING.items()),
                *(Route(path, self._changing(action), methods=["POST"]) for path, action in CHANGING.items()),
                *(Route(path, self._showing(page), methods=["GET"]) for path, page in (pages or {}).items()),
            ]
        )

    def factory(self) -> HttpFactory:
        """What makes a protocol for each connection."""
        config = uvicorn.Config(self.app, ws="none", lifespan="off", log_config=None, access_log=False)
        config.load()
        state = ServerState()
        return lambda: HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())

    def _reading(self, action: Action) -> Endpoint:
        async def answer(request: Request) -> Response:
            return _UNKNOWN if self._who(request) is None else await self._act(action, request)

        return answer

    def _changing(self, action: Action) -> Endpoint:
        """What changes something is written down with its answer, refused or not, before it is answered."""

        async def answer(request: Request) -> Response:
            who = self._who(request)
            if who is None:
                log.warning("operator refused", path=request.url.path, address=_address(request))
                return _UNKNOWN
            response = _ELSEWHERE if _from_elsewhere(request) else await self._act(action, request)
            await self._record(request, who, response.status_code)
            return response

        return answer

    def _showing(self, page: Page) -> Endpoint:
        async def answer(request: Request) -> Response:
            if self._who(request) is None:
                return _UNKNOWN
            return Response(page.content, media_type=page.media_type, headers=_PAGE_HEADERS)

        return answer

    async def _act(self, action: Action, request: Request) -> Response:
        try:
            return _json(await action(self._operator, request))
        except (TwinlockError, ValueError) as error:
            fix = error.fix if isinstance(error, TwinlockError) else ""
            return _json({"error": str(error), "fix": fix}, 400)

    async def _record(self, request: Request, who: str, status: int) -> None:
        url = request.url
        entry = AuditEntry(
            stamp=self._operator.now_ms(),
            address=_address(request),
            operator=who,
            request=f"{url.path}?{url.query}" if url.query else url.path,
            body=(await request.body()).decode(errors="replace"),
            status=status,
        )
        await self._operator.record(entry)
        log.info("operator changed something", operator=who, request=entry.request, status=status)

    def _who(self, request: Request) -> str | None:
        """The name given with the right password, or None."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        right = hmac.compare_digest(sha256(password.encode()).digest(), self._secret)
        return name if right and scheme.lower() == "basic" else None


_UNKNOWN = PlainTextResponse("the password is wrong\n", 401, {"WWW-Authenticate": 'Basic realm="twinlock"'})
_ELSEWHERE = PlainTextResponse("another site may not ask for this\n", 403)
_PAGE_HEADERS = {
    # Nothing from elsewhere, nothing inline, in nobody's frame, kept nowhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def _from_elsewhere(request: Request) -> bool:
    """A browser adds the password by itself, so it must also say that our own page asks; programs say nothing."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    return not own or site not in ("same-origin", "none")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _json(value: Any, status: int = 200) -> Response:
    return Response(encode(value) + b"\n", status, media_type="application/json; charset=utf-8")
