"""What a row of the interface is: the way to it, who may use it, the types that travel, and the function behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from twinlock.client.errors import ClientError
from twinlock.client.keyring import Scope
from twinlock.client.trader import Trader


class ForbiddenError(ClientError):
    """The key does not allow this, or the configuration does not."""

    code = "control.forbidden"


class RequestError(ClientError):
    """The request does not fit its schema, or no such thing can be asked."""

    code = "control.request"


class Parameter(NamedTuple):
    """One that stands in the query. default: what it is without being given; `...` where it has to be."""

    name: str
    kind: Any
    meaning: str
    default: Any = ...


HOST = Parameter("host", str, "The server; the first configured one without it.", "")


class Ask(NamedTuple):
    """One question. path: the parameters in the address; query: those behind it, each of its type, or its default.

    body: decoded, None where there is none.
    """

    trader: Trader
    path: dict[str, str]
    query: dict[str, Any]
    body: Any

    @property
    def host(self) -> str:
        return str(self.query.get("host", ""))


Endpoint = Callable[[Ask], Awaitable[Any]]

Method = Literal["GET", "POST", "DELETE"]


class Operation(NamedTuple):
    """A row of the interface. scope: what a key must allow; owner: only the token of `control.json` does.

    answer, body: the types in JSON. What pays out has the scope withdraw, which the configuration has to allow too.
    """

    method: Method
    path: str
    scope: Scope | Literal["owner"]
    endpoint: Endpoint
    answer: Any
    summary: str
    body: Any = None
    query: tuple[Parameter, ...] = ()
