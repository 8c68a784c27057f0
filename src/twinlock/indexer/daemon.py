"""Daemon: the coin node's JSON-RPC and REST over kept connections. The only room that speaks the node's wire."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from twinlock.errors import TwinlockError
from twinlock.indexer.node_home import NodeAddress

log = structlog.get_logger("indexer.daemon")

_CONNECTIONS, _KEPT = 8, 2
"""To the node at once, and how many of them wallets cannot have."""

_STATUS = re.compile(rb"HTTP/1\.\d (\d{3})\b")
_PATIENCE = 60.0
_MAX_REPLY = 1 << 30
_UNAUTHORIZED, _UNAVAILABLE = 401, 503
RETRY_SECONDS = 0.25

_T = TypeVar("_T")


class DaemonError(TwinlockError):
    """The node answered with an error; `number` is its code, the message is its text, unaltered."""

    code = "indexer.daemon.refused"
    fault = "node"

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message, numbers={"number": number})
        self.number = number


class DaemonGoneError(TwinlockError):
    """The node does not answer, or answers nonsense."""

    code = "indexer.daemon.gone"
    fault = "node"


class _Error(msgspec.Struct):
    code: int = -1
    message: str = ""


class _Reply(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None
    id: int | str | None = None


_reply = msgspec.json.Decoder(_Reply)
_replies = msgspec.json.Decoder(list[_Reply])
_encode = msgspec.json.Encoder().encode


class _Connection:
    """One kept HTTP/1.1 connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """Send, and return (status, body)."""
        self.writer.write(head + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        if not (spoken := _STATUS.match(lines[0])):
            raise DaemonGoneError(
                "what is at the node's address does not speak HTTP", fix="name the port of a node's RPC"
            )
        size = -1
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if not 0 <= size <= _MAX_REPLY:
            raise DaemonGoneError("the node's answer has no usable length", fix="name the port of a node's RPC")
        return int(spoken[1]), await self.reader.readexactly(size)

    def close(self) -> None:
        self.writer.close()


class NodeCalls(Protocol):
    """What sessions need of the node."""

    async def call(self, method: str, /, *params: Any) -> Any:
        """One call's result, decoded."""
        ...

    async def raw(self, method: str, /, *params: Any) -> bytes:
        """One call's result as JSON text."""
        ...


class Guests:
    """Implements `NodeCalls` for wallets: however much they ask, connections are left to what follows the node."""

    def __init__(self, node: NodeCalls) -> None:
        self._node = node
        self._slots = asyncio.Semaphore(_CONNECTIONS - _KEPT)

    async def call(self, method: str, /, *params: Any) -> Any:
        async with self._slots:
            return await self._node.call(method, *params)

    async def raw(self, method: str, /, *params: Any) -> bytes:
        async with self._slots:
            return await self._node.raw(method, *params)


class Daemon:
    """Calls to the node. All methods raise DaemonError when it refuses and DaemonGoneError when it is not there.

    Of several nodes the first is called until it is gone, then the next, and so on in a circle. patience: seconds that
    an answer may take.
    """

    def __init__(self, *nodes: NodeAddress | str, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._nodes = [NodeAddress.parse(node) if isinstance(node, str) else node for node in nodes]
        self._current = 0
        self._idle: list[_Connection] = []
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self.rest: bool | None = None

    @property
    def node(self) -> NodeAddress:
        """The one that is called now."""
        return self._nodes[self._current]

    def use(self, nodes: Sequence[NodeAddress]) -> None:
        """Call these from now on."""
        self._nodes = list(nodes)
        self._switch(0)

    def _switch(self, current: int) -> None:
        self._current = current
        self.rest = None
        self.close()

    @property
    def host(self) -> str:
        """Where the node runs."""
        return self.node.host

    @property
    def port(self) -> int:
        """Its port."""
        return self.node.port

    @property
    def local(self) -> bool:
        """Whether the node runs on this machine."""
        return self.host in ("127.0.0.1", "localhost", "::1")

    async def call(self, method: str, *params: Any) -> Any:
        """One call's result, decoded."""
        return msgspec.json.decode(await self.raw(method, *params))

    async def typed(self, kind: type[_T], method: str, *params: Any) -> _T:
        """One call's result as a value of that type. Raises DaemonGoneError when it is none."""
        return _parse(msgspec.json.Decoder(kind), await self.raw(method, *params))

    async def raw(self, method: str, *params: Any) -> bytes:
        """One call's result as the JSON text that the node sent."""
        body = _encode({"jsonrpc": "1.0", "id": 0, "method": method, "params": params})
        reply = _parse(_reply, await self._post(body))
        if reply.error:
            raise DaemonError(reply.error.code, reply.error.message)
        return bytes(reply.result)

    async def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """The results of several calls in one request; a call that was refused gives its DaemonError."""
        if not calls:
            return []
        body = _encode([{"id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)])
        replies = _parse(_replies, await self._post(body))
        if len(replies) != len(calls):
            raise DaemonGoneError("the node left calls of a batch unanswered")
        if sorted(reply.id for reply in replies if isinstance(reply.id, int)) != list(range(len(calls))):
            raise DaemonGoneError("the node answered calls that nobody made")
        replies.sort(key=lambda reply: int(reply.id or 0))
        return [
            DaemonError(r.error.code, r.error.message) if r.error else msgspec.json.decode(r.result) for r in replies
        ]

    async def block(self, block_hash: str) -> bytes:
        """A raw block, by REST where the node offers it."""
        if self.rest is not False:
            status, body = await self._somewhere("GET", f"/rest/block/{block_hash}.bin")
            if status == 200:
                self.rest = True
                return body
            self.rest = None if status == _UNAVAILABLE else False
        return unhex(await self.call("getblock", block_hash, 0))

    async def block_hashes(self, start: int, count: int) -> list[str]:
        """Hashes of the active chain, from height `start` on; fewer where the chain ends."""
        got = await self.batch([("getblockhash", (h,)) for h in range(start, start + count)])
        end = next((n for n, item in enumerate(got) if isinstance(item, DaemonError)), len(got))
        for item in got[:end]:
            hash_of(item)
        return got[:end]

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _post(self, body: bytes) -> bytes:
        status, reply = await self._somewhere("POST", "/", body)
        if status == _UNAVAILABLE:
            raise DaemonGoneError("the node is stopping, or its work queue is full")
        return reply

    async def _somewhere(self, verb: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask the node; where it is gone the next one, each once."""
        for _ in self._nodes[1:]:
            asked = self._current
            try:
                return await self._ask(verb, path, body)
            except DaemonGoneError as error:
                if asked == self._current:
                    self._switch((asked + 1) % len(self._nodes))
                    log.warning("another node is asked from now on", node=str(self.node), reason=str(error))
        return await self._ask(verb, path, body)

    async def _ask(self, verb: str, path: str, body: bytes) -> tuple[int, bytes]:
        node = self.node
        authorization = node.authorization()
        while True:
            head = (
                f"{verb} {path} HTTP/1.1\r\nHost: {node.host}\r\nAuthorization: {authorization}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            status, reply = await self._request(head.encode(), body)
            if status != _UNAUTHORIZED:
                return status, reply
            if authorization == (authorization := node.authorization()):
                raise DaemonGoneError("the node refuses the user name or password", fix="check the daemon URL")

    async def _request(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        async with self._slots:
            while True:
                kept = bool(self._idle)
                connection = self._idle.pop() if kept else await self._connect()
                try:
                    async with asyncio.timeout(self._patience):
                        answer = await connection.request(head, body)
                except TimeoutError as error:
                    connection.close()
                    raise DaemonGoneError(
                        f"no answer from the node within {self._patience:g} s", fix="look at the node and its log"
                    ) from error
                except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
                    connection.close()
                    # The node closes connections that were idle; such a one is not a failure of the node.
                    if kept:
                        continue
                    raise DaemonGoneError(
                        f"no answer from the node: {error}", fix="see whether the node has just stopped"
                    ) from error
                except BaseException:
                    connection.close()
                    raise
                self._idle.append(connection)
                if answer[0] == _UNAVAILABLE:
                    self.close()  # it may be stopping, and some nodes cannot while anybody stays connected
                return answer

    async def _connect(self) -> _Connection:
        try:
            return _Connection(*await asyncio.open_connection(self.host, self.port, limit=1 << 20))
        except OSError as error:
            raise DaemonGoneError(f"no node at {self.host}:{self.port}", fix="start the node") from error


def unhex(text: Any) -> bytes:
    """Bytes that the node gives as hex. Raises DaemonGoneError when it does not."""
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError) as error:
        raise DaemonGoneError("the node's answer is not hex") from error


def hash_of(text: Any) -> bytes:
    """A hash in internal order that the node gives as display hex. Raises DaemonGoneError when it is none."""
    data = unhex(text)
    if len(data) != 32:
        raise DaemonGoneError("the node's answer is not a hash")
    return data[::-1]


def _parse(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise DaemonGoneError(f"the node's answer cannot be read: {error}") from error
