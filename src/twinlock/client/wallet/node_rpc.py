"""JSON-RPC to the wallet of a coin node, typed where answers are read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx

from twinlock.client.errors import ConfigError
from twinlock.client.wallet.errors import NodeWalletError

TIMEOUT_S = 60.0
BATCH = 100
"""Calls in one HTTP request."""

ATOMS = 100_000_000
"""In one coin, as nodes write amounts."""

WALLET_LOCKED = -13
UNKNOWN_METHOD = -32601
WALLET_ERROR = -4

_FIXES = {
    WALLET_LOCKED: "unlock the node's wallet with walletpassphrase",
    UNKNOWN_METHOD: "use a newer node",
    -18: "load or create the wallet in the node, and name it in the URL: http://host:port/wallet/NAME",
    -28: "wait until the node has started",
}


class WalletRpc(Protocol):
    """One wallet of a node. Amounts in answers are Decimal, in whole coins."""

    async def call(self, method: str, *params: object) -> Any:
        """Raises NodeWalletError; its `numbers["rpc"]` is the node's error code, absent where it does not answer."""
        ...

    async def call_many(self, method: str, params: Sequence[Sequence[object]]) -> list[Any]:
        """Many calls of one method; None in the place of a call that the node refused."""
        ...

    async def close(self) -> None: ...


class NodeRpc:
    """Over HTTP. url: ``http://host:port/wallet/NAME``. secret: file with ``user:password``, such as the node's cookie.

    The file is read for each request: a node writes a new cookie at each start.
    """

    def __init__(self, url: str, secret: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ConfigError(
                f"{urlunsplit(parts._replace(netloc=parts.hostname or ''))} is not the address of a node's wallet",
                fix="write http://127.0.0.1:8332/wallet/NAME; user:password stand in the file that node_secret names",
            )
        self._url = url
        self._secret = secret
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def call(self, method: str, *params: object) -> Any:
        reply = await self._post({"jsonrpc": "1.0", "id": 0, "method": method, "params": params})
        if (error := reply.get("error")) is not None:
            raise _refused(method, error)
        return reply["result"]

    async def call_many(self, method: str, params: Sequence[Sequence[object]]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(params), BATCH):
            some = params[start : start + BATCH]
            asked = [{"jsonrpc": "1.0", "id": i, "method": method, "params": each} for i, each in enumerate(some)]
            replies = await self._post(asked)
            by_id = {reply["id"]: reply.get("result") for reply in replies}
            results += [by_id.get(i) for i in range(len(some))]
        return results

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, body: object) -> Any:
        try:
            secret = await asyncio.to_thread(self._secret.read_text)
            user, _, password = secret.strip().partition(":")
            answer = await self._http.post(self._url, content=json.dumps(body), auth=(user, password))
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise NodeWalletError("the node refuses the password", fix=f"correct {self._secret}", fault="user")
            return json.loads(answer.content, parse_float=Decimal)
        except OSError as error:
            raise NodeWalletError(f"cannot read {self._secret}: {error.strerror}", fault="user") from error
        except (httpx.HTTPError, ValueError) as error:
            raise NodeWalletError(
                f"the node does not answer: {error!r}", fix="start the node, or correct its URL"
            ) from error


def atoms(value: Decimal | int | str) -> int:
    """Atoms of an amount as nodes write it.

    >>> atoms(Decimal("0.00000546"))
    546
    """
    return int(Decimal(value) * ATOMS)


def coins(value: int) -> str:
    """An amount of atoms as nodes read it.

    >>> coins(546)
    '0.00000546'
    """
    return f"{value // ATOMS}.{value % ATOMS:08d}"


def _refused(method: str, error: dict[str, Any]) -> NodeWalletError:
    number = int(error.get("code", 0))
    text = str(error.get("message", ""))[:500]
    return NodeWalletError(f"{method}: {text}", numbers={"rpc": number}, fix=_FIXES.get(number, ""))
