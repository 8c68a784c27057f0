"""The OpenAPI 3.1 document of the control interface, made from its table of operations and the types it encodes."""

from __future__ import annotations

import operator
import re
from functools import reduce
from typing import Any, cast

import msgspec

from twinlock import __version__
from twinlock.client.control.operations import Operation, Parameter
from twinlock.client.control.table import OPERATIONS
from twinlock.client.control.views import ErrorView
from twinlock.client.events import Event

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_REFUSALS = {
    "400": "Refused; the code says why.",
    "401": "The key is missing or unknown.",
    "403": "The key does not allow this, or the configuration does not.",
    "404": "There is no such path.",
    "422": "The request does not fit its schema.",
}
_IN_PATH = {
    "symbol": "A coin's symbol, such as btc.",
    "market": "A market's name, such as ltc_btc.",
    "order_id": "The order's ID in hex, or the beginning of it.",
    "match_id": "The match's ID in hex, or the beginning of it.",
    "name": "The name that it has.",
}


def document() -> Json:
    """The whole document."""
    types = [row.answer for row in OPERATIONS]
    bodies = [row.body for row in OPERATIONS if row.body is not None]
    event = reduce(operator.or_, cast(list[Any], Event.__subclasses__()))
    found, components = msgspec.json.schema_components([*types, *bodies, ErrorView, event], ref_template=_REF)
    answers, rest = found[: len(types)], list(found[len(types) :])
    told, problem = rest.pop(), rest.pop()
    paths: Json = {}
    for row, answer in zip(OPERATIONS, answers, strict=True):
        body = rest.pop(0) if row.body is not None else None
        path = row.path.replace(":path}", "}")
        paths.setdefault(path, {})[row.method.lower()] = _row(row, answer, body, problem)
    paths["/events"] = {"get": _events(told, problem)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Twinlock client",
            "version": __version__,
            "description": "One trader, on the loopback device. Amounts are atoms, rates message-rates, times ms.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:{port}", "variables": {"port": {"default": "7233"}}}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _row(operation: Operation, answer: Json, body: Json | None, problem: Json) -> Json:
    row: Json = {
        "operationId": operation.endpoint.__name__,
        "summary": operation.summary,
        "description": f"Scope: {operation.scope}.",
        "parameters": [
            *(_in_path(name) for name in re.findall(r"{(\w+)", operation.path)),
            *(_in_query(each) for each in operation.query),
        ],
        "responses": {"200": _content("Done.", answer), **_refusals(problem)},
    }
    if body is not None:
        row["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return row


def _in_path(name: str) -> Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": _IN_PATH[name], "schema": schema}


def _in_query(each: Parameter) -> Json:
    schema = msgspec.json.schema(each.kind)
    required = each.default is ...
    if not required:
        schema["default"] = each.default
    return {"name": each.name, "in": "query", "required": required, "description": each.meaning, "schema": schema}


def _events(told: Json, problem: Json) -> Json:
    return {
        "operationId": "events",
        "summary": "A WebSocket that sends every event from now on as JSON text",
        "description": "Scope: read. Answers to a WebSocket handshake only. Programs send the key as a header; a "
        "browser, which cannot, offers the subprotocols twinlock.events and twinlock.key.KEY.",
        "responses": {"101": _content("Each message is one event.", told), **_refusals(problem)},
    }


def _content(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusals(problem: Json) -> Json:
    return {status: _content(text, problem) for status, text in _REFUSALS.items()}
