"""A client that costs little: it keeps requests under way on some connections and notes when answers came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Call = tuple[str, list[Any]]
Answer = Callable[[int, bytes, float], None]
"""Receives a call's number, its line, and when that came (seconds)."""


class Conn(asyncio.Protocol):
    """One connection. `notes` counts the notifications that came; `noted` is when the last one did."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._pending = 0
        self._done: asyncio.Future[None] | None = None
        self._until: tuple[int, asyncio.Future[None]] | None = None
        self.notes = 0
        self.noted = self.first_noted = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self._done, self._until and self._until[1]):
            if future and not future.done():
                future.set_exception(error or ConnectionError("the server closed the connection"))

    async def run(self, requests: Iterator[tuple[int, bytes]], depth: int, answer: Answer) -> None:
        """Send numbered requests, at most `depth` of them unanswered at a time."""
        self._requests, self._depth, self._answer = requests, depth, answer
        self._done = asyncio.get_running_loop().create_future()
        self._fill()
        await self._done

    def _fill(self) -> None:
        out = []
        while self._pending < self._depth and (item := next(self._requests, None)):
            out.append(item[1])
            self._pending += 1
        if out:
            self._transport.write(b"".join(out))
        elif not self._pending and self._done and not self._done.done():
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._parts.append(data)
        if b"\n" not in data:
            return
        *lines, rest = b"".join(self._parts).split(b"\n")
        self._parts = [rest]
        answered = False
        for line in lines:
            if b'"method"' in line[:60]:
                self._note(now)
                continue
            self._pending -= 1
            answered = True
            self._answer(number_of(line), line, now)
        if answered:
            self._fill()

    def _note(self, now: float) -> None:
        self.notes += 1
        self.first_noted = self.first_noted or now
        self.noted = now
        if self._until and self.notes >= self._until[0] and not self._until[1].done():
            self._until[1].set_result(None)

    def expect(self, count: int) -> asyncio.Future[None]:
        """Done when so many notifications have come from now on."""
        self.notes, self.first_noted = 0, 0.0
        future = asyncio.get_running_loop().create_future()
        self._until = count, future
        return future

    def close(self) -> None:
        """Hang up."""
        self._done = self._until = None
        self._transport.close()


def number_of(line: bytes) -> int:
    """The id of an answer, wherever it stands, without decoding all of it."""
    at = line.find(b'"id":', 0, 40)
    tail = line[line.rfind(b'"id":') + 5 :] if at < 0 else line[at + 5 : at + 30]
    return int(tail.strip(b" }").split(b",")[0].split(b"}")[0])


def encode(number: int, call: Call) -> bytes:
    """A request line."""
    method, params = call
    return b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}\n' % (
        number,
        method.encode(),
        json.dumps(params).encode(),
    )


async def connect(port: int, count: int) -> list[Conn]:
    """So many connections that have said what version they speak."""
    loop, made = asyncio.get_running_loop(), []
    for _ in range(count):
        _, conn = await loop.create_connection(Conn, "127.0.0.1", port)
        await conn.run(iter([(0, encode(0, ("server.version", ["bench", "1.4"])))]), 1, lambda *_: None)
        made.append(conn)
    return made


class Load:
    """Calls sent over some connections: how long each took (seconds), what came (bytes), what was refused."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._lines = [encode(number, call) for number, call in enumerate(calls)]
        self._sent = [0.0] * len(calls)
        self.took = [0.0] * len(calls)
        self.size = 0
        self.refused: list[bytes] = []

    async def over(self, conns: Sequence[Conn], depth: int) -> float:
        """Send all; the seconds that passed."""
        source, began = self._requests(), time.perf_counter()
        await asyncio.gather(*(conn.run(source, depth, self._answer) for conn in conns))
        return time.perf_counter() - began

    def _requests(self) -> Iterator[tuple[int, bytes]]:
        for number, line in enumerate(self._lines):
            self._sent[number] = time.perf_counter()
            yield number, line

    def _answer(self, number: int, line: bytes, now: float) -> None:
        self.took[number] = now - self._sent[number]
        self.size += len(line)
        if b'"error":' in line[:60] and b'"error":null' not in line[:60].replace(b" ", b""):
            self.refused.append(line[:200])


async def ask(port: int, calls: Sequence[Call]) -> list[Any]:
    """The results of calls, in their order; an error stands as {"error": ...}."""
    results: list[Any] = [None] * len(calls)

    def answer(number: int, line: bytes, _now: float) -> None:
        reply = json.loads(line)
        results[number] = {"error": reply["error"]} if reply.get("error") else reply["result"]

    (conn,) = await connect(port, 1)
    await conn.run(((n, encode(n, call)) for n, call in enumerate(calls)), 64, answer)
    conn.close()
    return results
