"""What is refused before any handler sees it: frames, payloads, logins that are missing, too many requests."""

from __future__ import annotations

from collections.abc import Iterator

from tests.server.refusals.table import Row, World, flooded, says

from twinlock.protocol.codes import ErrorCode as E
from twinlock.protocol.limits import ALLOWANCES, Meter
from twinlock.protocol.routes import ROUTES, Direction, Route

TO_SERVER = [route for route in ROUTES.values() if route.direction is Direction.TO_SERVER]
_NULL = type(None)
_DATA = (Meter.DATA,)


def _config(members: str) -> str:
    return '{"type":1,"route":"config",' + members + "}"


def _book(members: str) -> str:
    return '{"type":1,"route":"orderbook","id":#,"payload":{' + members + "}}"


def _login(members: str) -> str:
    return '{"type":1,"route":"connect","id":#,"payload":{' + members + "}}"


FRAMES = (
    says("guest", "", "not JSON", E.PARSE, "nonsense"),
    says("guest", "", "empty", E.PARSE, ""),
    says("guest", "", "cut off", E.PARSE, '{"type":1,"route":"config","id":7'),
    says("guest", "", "two messages in one frame", E.PARSE, "{}{}"),
    says("guest", "", "a list, as of a batch", E.PARSE, "[]"),
    says("guest", "", "nested without end", E.PARSE, "[" * 4_000),
    says("guest", "", "a number for a route", E.PARSE, '{"type":1,"route":7,"id":7}'),
    says("guest", "config", "request with id 0", E.PARSE, _config('"id":0,"payload":null')),
    says("guest", "config", "request without an id", E.PARSE, _config('"payload":null')),
    says("guest", "config", "negative id", E.PARSE, _config('"id":-1')),
    says("guest", "config", "fraction as id", E.PARSE, _config('"id":1.5')),
    says("guest", "config", "quoted id", E.PARSE, _config('"id":"7"')),
    says("guest", "config", "id beyond 64 bits", E.PARSE, _config('"id":18446744073709551616')),
    says("guest", "", "response with id 0", E.PARSE, '{"type":2,"id":0,"payload":{"result":true}}'),
    says("guest", "", "answer to nothing", E.UNKNOWN_RESPONSE_ID, '{"type":2,"id":99,"payload":{"result":true}}'),
    says("guest", "", "refusal of nothing", E.UNKNOWN_RESPONSE_ID, '{"type":2,"id":98,"payload":{"error":{"code":1}}}'),
    says("guest", "launch", "unknown route", E.UNKNOWN_ROUTE, '{"type":1,"route":"launch","id":#}'),
    says("guest", "", "no route", E.UNKNOWN_ROUTE, '{"type":1,"id":#}'),
    says("guest", "preimage", "a server's request", E.UNKNOWN_ROUTE, '{"type":1,"route":"preimage","id":#}'),
    says("guest", "config", "unknown type", E.UNKNOWN_MESSAGE_TYPE, '{"type":4,"route":"config","id":#}'),
    says("guest", "config", "no type", E.UNKNOWN_MESSAGE_TYPE, '{"route":"config","id":#}'),
    says("guest", "launch", "unknown notification", E.UNKNOWN_MESSAGE_TYPE, '{"type":3,"route":"launch"}'),
)

MEMBERS = (
    says("guest", "orderbook", "quoted number", E.PARSE, _book('"base":"2","quote":0')),
    says("guest", "orderbook", "fraction", E.PARSE, _book('"base":2.5,"quote":0')),
    says("guest", "orderbook", "negative number", E.PARSE, _book('"base":-2,"quote":0')),
    says("guest", "orderbook", "number beyond 32 bits", E.PARSE, _book('"base":4294967296,"quote":0')),
    says("guest", "orderbook", "member missing", E.PARSE, _book('"base":2')),
    says("guest", "connect", "null for bytes", E.PARSE, _login('"accountid":null,"timestamp":1')),
    says("guest", "connect", "odd number of digits", E.PARSE, _login('"accountid":"abc","timestamp":1')),
    says("guest", "connect", "no hexadecimal digits", E.PARSE, _login('"accountid":"zz","timestamp":1')),
    says("guest", "connect", "a number for bytes", E.PARSE, _login('"accountid":12,"timestamp":1')),
    says("guest", "fee_rate", "a text for an asset", E.PARSE, '{"type":1,"route":"fee_rate","id":#,"payload":"ltc"}'),
)


def _payloads() -> Iterator[Row]:
    """Each route that needs a payload, without one and with one of another kind. Data routes have few tokens."""
    for route in TO_SERVER:
        if route.payload is _NULL or route.meter in _DATA:
            continue
        who = "trader" if route.auth else "guest"
        for defect, payload in (("null", "null"), ("a text", '"x"'), ("a list of numbers", "[1]")):
            frame = f'{{"type":1,"route":"{route.name}","id":#,"payload":{payload}}}'
            yield says(who, route.name, f"payload is {defect}", E.PARSE, frame)


def _logins() -> Iterator[Row]:
    for route in TO_SERVER:
        if route.auth:
            frame = f'{{"type":1,"route":"{route.name}","id":#,"payload":null}}'
            yield says("guest", route.name, "without connect", E.UNAUTHORIZED, frame)


def _floods(route: Route[object, object]) -> Row:
    meter = Meter.CUMULATIVE if route.meter is Meter.NONE else route.meter

    async def provoke(world: World) -> int:
        # What the rows before drew from the buckets of the address comes back.
        await world.pass_time(10)
        peer = await world.exchange.guest()
        # More than the burst, because the bucket fills again meanwhile: faster than a busy machine asks.
        code = await flooded(peer, route.name, 4 * ALLOWANCES[meter].burst)
        await peer.shut()
        return code

    return Row(route.name, "too often", E.TOO_MANY_REQUESTS, provoke)


MALFORMED = (*FRAMES, *MEMBERS, *_payloads(), *_logins())
TOO_MANY = tuple(
    _floods(ROUTES[name]) for name in ("healthy", "limit", "orderbook", "connect", "fee_rate", "order_status")
)
