"""An Electrum server over a simulated chain, which can be told to lie, to fall silent and to hang up.

It stands behind the same `Dial` seam as the network, so that clients cannot tell the difference:

    server = SimulatedServer(SimulatedChain(coin))
    view = ChainView(coin, ["tcp://simulated:1"], clock=clock, entropy=entropy, dial=server.dial)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from . import methods
from .errors import ConnectionLostError, ElectrumError
from .framing import REQUEST_LIMIT, LineDecoder, Request, decode_requests, encode_error, encode_note, encode_reply
from .headers import WINDOW
from .methods import Version
from .simulated_chain import RefusedError, SimulatedChain
from .states import status_hash
from .transport import Endpoint, Transport, memory_pipe

BAD_REQUEST = 1
NODE_ERROR = 2
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602

Lie = Callable[[Any], Any]


class SimulatedServer:
    """lies: by method name, what to make of the true result. refusals: by method name, the error given instead.

    version: the highest that it speaks. down: refuses connections. mute: takes requests and never answers. requests:
    the methods asked for so far.
    """

    def __init__(self, chain: SimulatedChain, *, version: str = "1.6", fee_rate: str = "-1") -> None:
        self.chain = chain
        self.version = version
        self.fee_rate = fee_rate
        self.lies: dict[str, Lie] = {}
        self.refusals: dict[str, str] = {}
        self.down = False
        self.mute = False
        self.requests: list[str] = []
        self._sessions: set[_Session] = set()
        chain.listeners.append(self.notify)

    async def dial(self, endpoint: Endpoint) -> Transport:
        """A new connection, whatever the endpoint."""
        if self.down:
            raise ConnectionLostError(f"{endpoint} is not reachable: the simulated server is down")
        ours, theirs = memory_pipe()
        self.attach(ours)
        return theirs

    def attach(self, transport: Transport) -> asyncio.Task[None]:
        """Serve a connection that comes from elsewhere; the task ends with it."""
        session = _Session(self, transport)
        self._sessions.add(session)
        task = asyncio.create_task(session.run())
        session.task = task
        task.add_done_callback(lambda _: self._sessions.discard(session))
        return task

    @property
    def sessions(self) -> int:
        """Open connections."""
        return len(self._sessions)

    async def hang_up(self) -> None:
        """End all connections."""
        for session in list(self._sessions):
            await session.end()

    def notify(self) -> None:
        """Tell every session what changed for it."""
        for session in self._sessions:
            session.changed.set()


class _Session:
    def __init__(self, server: SimulatedServer, transport: Transport) -> None:
        self._server = server
        self._transport = transport
        self._tip: str | None = None
        self._scripts: dict[str, str | None] = {}
        self._version: Version = ()
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        notifier = asyncio.create_task(self._tell())
        decoder = LineDecoder(REQUEST_LIMIT)
        try:
            while True:
                for line in decoder.feed(await self._transport.receive()):
                    await self._serve(line)
        except ElectrumError:
            pass
        finally:
            notifier.cancel()
            await self._transport.close()

    async def end(self) -> None:
        await self._transport.close()
        if self.task is not None:
            await asyncio.wait({self.task})

    async def _serve(self, line: bytes) -> None:
        requests, batch = decode_requests(line)
        replies = [self._answer(request) for request in requests]
        if self._server.mute:
            return
        joined = b"[" + b",".join(reply.strip() for reply in replies) + b"]\n" if batch else replies[0]
        await self._transport.send(joined)

    def _answer(self, request: Request) -> bytes:
        assert not isinstance(request.id, type(...)), "clients ask, they do not notify"
        request_id: Any = request.id
        self._server.requests.append(request.method)
        handler = _HANDLERS.get(request.method)
        if handler is None:
            return encode_error(request_id, UNKNOWN_METHOD, f"unknown method {request.method!r}")
        if (refusal := self._server.refusals.get(request.method)) is not None:
            return encode_error(request_id, BAD_REQUEST, refusal)
        try:
            result = handler(self, *request.params)
        except _AnswerError as error:
            return encode_error(request_id, error.number, error.text)
        except (TypeError, ValueError, KeyError) as error:
            return encode_error(request_id, INVALID_PARAMS, f"wrong arguments: {error!r}")
        lie = self._server.lies.get(request.method)
        return encode_reply(request_id, lie(result) if lie else result)

    async def _tell(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            if self._server.mute:
                continue
            try:
                for line in self._news():
                    await self._transport.send(line)
            except ConnectionLostError:
                return

    def _news(self) -> list[bytes]:
        lines = []
        tip = self._server.chain.headers[-1].hash_hex
        if self._tip not in (None, tip):
            self._tip = tip
            lines.append(
                encode_note(methods.HEADERS_SUBSCRIBE.name, [self._lied(methods.HEADERS_SUBSCRIBE.name, self._top())])
            )
        for key, known in self._scripts.items():
            status = self._status(key)
            if status != known:
                self._scripts[key] = status
                lines.append(encode_note(methods.SCRIPT_SUBSCRIBE.name, [key, status]))
        return lines

    def _lied(self, method: str, result: object) -> object:
        lie = self._server.lies.get(method)
        return lie(result) if lie else result

    # One method each -----------------------------------------------------------------------------------

    def version(self, _client: str, offered: str | list[str], *_rest: object) -> list[str]:
        low, high = (offered, offered) if isinstance(offered, str) else (offered[0], offered[1])
        chosen = min(methods.parse_version(high), methods.parse_version(self._server.version))
        if chosen < methods.parse_version(low):
            raise _AnswerError(BAD_REQUEST, f"unsupported protocol version: {offered}")
        self._version = chosen
        return ["Simulated 1.0", methods.version_text(chosen)]

    def features(self) -> dict[str, object]:
        return {
            "genesis_hash": self._server.chain.headers[0].hash_hex,
            "hosts": {},
            "protocol_min": "1.4",
            "protocol_max": self._server.version,
            "pruning": None,
            "server_version": "Simulated 1.0",
            "hash_function": "sha256",
        }

    def ping(self) -> None:
        return None

    def headers_subscribe(self) -> dict[str, object]:
        self._tip = self._server.chain.headers[-1].hash_hex
        return self._top()

    def block_header(self, height: int) -> str:
        if not 0 <= height <= self._server.chain.height:
            raise _AnswerError(BAD_REQUEST, f"height {height} out of range")
        return self._server.chain.headers[height].serialize().hex()

    def block_headers(self, start: int, count: int) -> dict[str, object]:
        run = self._server.chain.headers[start : start + min(count, WINDOW)]
        texts = [header.serialize().hex() for header in run]
        shape: dict[str, object] = {"headers": texts} if self._version >= (1, 6) else {"hex": "".join(texts)}
        return {"count": len(texts), "max": WINDOW, **shape}

    def script_subscribe(self, key: str) -> str | None:
        self._scripts[key] = self._status(key)
        return self._scripts[key]

    def script_unsubscribe(self, key: str) -> bool:
        return self._scripts.pop(key, "") != ""

    def script_history(self, key: str) -> list[dict[str, object]]:
        return [
            {"tx_hash": item.tx_hash, "height": item.height} | ({} if item.fee is None else {"fee": item.fee})
            for item in self._server.chain.history_of(key)
        ]

    def script_unspent(self, key: str) -> list[dict[str, object]]:
        return [
            {"tx_hash": point.txid, "tx_pos": point.index, "height": height, "value": value}
            for point, value, height in self._server.chain.unspent_of(key)
        ]

    def transaction(self, txid: str) -> str:
        try:
            return self._server.chain.tx(txid).serialize().hex()
        except KeyError:
            text = f"daemon error: {{'code': -5, 'message': 'No such mempool or blockchain transaction {txid}'}}"
            raise _AnswerError(NODE_ERROR, text) from None

    def merkle(self, txid: str, height: int) -> dict[str, object]:
        found = self._server.chain.branch(txid, height)
        if found is None:
            raise _AnswerError(BAD_REQUEST, f"tx {txid} not in block at height {height}")
        return {"block_height": height, "merkle": found[0], "pos": found[1]}

    def broadcast(self, raw: str) -> str:
        try:
            return self._server.chain.submit(bytes.fromhex(raw))
        except RefusedError as error:
            text = f"the transaction was rejected by network rules.\n\n{error}\n[{raw}]"
            raise _AnswerError(BAD_REQUEST, text) from None

    def estimate_fee(self, _target: int) -> float:
        return float(self._server.fee_rate)

    def relay_fee(self) -> float:
        return 0.00001

    def mempool_info(self) -> dict[str, float]:
        return {"mempoolminfee": 0.00001, "minrelaytxfee": 0.00001, "incrementalrelayfee": 0.00001}

    def _top(self) -> dict[str, object]:
        chain = self._server.chain
        return {"height": chain.height, "hex": chain.headers[-1].serialize().hex()}

    def _status(self, key: str) -> str | None:
        return status_hash(self._server.chain.history_of(key))


class _AnswerError(ElectrumError):
    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


_HANDLERS: dict[str, Callable[..., object]] = {
    methods.VERSION.name: _Session.version,
    methods.FEATURES.name: _Session.features,
    methods.PING.name: _Session.ping,
    methods.HEADERS_SUBSCRIBE.name: _Session.headers_subscribe,
    methods.BLOCK_HEADER.name: _Session.block_header,
    methods.BLOCK_HEADERS.name: _Session.block_headers,
    methods.SCRIPT_SUBSCRIBE.name: _Session.script_subscribe,
    methods.SCRIPT_UNSUBSCRIBE.name: _Session.script_unsubscribe,
    methods.SCRIPT_HISTORY.name: _Session.script_history,
    methods.SCRIPT_UNSPENT.name: _Session.script_unspent,
    methods.TRANSACTION.name: _Session.transaction,
    methods.MERKLE.name: _Session.merkle,
    methods.BROADCAST.name: _Session.broadcast,
    methods.ESTIMATE_FEE.name: _Session.estimate_fee,
    methods.RELAY_FEE.name: _Session.relay_fee,
    methods.MEMPOOL_INFO.name: _Session.mempool_info,
}
