"""A node on a chain made for a test, that tells the truth or any lie, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from benchmarks.indexer.chain import ChainMaker

from twinlock.chain.coins import Network, coin
from twinlock.kernels.scan import scan_tx, sha256d, tx_hash

GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4adae5494dffff7f200200000001010000000100000000000000000000000000000000000000000000000000000000"
    "00000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e"
    "6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a6"
    "7130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
"""The first block of Bitcoin's regtest, a fact of the network."""

Lie = Callable[[str, list[Any], Any], Any]
"""Receives a call and the true answer, gives the answer that is sent; bytes are sent as they are."""


def hash_of(block: bytes) -> str:
    """Display hex."""
    return sha256d(block[:80])[::-1].hex()


class FakeNode:
    """Set `lie` to have answers changed. `blocks` is the best chain, first block first; `mempool` by txid."""

    def __init__(self, blocks: int = 130, txs: int = 300) -> None:
        self.maker = ChainMaker(coin("btc", Network.REGTEST).genesis_hash, blocks, txs)
        self.blocks = [GENESIS, *self.maker.blocks()]
        self.mempool: dict[str, bytes] = {}
        self.lie: Lie | None = None
        self.loading = False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://u:p@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        if self._server:
            self._server.close()

    def receive(self, raw: bytes) -> str:
        """Take a transaction into the mempool."""
        assert scan_tx(raw).outputs
        txid = tx_hash(raw)[::-1].hex()
        self.mempool[txid] = raw
        return txid

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                body = await reader.readexactly(size)
                status, answer = (404, b"") if head.startswith(b"GET") else (200, self._reply(json.loads(body)))
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _reply(self, call: Any) -> bytes:
        answers = [self._answer(one) for one in (call if isinstance(call, list) else [call])]
        raw = next((answer for answer in answers if isinstance(answer, bytes)), None)
        return raw if raw is not None else json.dumps(answers if isinstance(call, list) else answers[0]).encode()

    def _answer(self, call: dict[str, Any]) -> dict[str, Any] | bytes:
        method, params = call["method"], call.get("params", [])
        try:
            result = self.truth(method, params)
            if self.lie:
                result = self.lie(method, params, result)
        except LookupError as error:
            return {"id": call["id"], "result": None, "error": {"code": -5, "message": str(error)}}
        return result if isinstance(result, bytes) else {"id": call["id"], "result": result, "error": None}

    def truth(self, method: str, params: list[Any]) -> Any:
        """What an honest node says. Raises LookupError for what it does not know."""
        heights = {hash_of(block): height for height, block in enumerate(self.blocks)}
        match method:
            case "getblockhash":
                return hash_of(self.blocks[params[0]])
            case "getblockcount":
                return len(self.blocks) - 1
            case "getbestblockhash":
                return hash_of(self.blocks[-1])
            case "getblock":
                return self.blocks[heights[params[0]]].hex()
            case "getblockheader":
                height = heights[params[0]]
                row = {"height": height, "confirmations": len(self.blocks) - height}
                return row | ({"previousblockhash": hash_of(self.blocks[height - 1])} if height else {})
            case "getrawmempool":
                return list(self.mempool)
            case "getrawtransaction":
                return self.mempool[params[0]].hex()
            case "getblockchaininfo":
                return {"initialblockdownload": self.loading}
        raise LookupError(f"unknown method {method}")
