"""Talking to the control interface: of the running daemon, or of a trader started for just this one question."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, get_args

import httpx
import msgspec

from twinlock.client.config import ClientConfig
from twinlock.client.control.app import Control
from twinlock.client.control.serve import find
from twinlock.client.control.views import ErrorView
from twinlock.client.errors import ClientError
from twinlock.client.trader import Trader
from twinlock.errors import Fault

T = TypeVar("T")

TIMEOUT = 90.0
"""Seconds; an order may take a server 60 s to accept."""


class RemoteError(ClientError):
    """The daemon refused; code, message and advice are its own."""


class Remote:
    """The interface as a program uses it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, kind: type[T]) -> T:
        return _decode(await self._http.get(path), kind)

    async def post(self, path: str, kind: type[T], body: Any = None) -> T:
        return _decode(await self._http.post(path, content=msgspec.json.encode(body or {})), kind)

    async def delete(self, path: str, kind: type[T]) -> T:
        return _decode(await self._http.delete(path), kind)


@asynccontextmanager
async def daemon(config: ClientConfig) -> AsyncIterator[Remote]:
    """The running daemon. Raises ClientError when there is none."""
    address = find(config.folder)
    if address is None:
        raise ClientError("no client is running", code="control.not_running", fix="start `twinlock client run`")
    headers = {"authorization": f"Bearer {address.token}"}
    # It speaks no TLS on loopback: a context that trusts nobody spares each command the reading of all authorities.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx.AsyncClient(
        base_url=address.url, headers=headers, timeout=TIMEOUT, trust_env=False, verify=nobody
    ) as http:
        try:
            yield Remote(http)
        except httpx.TransportError as error:
            raise ClientError(
                f"the client does not answer: {error!r}", code="control.not_running", fix="start `twinlock client run`"
            ) from error


@asynccontextmanager
async def embedded(trader: Trader) -> AsyncIterator[Remote]:
    """The same for a trader inside this process, without a socket."""
    transport = httpx.ASGITransport(Control(trader, "").app())
    async with httpx.AsyncClient(base_url="http://127.0.0.1", transport=transport, timeout=TIMEOUT) as http:
        yield Remote(http)


def _decode(response: httpx.Response, kind: type[T]) -> T:
    if response.is_success:
        return msgspec.json.decode(response.content, type=kind)
    error = msgspec.json.decode(response.content, type=ErrorView)
    fault = error.fault if error.fault in get_args(Fault) else "twinlock"
    raise RemoteError(error.message, code=error.code, fault=fault, numbers=error.numbers, fix=error.fix)  # type: ignore[arg-type]
