"""A siege: everything at once that takes a server's memory, from clients that mean no good and from ordinary ones.

Long histories without end, subscriptions until there are no more, readers that do not read, requests that are never
finished, large batches, and blocks that touch most of what is watched.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Coroutine
from typing import Any

from benchmarks.indexer.chain import ChainMaker
from benchmarks.indexer.machine import peak_mib
from benchmarks.indexer.news import name
from benchmarks.indexer.questions import SCRIPT, Sample, milliseconds
from benchmarks.indexer.servers import Node, Server
from benchmarks.indexer.wire import Call, Load, connect, encode

_LONGEST = 80_000
"""Entries of the longest history that is an answer by the custom of Electrum servers."""

_HEAVY, _DEAF, _UNFINISHED, _BATCHES = 6, 40, 60, 8
_SUBSCRIBERS, _BLOCK_TXS = 16, 3000
_HOLD = 120
"""Half seconds that a connection is held at most."""


class Siege:
    """One server under siege. `peak` is the most that it held so far, MiB."""

    def __init__(self, server: Server, node: Node, maker: ChainMaker, sample: Sample, seed: int = 5) -> None:
        self._server, self._node, self._maker, self._sample = server, node, maker, sample
        self._random = random.Random(seed)
        self._long = [name for name in sample.huge + sample.large if sample.counts[name] < _LONGEST][:40]

    async def last(self, requests: int, subscriptions: int, blocks: int) -> dict[str, Any]:
        """Besiege until ordinary wallets have had so many answers: what these waited, and what the server held."""
        watched = await self._subscribe(subscriptions)
        attacks: list[Coroutine[Any, Any, None]] = [self._heavy() for _ in range(_HEAVY)]
        attacks += [self._deaf() for _ in range(_DEAF)] + [self._unfinished() for _ in range(_UNFINISHED)]
        attacks += [self._batches() for _ in range(_BATCHES)]
        running = [asyncio.create_task(attack) for attack in attacks]
        wallets, load = await connect(self._server.port, 4), Load(self._sample.mix(requests, 11))
        done = asyncio.create_task(load.over(wallets, 1))
        for _ in range(blocks):
            await asyncio.sleep(2)
            await self._node.give([self._maker.next_block(min(_BLOCK_TXS, self._maker.facts.txs))])
        wall = await done
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return {
            "peak_mib": peak_mib(self._server.pid),
            "seconds": round(wall, 1),
            "subscriptions": watched,
            "wallets_p50_ms": milliseconds(load.took, 0.5),
            "wallets_p99_ms": milliseconds(load.took, 0.99),
        }

    async def _subscribe(self, count: int) -> int:
        """Subscribe to all that there is, and stay; how many the server took."""
        names = [name(script) for script in self._maker.facts.touches][:count]
        names += [self._random.randbytes(32).hex() for _ in range(count - len(names))]
        self._subscribers = await connect(self._server.port, _SUBSCRIBERS)
        calls: list[Call] = [(SCRIPT + "subscribe", [who]) for who in names]
        load = Load(calls)
        await load.over(self._subscribers, 100)
        return len(calls) - len(load.refused)

    async def _heavy(self) -> None:
        """Ask for long histories and read them, again and again."""
        methods = ("get_history", "listunspent", "get_status", "get_balance")
        while True:
            calls = [(SCRIPT + self._random.choice(methods), [who]) for who in self._long]
            await self._quietly(self._ask(calls))

    async def _ask(self, calls: list[Call]) -> None:
        conns = await connect(self._server.port, 1)
        try:
            await Load(calls).over(conns, 4)
        finally:
            conns[0].close()

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        """The server may hang up."""
        try:
            await work
        except OSError:
            await asyncio.sleep(0.1)

    async def _deaf(self) -> None:
        """Ask for long histories and never read."""
        version = encode(0, ("server.version", ["bench", "1.4"]))
        lines = [encode(n, (SCRIPT + "get_history", [who])) for n, who in enumerate(self._long)]
        await self._raw(version + b"".join(lines))

    async def _unfinished(self) -> None:
        """Begin a request of nearly a megabyte and leave it at that."""
        await self._raw(b'{"id":1,"method":"blockchain.transaction.broadcast","params":["' + b"0" * 990_000)

    async def _raw(self, data: bytes) -> None:
        """Send, and hold the connection; open a new one when the server hangs up."""
        loop = asyncio.get_running_loop()
        while True:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, ("127.0.0.1", self._server.port))
                await loop.sock_sendall(sock, data)
                for _ in range(_HOLD):
                    await asyncio.sleep(0.5)
                    sock.send(b" ")  # fails once the server has hung up
            except OSError:
                await asyncio.sleep(0.5)
            finally:
                sock.close()

    async def _batches(self) -> None:
        """Ask for many histories in one message."""
        pool = self._sample.large or self._sample.medium
        while True:
            names = self._random.choices(pool, k=40)
            parts = [
                {"jsonrpc": "2.0", "id": n, "method": SCRIPT + "get_history", "params": [who]}
                for n, who in enumerate(names)
            ]
            await self._quietly(self._send_batch(json.dumps(parts).encode() + b"\n"))

    async def _send_batch(self, line: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port, limit=1 << 26)
        try:
            writer.write(encode(0, ("server.version", ["bench", "1.4"])))
            await reader.readline()
            writer.write(line)
            await reader.readline()
        finally:
            writer.close()
