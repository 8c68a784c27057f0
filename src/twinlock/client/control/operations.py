"""What a row of the interface is: the way to it, who may use it, the types that travel, and the function behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from twinlock.client.errors import ClientError
from twinlock.client.keyring import Scope
from twinlock.client.trader import Trader

HOST = ("host", "The server; the first configured one without it.")


class ForbiddenError(ClientError):
    """The key does not allow this, or the configuration does not."""

    code = "control.forbidden"


class Ask(NamedTuple):
    """One question. path, query: the parameters in the address; body: decoded, None where there is none.

    raw: the same undecoded.
    """

    trader: Trader
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    raw: bytes

    @property
    def host(self) -> str:
        return self.query.get("host", "")


Endpoint = Callable[[Ask], Awaitable[Any]]

Method = Literal["GET", "POST", "DELETE"]


class Operation(NamedTuple):
    """A row of the interface. scope: what a key must allow; owner: only the token of `control.json` does.

    answer, body: the types in JSON. query: parameters by name, with what they mean.
    """

    method: Method
    path: str
    scope: Scope | Literal["owner"]
    endpoint: Endpoint
    answer: Any
    summary: str
    body: Any = None
    query: tuple[tuple[str, str], ...] = ()
