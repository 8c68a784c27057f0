"""How soon subscribers hear: of a payment, of a block, and of a block that touches most of what is subscribed."""

from __future__ import annotations

import asyncio
import random
import time
from hashlib import sha256
from itertools import islice
from typing import Any

from benchmarks.indexer.chain import ChainMaker, Payee
from benchmarks.indexer.questions import SCRIPT, median
from benchmarks.indexer.servers import Node, Server
from benchmarks.indexer.wire import Call, Conn, Load, connect

SUBSCRIBED, SESSIONS = 10_000, 8


def name(script: bytes) -> str:
    """What wallets call a script."""
    return sha256(script).digest()[::-1].hex()


async def big_block(server: Server, node: Node, maker: ChainMaker, txs: int) -> dict[str, Any]:
    """Milliseconds from the node's answer to the first header and to the last status, over several sessions.

    Subscribed are the scripts that the block touches, and others of the chain until there are enough of them.
    """
    block = maker.next_block(txs)
    scripts = sorted(maker.touched)[:SUBSCRIBED]
    scripts += islice((script for script in maker.facts.touches if script not in maker.touched), SUBSCRIBED)
    conns = await connect(server.port, SESSIONS)
    subscribed, all_told, touched = 0, [], 0
    for n, conn in enumerate(conns):
        share = scripts[:SUBSCRIBED][n::SESSIONS]
        calls: list[Call] = [(SCRIPT + "subscribe", [name(script)]) for script in share]
        load = Load([("blockchain.headers.subscribe", []), *calls])
        await load.over([conn], 200)
        subscribed += len(share) - len(load.refused)
        news = len(maker.touched.intersection(share))
        touched += news
        all_told.append(conn.expect(news + 1))
    await node.give([block])
    began = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*all_told), 60)
    for conn in conns:
        conn.close()
    return {
        "subscribed": subscribed,
        "touched": touched,
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
