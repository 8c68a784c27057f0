"""A coin node without a coin: serves a chain of given blocks by JSON-RPC and REST on loopback, as a real node would.

It stands in where no real node can be had, or where one has to misbehave: it can be without REST, change its
password (as a restart with a cookie does), fall silent, or serve another branch. It serves what it is given and
validates nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from twinlock.chain.header import Header
from twinlock.kernels.scan import Scan, scan_block, scan_tx, sha256d
from twinlock.simnet.ports import free_ports

_REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}
_HEADER = 80


class _Refusal(Exception):  # noqa: N818
    """What the node answers to a call that it cannot serve."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class SimulatedNode:
    """The node. `blocks`: the best chain from its first block on, raw. `mempool`: raw transactions by display hash."""

    def __init__(self, blocks: list[bytes], *, auxpow: bool = False, rest: bool = True) -> None:
        self.port = free_ports(1)[0]
        self.user, self.password = "user", "password"
        self.rest = rest
        self.mempool: dict[str, bytes] = {}
        self.calls: list[str] = []
        self._auxpow = auxpow
        self._blocks: list[bytes] = []
        self._hashes: list[str] = []
        self._known: dict[str, bytes] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._commands: dict[str, Callable[..., Any]] = {
            "getblockcount": lambda: len(self._hashes) - 1,
            "getbestblockhash": lambda: self._hashes[-1],
            "getblockhash": self._block_hash,
            "getblockheader": self._block_header,
            "getblock": lambda block_hash, _=0: self._block(block_hash).hex(),
            "getrawmempool": lambda: list(self.mempool),
            "getrawtransaction": self._raw_transaction,
            "sendrawtransaction": self.receive,
            "getblockchaininfo": self._chain_info,
            "getchaintxstats": lambda: {"txcount": sum(self._scan(raw).tx_count for raw in self._blocks)},
            "getnetworkinfo": lambda: {"version": 1140700, "subversion": "/Simulated:1.14.7/", "relayfee": 0.001},
            "getmempoolinfo": lambda: {"size": len(self.mempool), "mempoolminfee": 0.001, "minrelaytxfee": 0.001},
            "getzmqnotifications": list,
        }
        self.extend(blocks)

    # -- the chain

    @property
    def url(self) -> str:
        """Where it answers, with its user and password."""
        return f"http://{self.user}:{self.password}@127.0.0.1:{self.port}"

    @property
    def height(self) -> int:
        """Of its tip."""
        return len(self._blocks) - 1

    @property
    def tip(self) -> str:
        """Display hash of its tip."""
        return self._hashes[-1]

    def extend(self, blocks: list[bytes]) -> None:
        """Add blocks on top; what they confirm leaves the mempool."""
        for raw in blocks:
            block_hash = sha256d(raw[:_HEADER])[::-1].hex()
            self._blocks.append(raw)
            self._hashes.append(block_hash)
            self._known[block_hash] = raw
            txids = self._scan(raw).txids
            for at in range(0, len(txids), 32):
                self.mempool.pop(txids[at : at + 32][::-1].hex(), None)

    def replace(self, depth: int, blocks: list[bytes]) -> None:
        """Reorganise: drop the last `depth` blocks, then add these."""
        del self._blocks[-depth:], self._hashes[-depth:]
        self.extend(blocks)

    def receive(self, raw_hex: str) -> str:
        """Take a transaction into the mempool; its display hash."""
        raw = bytes.fromhex(raw_hex)
        txid = scan_tx(raw).hash[::-1].hex()
        self.mempool[txid] = raw
        return txid

    def _scan(self, raw: bytes) -> Scan:
        return scan_block(raw, self._auxpow)

    def _block(self, block_hash: str) -> bytes:
        if block_hash not in self._known:
            raise _Refusal(-5, "Block not found")
        return self._known[block_hash]

    def _block_hash(self, height: int) -> str:
        if not 0 <= height < len(self._hashes):
            raise _Refusal(-8, "Block height out of range")
        return self._hashes[height]

    def _block_header(self, block_hash: str) -> dict[str, Any]:
        header = Header.parse(self._block(block_hash)[:_HEADER])
        best = block_hash in self._hashes
        height = self._hashes.index(block_hash) if best else -1
        answer = {
            "hash": block_hash,
            "height": height,
            "confirmations": len(self._hashes) - height if best else -1,
            "time": header.time,
        }
        return answer | ({"previousblockhash": header.prev_hash[::-1].hex()} if any(header.prev_hash) else {})

    def _raw_transaction(self, txid: str, _verbose: bool = False, block_hash: str = "") -> str:
        if txid in self.mempool:
            return self.mempool[txid].hex()
        if block_hash:
            raw = self._block(block_hash)
            scan = self._scan(raw)
            offsets = memoryview(scan.offsets).cast("I")
            for n in range(scan.tx_count):
                if scan.txids[32 * n : 32 * n + 32][::-1].hex() == txid:
                    return raw[offsets[n] : offsets[n + 1]].hex()
        raise _Refusal(-5, "No such mempool or blockchain transaction")

    def _chain_info(self) -> dict[str, Any]:
        return {
            "chain": "main",
            "blocks": self.height,
            "headers": self.height,
            "bestblockhash": self.tip,
            "initialblockdownload": False,
            "verificationprogress": 1.0,
            "pruned": False,
            "size_on_disk": sum(map(len, self._blocks)),
        }

    # -- the wire

    async def start(self) -> None:
        """Answer from now on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 26)

    async def stop(self) -> None:
        """Fall silent: the port is closed and all connections end."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()
        await asyncio.sleep(0)

    async def __aenter__(self) -> SimulatedNode:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                verb, path, _ = lines[0].split(" ")
                status, answer = self._get(path) if verb == "GET" else self._post(headers, body)
                head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(head.encode() + answer)
                await writer.drain()
        self._connections.discard(writer)
        writer.close()

    def _get(self, path: str) -> tuple[int, bytes]:
        block_hash = path.removeprefix("/rest/block/").removesuffix(".bin")
        return (200, self._known[block_hash]) if self.rest and block_hash in self._known else (404, b"")

    def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if headers.get("authorization") != f"Basic {expected}":
            return 401, b""
        call = json.loads(body)
        if isinstance(call, list):
            return 200, json.dumps([self._answer(each) for each in call]).encode()
        answer = self._answer(call)
        return (500 if answer["error"] else 200), json.dumps(answer).encode()

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(call["method"])
        error = None
        result = None
        try:
            if call["method"] not in self._commands:
                raise _Refusal(-32601, "Method not found")
            result = self._commands[call["method"]](*call.get("params", ()))
        except _Refusal as refusal:
            error = {"code": refusal.code, "message": str(refusal)}
        return {"result": result, "error": error, "id": call.get("id")}
