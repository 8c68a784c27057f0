"""A wire between a client and an indexer, on which the estimates of fees are somebody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from twinlock.simnet.exchange import LOCALHOST
from twinlock.simnet.processes import together

LIMIT = 64 * 1024 * 1024


class Oracle:
    """See `consulted`. rate: atoms per vbyte that every estimate says, 0 leaves the indexer's own."""

    def __init__(self, port: int) -> None:
        self.rate = 0
        self.url = ""
        self._port = port
        self._asked: set[Any] = set()

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        indexer, forth = await asyncio.open_connection(LOCALHOST, self._port, limit=LIMIT)
        try:
            with suppress(EOFError, OSError):
                await together(self._listen(client, forth), self._answer(indexer, back))
        finally:
            forth.close()
            back.close()

    async def _listen(self, client: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        while line := await client.readline():
            self._asked |= {each["id"] for each in _members(line) if each.get("method") == "blockchain.estimatefee"}
            forth.write(line)
            await forth.drain()
        raise EOFError

    async def _answer(self, indexer: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while line := await indexer.readline():
            back.write(self._bent(line) if self._asked else line)
            await back.drain()
        raise EOFError

    def _bent(self, line: bytes) -> bytes:
        answers = _members(line)
        estimates = [each for each in answers if each.get("id") in self._asked]
        self._asked -= {each["id"] for each in estimates}
        if not estimates or not self.rate:
            return line
        for each in estimates:
            each["result"] = self.rate / 100_000
        return json.dumps(answers if line.lstrip().startswith(b"[") else answers[0]).encode() + b"\n"


def _members(line: bytes) -> list[dict[str, Any]]:
    said = json.loads(line)
    return said if isinstance(said, list) else [said]


@asynccontextmanager
async def consulted(port: int) -> AsyncIterator[Oracle]:
    """An oracle in front of the indexer on that port."""
    oracle = Oracle(port)
    async with await asyncio.start_server(oracle.serve, LOCALHOST, 0, limit=LIMIT) as server:
        oracle.url = f"tcp://{LOCALHOST}:{server.sockets[0].getsockname()[1]}"
        yield oracle
