"""The AsyncAPI 3.0 document: the market feed, and every route of the DEX protocol, from the types that travel."""

from __future__ import annotations

from typing import Any, get_args

from twinlock import __version__
from twinlock.protocol.routes import ROUTES, Direction
from twinlock.server.comms.listener import FEED_PATH, WEBSOCKET_PATH
from twinlock.server.http import feed_messages
from twinlock.server.http.schemas import Json, schemas_of

_TYPE_NUMBERS = {Direction.TO_SERVER: 1, Direction.TO_CLIENT: 1, Direction.NOTIFICATION: 3}


def asyncapi_document() -> Json:
    """The whole document. `send` is what the server sends."""
    asked, told = get_args(feed_messages.Asked), get_args(feed_messages.Told)
    routes = list(ROUTES.values())
    kinds: list[Any] = [*asked, *told, *(route.payload for route in routes), *(route.result for route in routes)]
    found, components = schemas_of(kinds)
    schemas = iter(found)
    feed = {kind.__name__: _message(kind.__doc__ or "", next(schemas)) for kind in (*asked, *told)}
    payloads = [next(schemas) for _ in routes]
    results = [next(schemas) for _ in routes]
    protocol: Json = {}
    for route, payload, result in zip(routes, payloads, results, strict=True):
        envelope = _envelope(_TYPE_NUMBERS[route.direction], payload, route.name)
        protocol[route.name] = _message(route.direction.value, envelope)
        if route.direction is not Direction.NOTIFICATION:
            protocol[f"{route.name}_result"] = _message(f"answers {route.name}", _response(result))
    incoming = {kind.__name__ for kind in asked}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Twinlock exchange: feeds", "version": __version__, "license": {"name": "MIT"}},
        "channels": {
            "market_feed": _channel(FEED_PATH, "Books, trades and tickers for programs.", feed),
            "dex_protocol": _channel(WEBSOCKET_PATH, "The DEX protocol, API version 3.", protocol),
        },
        "operations": {
            "ask_feed": _operation("receive", "market_feed", [name for name in feed if name in incoming]),
            "tell_feed": _operation("send", "market_feed", [name for name in feed if name not in incoming]),
            "ask_protocol": _operation("receive", "dex_protocol", _names(protocol, from_server=False)),
            "tell_protocol": _operation("send", "dex_protocol", _names(protocol, from_server=True)),
        },
        "components": {"schemas": components},
    }


def _names(messages: Json, *, from_server: bool) -> list[str]:
    found = []
    for name in messages:
        route = ROUTES[name.removesuffix("_result")]
        asked_by_client = route.direction is Direction.TO_SERVER
        answers = name not in ROUTES
        if (asked_by_client == answers) == from_server:
            found.append(name)
    return found


def _channel(address: str, text: str, messages: Json) -> Json:
    return {"address": address, "description": text, "messages": messages}


def _message(text: str, payload: Json) -> Json:
    return {"contentType": "application/json", "summary": " ".join(text.split()), "payload": payload}


def _operation(action: str, channel: str, names: list[str]) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }


def _envelope(number: int, payload: Json, route: str) -> Json:
    members: Json = {"type": {"const": number}, "route": {"const": route}, "payload": payload}
    if number == 1:
        members["id"] = {"type": "integer", "minimum": 1}
    return {"type": "object", "properties": members, "required": ["type", "route"]}


def _response(result: Json) -> Json:
    error = {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
        "required": ["code", "message"],
    }
    payload = {"type": "object", "properties": {"result": result, "error": error}}
    members = {"type": {"const": 2}, "id": {"type": "integer", "minimum": 1}, "payload": payload}
    return {"type": "object", "properties": members, "required": ["type", "id", "payload"]}
