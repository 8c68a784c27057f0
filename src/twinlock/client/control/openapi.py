"""The OpenAPI 3.1 document of the control interface, made from its table of operations and the types it encodes."""

from __future__ import annotations

import operator
import re
from functools import reduce
from typing import Any, cast

import msgspec

from twinlock import __version__
from twinlock.client.control.endpoints import OPERATIONS
from twinlock.client.control.operations import Operation
from twinlock.client.control.views import ErrorView
from twinlock.client.events import Event

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_REFUSALS = {
    "400": "Refused; the code says why.",
    "401": "The key is missing or unknown.",
    "403": "The key does not allow this, or the configuration does not.",
    "422": "The request does not fit its schema.",
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
    in_path = re.findall(r"{(\w+)", operation.path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in operation.query
    ]
    row: Json = {
        "operationId": operation.endpoint.__name__,
        "summary": operation.summary,
        "description": f"Scope: {operation.scope}.",
        "parameters": parameters,
        "responses": {"200": _content("Done.", answer), **_refusals(problem)},
    }
    if body is not None:
        row["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return row


def _events(told: Json, problem: Json) -> Json:
    return {
        "operationId": "events",
        "summary": "A WebSocket that sends every event from now on as JSON text",
        "description": "Scope: read. Answers to a WebSocket handshake only.",
        "responses": {"101": _content("Each message is one event.", told), **_refusals(problem)},
    }


def _content(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusals(problem: Json) -> Json:
    return {status: _content(text, problem) for status, text in _REFUSALS.items()}
