"""Dispatch: from a request's method and parameters to the handler that the method table names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twinlock.indexer import extras, handlers, transactions
from twinlock.indexer.caller import Caller
from twinlock.indexer.methods import (
    BAD_REQUEST,
    METHODS,
    UNKNOWN_METHOD,
    VERSIONS,
    Method,
    RpcError,
    Version,
    arguments,
    shown,
)

Handler = Callable[..., Any]

FIRST = "server.version"
"""What a connection has to begin with."""

_ROOMS = (handlers, transactions, extras)
HANDLERS: dict[str, Handler] = {
    method.name: next(getattr(room, method.handler) for room in _ROOMS if hasattr(room, method.handler))
    for method in METHODS.values()
}
"""By the method's name. A handler takes the caller and its checked arguments; it gives the result, or what will."""


def method_of(name: str, version: Version) -> Method:
    """The row of a method at a version; before one is negotiated there is but one. Raises RpcError."""
    method = METHODS.get(name)
    if not version and name != FIRST:
        raise RpcError(BAD_REQUEST, "use server.version to identify client")
    if method is None or not method.since <= (version or VERSIONS[-1]) < method.until:
        raise RpcError(UNKNOWN_METHOD, f"unknown method {shown(name)!r}")
    return method


def handle(caller: Caller, method: Method, params: list[Any] | dict[str, Any]) -> Any:
    """The result, or what will give it. Raises RpcError, DaemonError."""
    return HANDLERS[method.name](caller, *arguments(method, params, caller.version))
