"""An Electrum server that lies, in front of one that does not: what it passes on is bent by the lie of the moment."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from twinlock.electrum.methods import HistoryItem
from twinlock.electrum.states import status_hash

Message = dict[str, Any]

HISTORY, SUBSCRIBE = "blockchain.scripthash.get_history", "blockchain.scripthash.subscribe"
UNSPENT, MERKLE = "blockchain.scripthash.listunspent", "blockchain.transaction.get_merkle"
HEADERS = "blockchain.headers.subscribe"

NOWHERE = "ab" * 32
"""A transaction that no chain has."""

LINE = 1 << 24


class Liar:
    """Listens at `url`. lie: what to make of a result; None while it is honest."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._known: set[str] = set()
        self.port = 0
        self.lie: Lie | None = None

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def asked(self) -> bool:
        """Whether somebody talks to it."""
        return bool(self._sessions)

    def stranger(self, script: str) -> bool:
        """Whether nobody asked for that script before the lie began, as nobody knows a contract before it is made."""
        if self.lie is None:
            self._known.add(script)
        return script not in self._known

    async def start(self) -> None:
        """Serve, on the same port each time."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LINE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone, with all its conversations."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            upstream = await asyncio.open_connection(*self._upstream, limit=LINE)
            await _Session(self, (reader, writer), upstream).run()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._sessions.discard(task)
            writer.close()


Lie = Callable[["_Session", str, list[Any], Any], Awaitable[Any]]
"""From the session, the method, its parameters and the true result to what is told."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Session:
    """One conversation, passed on line by line."""

    def __init__(self, liar: Liar, client: Streams, upstream: Streams) -> None:
        self.liar = liar
        self._client = client
        self._upstream = upstream
        self._asked: dict[Any, tuple[str, list[Any]]] = {}
        self._own = (f"liar-{number}" for number in itertools.count())
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        ways = [asyncio.create_task(self._questions()), asyncio.create_task(self._replies())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*ways, *self._work):
                task.cancel()
            self._upstream[1].close()

    async def ask(self, method: str, *params: Any) -> Any:
        """What the honest server says."""
        number = next(self._own)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        await _send(self._upstream[1], {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)})
        return await future

    async def _questions(self) -> None:
        while line := await self._client[0].readline():
            message = json.loads(line)
            for each in message if isinstance(message, list) else [message]:
                params = each.get("params", [])
                self._asked[each.get("id")] = each["method"], params
                if each["method"] in (HISTORY, SUBSCRIBE, UNSPENT):
                    self.liar.stranger(params[0])
            self._upstream[1].write(line)
            await self._upstream[1].drain()

    async def _replies(self) -> None:
        while line := await self._upstream[0].readline():
            message = json.loads(line)
            if isinstance(message, dict) and message.get("id") in self._answers:
                self._answers.pop(message["id"]).set_result(message.get("result"))
                continue
            # A lie may ask the honest server itself, so that the next line must not wait for it.
            task = asyncio.create_task(self._tell(message))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def _tell(self, message: Any) -> None:
        with suppress(OSError):
            told = (
                [await self._bent(each) for each in message] if isinstance(message, list) else await self._bent(message)
            )
            await _send(self._client[1], told)

    async def _bent(self, message: Message) -> Message:
        if self.liar.lie is None or "error" in message:
            return message
        if "method" in message:
            return message | {"params": await self._bent_note(message["method"], message["params"])}
        method, params = self._asked.pop(message["id"])
        return message | {"result": await self.liar.lie(self, method, params, message["result"])}

    async def _bent_note(self, method: str, params: list[Any]) -> list[Any]:
        """A notification tells the last of its parameters as if it was asked for."""
        assert self.liar.lie is not None
        return [*params[:-1], await self.liar.lie(self, method, params[:-1], params[-1])]


async def _send(writer: asyncio.StreamWriter, message: Message | list[Message]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


# Lies ----------------------------------------------------------------------------------------------------------------


def hides(keep: int) -> Lie:
    """Of every script that nobody asked for before, but the first so many transactions are left out, consistently."""

    async def lie(session: _Session, method: str, params: list[Any], result: Any) -> Any:
        if method not in (HISTORY, SUBSCRIBE, UNSPENT) or not session.liar.stranger(params[0]):
            return result
        if method == UNSPENT:
            return result if keep else []
        history = (result if method == HISTORY else await session.ask(HISTORY, *params)) or []
        items = [HistoryItem(each["tx_hash"], each["height"]) for each in history[:keep]]
        return history[:keep] if method == HISTORY else status_hash(items)

    return lie


async def invents(session: _Session, method: str, params: list[Any], result: Any) -> Any:
    """A transaction in a block, in every history."""
    invented = [{"tx_hash": NOWHERE, "height": 1}, *result] if method == HISTORY else result
    if method != SUBSCRIBE:
        return invented
    history = await session.ask(HISTORY, *params)
    return status_hash([HistoryItem(NOWHERE, 1), *(HistoryItem(e["tx_hash"], e["height"]) for e in history or [])])


async def forges_branches(_session: _Session, method: str, _params: list[Any], result: Any) -> Any:
    """Proofs that lead nowhere."""
    return result | {"merkle": [NOWHERE, *result["merkle"][1:]]} if method == MERKLE else result


async def forks(_session: _Session, method: str, _params: list[Any], result: Any) -> Any:
    """A tip that stands on a block that nobody has."""
    if method != HEADERS:
        return result
    return {"height": result["height"] + 1, "hex": result["hex"][:8] + NOWHERE + result["hex"][72:]}


@asynccontextmanager
async def lying(url: str) -> AsyncIterator[Liar]:
    """A liar in front of the server at ``tcp://host:port``, honest so far."""
    host, port = url.removeprefix("tcp://").split(":")
    liar = Liar(host, int(port))
    await liar.start()
    try:
        yield liar
    finally:
        await liar.stop()
