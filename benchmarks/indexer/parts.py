"""The parts of the benchmark. Each takes the chain and gives what goes into the results; any of them runs alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.indexer.chain import ChainMaker, scrypt_of
from benchmarks.indexer.news import big_block, payments
from benchmarks.indexer.questions import Sample, all_questions, beside_huge, check, compare, median
from benchmarks.indexer.servers import Node, Server, electrumx, twinlock
from benchmarks.indexer.siege import Siege
from benchmarks.indexer.stages import stages as measured
from benchmarks.indexer.world import World

from twinlock.chain.coins import Network, coin

BLOCK_TXS = 3_000
_QUIET_BLOCKS = 120
_PEERS_INDEX = "electrumx"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is asked. requests: of each kind, a fifth of it to the peer. rounds: of payments and blocks.

    ceilings: `--memory` of each siege. subscriptions, sieged_blocks: during each.
    """

    requests: int = 20_000
    rounds: int = 9
    peer: bool = True
    ceilings: tuple[str, ...] = ("300M", "600M")
    subscriptions: int = 160_000
    sieged_blocks: int = 5


Row = dict[str, Any]
Part = Callable[[World, Amount], Awaitable[Row]]


async def sync(world: World, amount: Amount) -> Row:
    """How long first syncs take, and what they need."""
    ways = {
        "twinlock": {},
        "twinlock, --memory 300M": {"MEMORY": "300M"},
        "twinlock, by REST": {"USE_BLOCK_FILES": "no"},
    }
    rows = {}
    async with world.node() as node:
        facts = world.maker.facts
        about = {
            "txs": facts.txs,
            "blocks": world.blocks,
            "mb": round(facts.size / 1e6, 1),
            "node": await node.version(),
        }
        delivery = await node.delivery(world.blocks)
        for name, settings in ways.items():
            server = twinlock(node, world.empty("ours"), **settings)
            rows[name] = await server.sync(world.blocks)
            server.stop()
        if amount.peer:
            theirs = electrumx(node, world.empty(_PEERS_INDEX))
            rows["electrumx"] = await theirs.sync(world.blocks)
            theirs.stop()
    return about | {"delivery_s": delivery, "servers": rows}


async def _ours(world: World, node: Node, **settings: str) -> Server:
    """Our server, at the tip."""
    server = twinlock(node, world.empty("ours"), **settings)
    await server.sync(world.blocks)
    return server


async def questions(world: World, amount: Amount) -> Row:
    """What each question costs, and whether the answers are right."""
    sample = Sample(world.maker.facts, world.blocks)
    result: Row = {}
    async with world.node() as node:
        ours = await _ours(world, node)
        try:
            if amount.peer:
                theirs = electrumx(node, world.folder / _PEERS_INDEX)
                await theirs.sync(world.blocks)
                try:
                    result["compared"] = await compare(ours, theirs, sample)
                    node.warm()
                    result["electrumx"] = await all_questions(theirs, sample, amount.requests // 5, 64)
                finally:
                    theirs.stop()
            result["checked"] = await check(ours, sample)
            node.warm()
            result["twinlock"] = await all_questions(ours, sample, amount.requests, 8)
        finally:
            ours.stop()
    return result


async def fairness(world: World, amount: Amount) -> Row:
    """How long others wait while huge histories are served."""
    async with world.node() as node:
        ours = await _ours(world, node)
        try:
            return await beside_huge(ours, Sample(world.maker.facts, world.blocks), amount.requests // 4)
        finally:
            ours.stop()


async def _polled(world: World, rounds: int) -> Row:
    """How soon where the node does not call by itself, as Debian's litecoind; asked as often as on its main network."""
    maker = ChainMaker(coin("ltc", Network.REGTEST).genesis_hash, _QUIET_BLOCKS, 100, work=scrypt_of)
    node = Node(world.empty("litecoin"), "litecoind")
    await node.start()
    ours = twinlock(node, world.empty("ours"), "ltc", DAEMON_POLL_INTERVAL_BLOCKS="500")
    try:
        await node.give(maker.blocks())
        await ours.sync(_QUIET_BLOCKS)
        try:
            return {"node": await node.version(), **await payments(ours, node, maker, rounds)}
        finally:
            ours.stop()
    finally:
        await node.stop()


async def news(world: World, amount: Amount) -> Row:
    """How soon subscribers hear of payments and blocks."""
    polled = await _polled(world, amount.rounds)
    async with world.copy() as (node, maker):
        ours = await _ours(world, node)
        try:
            told = await payments(ours, node, maker, amount.rounds)
            txs = min(BLOCK_TXS, maker.facts.txs)
            rows = [await big_block(ours, node, maker, txs) for _ in range(amount.rounds)]
            medians = {kind: median([row[kind] for row in rows]) for kind in rows[0]}
            big = {"txs": txs, "rounds": amount.rounds, **medians}
            return {"payments": told, "big_block": big, "polled": polled}
        finally:
            ours.stop()


async def besieged(world: World, memory: str, amount: Amount) -> Row:
    """The most that a server of so much `--memory` holds: after its first sync, and under siege."""
    async with world.copy() as (node, maker):
        ours = twinlock(node, world.empty("ours"), MEMORY=memory, MAX_SEND="8100000")
        synced = await ours.sync(world.blocks)
        try:
            siege = Siege(ours, node, maker, Sample(world.maker.facts, world.blocks))
            told = await siege.last(amount.requests, amount.subscriptions, amount.sieged_blocks)
            return {"memory": memory, "sync_peak_mib": synced["peak_mib"], **told}
        finally:
            ours.stop()


async def memory(world: World, amount: Amount) -> Row:
    """What a server holds, whatever is done to it."""
    return {"rows": [await besieged(world, ceiling, amount) for ceiling in amount.ceilings]}


async def stages(world: World, _amount: Amount) -> Row:
    """Where the time of a first sync goes."""
    async with world.node() as node:
        hashes = [await node.rpc("getblockhash", height) for height in range(world.blocks + 1)]
        txs = world.maker.facts.txs
        return {"txs": txs, **await asyncio.to_thread(measured, world.empty("ours"), node.folder, hashes, txs)}


PARTS: dict[str, Part] = {part.__name__: part for part in (sync, stages, questions, fairness, news, memory)}
