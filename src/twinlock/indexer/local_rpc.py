"""LocalRPC: the operator's door. JSON-RPC, one line a message, on loopback only; a table of commands."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from twinlock import __version__
from twinlock.chain.address import address_to_script
from twinlock.electrum.errors import FrameError
from twinlock.electrum.framing import LineDecoder, Request, decode_requests, encode_error, encode_reply
from twinlock.errors import TwinlockError
from twinlock.indexer.doors import opening
from twinlock.indexer.env import EnvError, Service
from twinlock.indexer.methods import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_ARGUMENTS,
    INVALID_REQUEST,
    UNKNOWN_METHOD,
    RpcError,
)
from twinlock.indexer.operated import Operated
from twinlock.kernels.scan import hashx

log = structlog.get_logger("indexer.local_rpc")

_LIMIT = 1 << 20
_QUERIED = 1000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

Command = Callable[..., Any]


class LocalRPC:
    """Answers the operator about one indexer."""

    def __init__(self, operated: Operated) -> None:
        self._operated = operated
        self._server: asyncio.Server | None = None
        self.commands: dict[str, Command] = {
            "getinfo": self.getinfo,
            "sessions": self.sessions,
            "groups": self.groups,
            "peers": self.peers,
            "add_peer": self.add_peer,
            "ban": self.ban,
            "unban": self.unban,
            "listbanned": self.listbanned,
            "disconnect": self.disconnect,
            "log": self.log,
            "daemon_url": self.daemon_url,
            "query": self.query,
            "reorg": self.reorg,
            "stop": self.stop,
        }

    async def start(self, service: Service) -> None:
        """Open the door. Raises EnvError for an address that others could reach, DoorError."""
        if service.host not in _LOOPBACK:
            raise EnvError(f"{service}: the operator's door opens on loopback only")
        with opening(service):
            self._server = await asyncio.start_server(self._serve, service.host, service.port, limit=_LIMIT)

    def close(self) -> None:
        """Close it."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = LineDecoder(_LIMIT)
        # Cancelled when the program ends; said to nobody, as there is nobody left.
        with contextlib.suppress(ConnectionError, FrameError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                for line in lines.feed(data):
                    try:
                        request = decode_requests(line)[0][0]
                    except FrameError as error:
                        # A page in a browser can send lines here too, but the first of them are those of HTTP.
                        writer.write(encode_error(None, INVALID_REQUEST, str(error)))
                        raise
                    writer.write(await self._answer(request))
                await writer.drain()
        writer.close()

    async def _answer(self, request: Request) -> bytes:
        number = None if request.id is msgspec.UNSET else request.id
        try:
            return encode_reply(number, await self.call(request.method, request.params))
        except RpcError as error:
            return encode_error(number, error.number, str(error))
        except TwinlockError as error:
            return encode_error(number, BAD_REQUEST, str(error))
        except Exception as error:
            log.exception("a command failed", command=request.method)
            return encode_error(number, INTERNAL_ERROR, f"{type(error).__name__}: {error}")

    async def call(self, name: str, params: list[Any] | dict[str, Any]) -> Any:
        """Run a command. Raises RpcError."""
        command = self.commands.get(name)
        if command is None:
            raise RpcError(UNKNOWN_METHOD, f"no command {name!r}; there are {', '.join(self.commands)}")
        takes = inspect.signature(command)
        try:
            takes.bind(**params) if isinstance(params, dict) else takes.bind(*params)
        except TypeError as error:
            usage = " ".join([name, *(str(param).split(":")[0] for param in takes.parameters.values())])
            raise RpcError(INVALID_ARGUMENTS, f"{error}; use it as: {usage}") from error
        result = command(**params) if isinstance(params, dict) else command(*params)
        return await result if isinstance(result, Awaitable) else result

    # -- commands

    def getinfo(self) -> dict[str, Any]:
        """The state of everything, in numbers."""
        c = self._operated
        return {
            "version": __version__,
            "coin": c.coin.symbol,
            "network": str(c.coin.network),
            "daemon": str(c.daemon.node),
            "peers": len(c.peers.peers),
            "proxy": c.peers.proxy,
            "daemon_calls_us": c.news.live,
            "height": c.storage.height,
            "tip": c.processor.tip,
            "transactions": c.storage.tx_count,
            "index_pieces": len(c.storage.segments),
            "index_verified": round(c.upkeep.verified, 3),
            "mempool": len(c.mempool.txs),
            "sessions": len(c.shared.sessions),
            "subscriptions": c.shared.watchers.count,
            "requests": c.shared.requests,
            "held": c.shared.held,
            "ready": c.ready,
            "trouble": [
                {"code": t.code, "reason": t.reason, "fix": t.fix, "for_s": round(c.clock.monotonic() - t.since)}
                for t in c.troubles.now
            ],
            "uptime_s": round(c.clock.monotonic() - c.started),
        }

    def sessions(self) -> list[dict[str, Any]]:
        """One row a session."""
        return [session.summary() for session in self._operated.shared.sessions]

    def groups(self) -> list[dict[str, Any]]:
        """How many sessions each network has, and what they have cost together."""
        groups = self._operated.shared.costs.groups.items()
        return [{"name": name, "sessions": sessions, "cost": round(cost, 1)} for name, (sessions, cost) in groups]

    def peers(self) -> list[dict[str, Any]]:
        """The other servers that we know, the well ones first."""
        return self._operated.peers.rows()

    def add_peer(self, *words: Any) -> str:
        """Take another server in: host v1.4 s50002 t50001."""
        return self._operated.peers.add_by_hand(" ".join(map(str, words)))

    def ban(self, *what: Any) -> list[str]:
        """Keep away from addresses, networks or hosts (*.example.org), and end their sessions. It is kept in a file."""
        c = self._operated
        try:
            return [c.bans.ban(str(text)) for text in what]
        finally:  # those before one that was refused hold
            for session in list(c.shared.sessions):
                if not c.bans.allows(session.address):
                    session.abort()
            c.peers.drop_banned()

    def unban(self, *what: Any) -> list[str]:
        """Take bans back; those that there were."""
        return [text for text in map(str, what) if self._operated.bans.unban(text)]

    def listbanned(self) -> list[str]:
        """All bans."""
        return self._operated.bans.rows()

    def disconnect(self, *which: Any) -> list[int]:
        """End sessions, by number, by group, or all of them."""
        if not which:
            raise RpcError(INVALID_ARGUMENTS, "name sessions by their numbers, a group, or all")
        ended = []
        for session in list(self._operated.shared.sessions):
            if "all" in which or session.number in which or session.group in which:
                session.abort()
                ended.append(session.number)
        return ended

    def log(self, *which: Any) -> list[int]:
        """Log the requests of sessions: all, none, new (those to come, or no more), or by number, on or off each.

        Gives the numbers of those that are logged now.
        """
        sessions = self._operated.sessions
        if strange := [word for word in which if word not in ("all", "none", "new") and not isinstance(word, int)]:
            raise RpcError(INVALID_ARGUMENTS, f"{strange[0]!r} is neither all, none, new nor a session's number")
        if "new" in which:
            sessions.log_new = not sessions.log_new
        if "none" in which:
            sessions.log_new = False
        for session in self._operated.shared.sessions:
            if session.number in which:
                session.logged = not session.logged
            elif "all" in which or "none" in which:
                session.logged = "all" in which
        return sorted(session.number for session in self._operated.shared.sessions if session.logged)

    def daemon_url(self, *urls: Any) -> str:
        """Call other nodes from now on, the first one as long as it answers; without any, say which one is called."""
        c = self._operated
        if urls:
            c.daemon.use(c.nodes(tuple(map(str, urls))))
        return str(c.daemon.node)

    async def query(self, *what: Any) -> list[dict[str, Any]]:
        """History, coins and balance of addresses or scripts (hex). `--limit 20` goes before them."""
        words, limit = [str(word) for word in what], _QUERIED
        if words[:1] == ["--limit"]:
            if len(words) < 2 or not words[1].isdigit():
                raise RpcError(INVALID_ARGUMENTS, "--limit needs a number; use it as: query --limit 20 address")
            words, limit = words[2:], int(words[1])
        return [await self._query(text, limit) for text in words]

    async def _query(self, text: str, limit: int) -> dict[str, Any]:
        c = self._operated
        try:
            script = bytes.fromhex(text)
        except ValueError:
            script = address_to_script(c.coin, text)
        name = hashx(script)
        index = c.storage.snapshot()
        coins = await asyncio.to_thread(lambda: msgspec.json.decode(index.unspent_json(name, b"")))  # may be very many
        history = c.storage.history(name, most=limit) if limit else []
        return {
            "query": text,
            "history_size": c.storage.history_size(name),
            "history": [{"tx_hash": tx[::-1].hex(), "height": height} for tx, height in history],
            "coins": coins[:limit],
            "balance": c.view.balance(name),
            "mempool": c.view.unconfirmed(name)[:limit],
        }

    async def reorg(self, count: int = 3) -> str:
        """Undo that many blocks and take them in again."""
        if type(count) is not int or count < 1:
            raise RpcError(INVALID_ARGUMENTS, "how many blocks should be a number from 1 on")
        if not self._operated.ready:
            raise RpcError(BAD_REQUEST, "the index is not complete yet")
        return f"undid {await self._operated.undo(count)} blocks"

    def stop(self) -> str:
        """End the server in good order."""
        asyncio.get_running_loop().call_soon(self._operated.stop.set)
        return "stopping"
