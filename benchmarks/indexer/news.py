"""How soon subscribers hear: of a payment, of a block, and of a block that touches most of what they watch."""

from __future__ import annotations

import asyncio
import random
import time
from hashlib import sha256
from typing import Any

from benchmarks.indexer.chain import ChainMaker, Payee
from benchmarks.indexer.questions import SCRIPT, median
from benchmarks.indexer.servers import Node, Server
from benchmarks.indexer.wire import Call, Conn, Load, connect

WATCHED, SESSIONS = 10_000, 8


def name(script: bytes) -> str:
    """What wallets call a script."""
    return sha256(script).digest()[::-1].hex()


async def big_block(server: Server, node: Node, block: bytes, scripts: list[bytes]) -> dict[str, Any]:
    """Milliseconds from the node's answer to the first header and to the last status, over several sessions."""
    conns = await connect(server.port, SESSIONS)
    shares = [[name(script) for script in scripts[n::SESSIONS]] for n in range(SESSIONS)]
    for conn, share in zip(conns, shares, strict=True):
        calls: list[Call] = [("blockchain.headers.subscribe", []), *((SCRIPT + "subscribe", [who]) for who in share)]
        await Load(calls).over([conn], 200)
    all_told = [conn.expect(len(share) + 1) for conn, share in zip(conns, shares, strict=True)]
    await node.give([block])
    began = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*all_told), 60)
    for conn in conns:
        conn.close()
    return {
        "header_ms": round(1000 * (min(conn.first_noted for conn in conns) - began), 1),
        "last_status_ms": round(1000 * (max(conn.noted for conn in conns) - began), 1),
    }


async def payments(server: Server, node: Node, maker: ChainMaker, rounds: int) -> dict[str, Any]:
    """Medians: a payment in the mempool, the header of its block, and the payment in it."""
    (watcher,), (header,) = await connect(server.port, 1), await connect(server.port, 1)
    await Load([("blockchain.headers.subscribe", [])]).over([header], 1)
    times: dict[str, list[float]] = {"mempool_ms": [], "header_ms": [], "confirmed_ms": []}

    async def told(conn: Conn, waiting: asyncio.Future[None], since: float, kind: str) -> None:
        await asyncio.wait_for(waiting, 60)
        times[kind].append(1000 * (conn.first_noted - since))

    for number in range(rounds):
        payee = Payee(b"\0\x14" + random.Random(number).randbytes(20), b"", b"\0")
        await Load([(SCRIPT + "subscribe", [name(payee.script)])]).over([watcher], 1)
        paid, raw = maker.pay(payee)
        waiting = watcher.expect(1)
        await node.rpc("sendrawtransaction", raw.hex(), 0)
        await told(watcher, waiting, time.perf_counter(), "mempool_ms")
        waiting, mined = watcher.expect(1), header.expect(1)
        await node.give([maker.close([(paid, raw)])])
        began = time.perf_counter()
        await told(header, mined, began, "header_ms")
        await told(watcher, waiting, began, "confirmed_ms")
    watcher.close()
    header.close()
    return {"rounds": rounds, **{kind: median(values) for kind, values in times.items()}}
