"""The OpenAPI 3.1 document, made from the table of operations and the very types that the server encodes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from twinlock import __version__
from twinlock.server.http.operations import LINES, Operation
from twinlock.server.http.schemas import Json, schemas_of
from twinlock.server.http.shapes import ProblemBody

_LIMIT_HEADERS = {
    "RateLimit-Limit": "Requests that may be made at once.",
    "RateLimit-Remaining": "Requests that may be made now.",
    "RateLimit-Reset": "Seconds until all of them may be made again.",
}
_REFUSALS = {
    "400": "A parameter is wrong.",
    "404": "There is no such pair.",
    "429": "Too many requests; wait as long as `Retry-After` says.",
    "503": "The data API is switched off.",
}


def openapi_document(operations: Iterable[Operation]) -> Json:
    """The whole document."""
    rows = list(operations)
    answers, components = schemas_of([*(row.answer for row in rows), ProblemBody])
    problem = answers.pop()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Twinlock exchange: market data",
            "version": __version__,
            "description": "Read only. Orders are placed over the WebSocket of the DEX protocol alone.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {row.path: {"get": _get(row, answer, problem)} for row, answer in zip(rows, answers, strict=True)},
        "components": {"schemas": components},
    }


def _get(row: Operation, answer: Json, problem: Json) -> Json:
    headers: Json = {}
    if row.metered:
        headers = {
            name: {"description": text, "schema": {"type": "integer", "minimum": 0}, "required": True}
            for name, text in _LIMIT_HEADERS.items()
        }
    wait = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    following = {"Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}}
    body = {"error": {"type": "string"}}
    refusal = {"type": "object", "properties": body, "required": ["error"]} if row.reference else problem
    answers: Json = {
        "200": {
            "description": row.summary,
            "headers": headers | (following if row.paged else {}),
            "content": {row.media: {"schema": {"type": "string"} if row.media == LINES else answer}},
        }
    }
    for status, text in _refusals(row).items():
        answers[status] = {
            "description": text,
            "headers": headers | (wait if status == "429" else {}),
            "content": {"application/json": {"schema": refusal}},
        }
    return {
        "operationId": _identifier(row.path),
        "summary": row.summary,
        "tags": ["protocol" if row.reference else "listing"],
        "parameters": _parameters(row),
        "responses": answers,
    }


def _refusals(row: Operation) -> dict[str, str]:
    members = msgspec.structs.fields(row.query)
    wanted = {"429", "503"} if row.metered else set()
    if members or not row.reference:
        wanted.add("400")
    if members and not row.reference:
        wanted.add("404")
    return {status: text for status, text in _REFUSALS.items() if status in wanted}


def _parameters(row: Operation) -> list[Json]:
    [schema], components = schemas_of([row.query])
    properties: Json = components[schema["$ref"].rpartition("/")[2]]["properties"]
    required = {member.encode_name for member in msgspec.structs.fields(row.query) if member.required}
    found = []
    for name, member in properties.items():
        in_path = f"{{{name}}}" in row.path
        found.append(
            {
                "name": name,
                "in": "path" if in_path else "query",
                "required": in_path or name in required,
                "schema": _without_null(member),
            }
        )
    return found


def _without_null(schema: Json) -> Json:
    """A parameter that is not given is left out, never null."""
    rest = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    plain = {name: value for name, value in schema.items() if not (name == "default" and value is None)}
    if "enum" in plain:
        plain["enum"] = [value for value in plain["enum"] if value is not None]
    return rest[0] if len(rest) == 1 else plain


def _identifier(path: str) -> str:
    return "_".join(part.strip("{}") for part in path.removeprefix("/api/").split("/"))
