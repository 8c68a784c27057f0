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
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from twinlock.errors import TwinlockError
from twinlock.protocol.wire import encode
from twinlock.server.admin.operator import Operator
from twinlock.server.comms.listener import HttpFactory
from twinlock.server.db.audit import AuditEntry
from twinlock.server.db.history import NEWEST, PAGE_MAX, Place
from twinlock.server.http.errors import ApiError, InternalError

log = structlog.get_logger(__name__)

_INDEX_MAX = 2**31 - 1 - PAGE_MAX

Action = Callable[[Operator, Request], Awaitable[object]]
Endpoint = Callable[[Request], Awaitable[Response]]


def _wrong(name: str, text: str, fix: str) -> ApiError:
    return ApiError(400, "admin.parameter", f"{name} is {text[:80]!r}", fix=fix)


def _hex(name: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise _wrong(name, text, "an ID is 64 hex digits") from None


def _id(request: Request, name: str = "id") -> bytes:
    return _hex(name, request.path_params[name])


def _whole(name: str, text: str) -> int:
    """A number that the database can hold."""
    if not text.isdecimal() or len(text) > 18:
        raise _wrong(name, text, "a whole number, not below 0")
    return int(text)


def _number(request: Request, name: str, default: int) -> int:
    return _whole(name, request.query_params.get(name, str(default)))


def _count(request: Request, default: int = 100) -> int:
    """``n``: rows of a page."""
    count = _number(request, "n", default)
    if not 1 <= count <= PAGE_MAX:
        raise _wrong("n", str(count), f"ask for 1 to {PAGE_MAX} at once, then for the next page")
    return count


def _index(request: Request) -> int:
    """``first``: the number of an address."""
    index = _number(request, "first", 0)
    if index > _INDEX_MAX:
        raise _wrong("first", str(index), f"a number up to {_INDEX_MAX}")
    return index


def _place(request: Request) -> Place:
    """``after=TIME:ID`` of the last row of the page before."""
    text = request.query_params.get("after", "")
    stamp, _, last = text.partition(":")
    return Place(_whole("after", stamp), _hex("after", last)) if text else NEWEST


def _factor(request: Request) -> float:
    text = request.path_params["factor"]
    try:
        return float(text)
    except ValueError:
        raise _wrong("factor", text, "a number such as 1.5") from None


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise _wrong(name, text, "true or false")
    return text == "true"


async def _ping(_: Operator, __: Request) -> object:
    return "pong"


async def _body(request: Request) -> str:
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise ApiError(400, "admin.parameter", "the text is not UTF-8", fix="send UTF-8") from None


async def _notify(operator: Operator, request: Request) -> object:
    return await operator.notify(_id(request), await _body(request))


async def _notify_all(operator: Operator, request: Request) -> object:
    return await operator.notify_all(await _body(request))


async def _suspend(operator: Operator, request: Request) -> object:
    persist = _flag("persist", request.query_params.get("persist", "true"))
    return await operator.suspend(request.path_params["name"], _number(request, "t", 0), persist=persist)


async def _codes(operator: Operator, request: Request) -> object:
    count, days = _number(request, "n", 1), _number(request, "days", 30)
    return await operator.prepaid_bonds(count, days, _number(request, "strength", 1))


async def _matches(operator: Operator, request: Request) -> object:
    ended = _flag("includeinactive", request.query_params.get("includeinactive", "false"))
    return await operator.matches(request.path_params["name"], _place(request), _count(request), ended=ended)


async def _switch(operator: Operator, request: Request) -> object:
    return await operator.switch_data_api(_flag("enabledataapi", request.path_params["on"]))


READING: dict[str, Action] = {
    "/api/ping": _ping,
    "/api/config": lambda operator, _: operator.config(),
    "/api/accounts": lambda operator, r: operator.accounts(_hex("after", r.query_params.get("after", "")), _count(r)),
    "/api/account/{id}": lambda operator, r: operator.account(_id(r)),
    "/api/account/{id}/outcomes": lambda operator, r: operator.outcomes(_id(r), _count(r)),
    "/api/account/{id}/fails": lambda operator, r: operator.outcomes(_id(r), _count(r), bad=True),
    "/api/account/{id}/explain": lambda operator, r: operator.explain(_id(r), _count(r, 200)),
    "/api/account/{id}/orders": lambda operator, r: operator.account_orders(_id(r), _place(r), _count(r)),
    "/api/account/{id}/matches": lambda operator, r: operator.account_matches(_id(r), _place(r), _count(r)),
    "/api/audit": lambda operator, r: operator.audit(_number(r, "before", 0), _count(r)),
    "/api/assets": lambda operator, _: operator.assets(),
    "/api/asset/{symbol}": lambda operator, r: operator.asset(r.path_params["symbol"]),
    "/api/asset/{symbol}/addresses": lambda operator, r: operator.addresses(
        r.path_params["symbol"], _index(r), _count(r, 10)
    ),
    "/api/markets": lambda operator, _: operator.markets(),
    "/api/market/{name}": lambda operator, r: operator.market(r.path_params["name"]),
    "/api/market/{name}/orderbook": lambda operator, r: operator.book(r.path_params["name"]),
    "/api/market/{name}/epochorders": lambda operator, r: operator.epoch_orders(r.path_params["name"]),
    "/api/market/{name}/orders": lambda operator, r: operator.market_orders(
        r.path_params["name"], _place(r), _count(r)
    ),
    "/api/market/{name}/matches": _matches,
}
CHANGING: dict[str, Action] = {
    "/api/enabledataapi/{on}": _switch,
    "/api/account/{id}/forgive_user": lambda operator, r: operator.forgive_account(_id(r)),
    "/api/account/{id}/forgive_match/{matchid}": lambda operator, r: operator.forgive_match(_id(r), _id(r, "matchid")),
    "/api/account/{id}/notify": _notify,
    "/api/notifyall": _notify_all,
    "/api/asset/{symbol}/setfeescale/{factor}": lambda operator, r: operator.set_fee_scale(
        r.path_params["symbol"], _factor(r)
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
            ],
            exception_handlers={HTTPException: _no_route, Exception: _broken},
        )

    def factory(self) -> HttpFactory:
        """What makes a protocol for each connection."""
        config = uvicorn.Config(self.app, ws="none", lifespan="off", log_config=None, access_log=False)
        config.load()
        state = ServerState()
        return lambda: HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())

    def _reading(self, action: Action) -> Endpoint:
        async def answer(request: Request) -> Response:
            return _refusal(_UNKNOWN) if self._who(request) is None else await self._act(action, request)

        return answer

    def _changing(self, action: Action) -> Endpoint:
        """What changes something is written down with its answer, refused or not, before it is answered."""

        async def answer(request: Request) -> Response:
            who = self._who(request)
            if who is None:
                log.warning("operator refused", path=request.url.path, address=_address(request))
                return _refusal(_UNKNOWN)
            response = _refusal(_ELSEWHERE) if _from_elsewhere(request) else await self._act(action, request)
            await self._record(request, who, response.status_code)
            return response

        return answer

    def _showing(self, page: Page) -> Endpoint:
        async def answer(request: Request) -> Response:
            if self._who(request) is None:
                return _refusal(_UNKNOWN)
            return Response(page.content, media_type=page.media_type, headers=_PAGE_HEADERS)

        return answer

    async def _act(self, action: Action, request: Request) -> Response:
        try:
            return _json(await action(self._operator, request))
        except TwinlockError as error:
            return _refusal(error)

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


_UNKNOWN = ApiError(401, "admin.password", "the password is wrong", fix="use the one in admin_password_file")
_ELSEWHERE = ApiError(403, "admin.elsewhere", "another site may not ask for this", fix="use the operator's own page")
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="twinlock"'}
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


async def _no_route(_: Request, error: Exception) -> Response:
    """No such path, or not this method."""
    assert isinstance(error, HTTPException)
    refused = ApiError(404, "admin.path", "there is no such path", fix="see twinlock server admin --help")
    if error.status_code == 405:
        refused = ApiError(405, "admin.method", "what changes something is posted, what shows something is got")
    response = _refusal(refused)
    response.headers.update(error.headers or {})
    return response


async def _broken(_: Request, __: Exception) -> Response:
    """Not foreseen."""
    return _refusal(InternalError(code="admin.internal"))


def _refusal(error: TwinlockError) -> Response:
    status = error.status if isinstance(error, ApiError) else 400
    response = _json({"error": str(error), "code": error.code, "fix": error.fix}, status)
    response.headers.update(_CHALLENGE if status == 401 else {})
    return response


def _json(value: Any, status: int = 200) -> Response:
    return Response(encode(value) + b"\n", status, media_type="application/json; charset=utf-8")
