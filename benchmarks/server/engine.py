"""What needs no client, one process: `python -m benchmarks.server.engine STEP [URL] [PROFILE]`; JSON.

cycle: shuffling and matching 10,000 orders on a book of 50,000. matching: its kernel in turn with the plain twin.
commit: everything that this epoch changes, in one transaction. settling: 5,000 matches under way, all of which run out
of time at once. unredeemed: the same after both contracts of each, so that its chain is asked before anybody is blamed.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import logging
import pstats
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
import uvloop
from benchmarks.server.host import MARKET, Parameters, config
from benchmarks.server.world import BTC, LOT, LTC, RATE, RATE_STEP, World
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.chain.families import family_of
from twinlock.kernels.matching import BookSide, BookSidePlain, work_off, work_off_plain
from twinlock.protocol.epoch import epoch_index
from twinlock.protocol.matcher import Match
from twinlock.protocol.orders import LimitOrder, Side, TimeInForce, commit
from twinlock.protocol.swap import Party, Verdict
from twinlock.protocol.swap.events import Announced, Audited, Seen
from twinlock.server.app import Server
from twinlock.server.db import Database, Write
from twinlock.server.db.orders import add_order
from twinlock.server.market.core import Close, MarketCore, Process, Processed, Submit
from twinlock.server.market.terms import MarketTerms
from twinlock.server.process import settled
from twinlock.server.swapper.executor import SwapExecutor

BOOK, ORDERS, ROUNDS, MATCHES = 50_000, 10_000, 9, 5_000
EPOCH_MS = 20_000
SIDES = ((True, Side.BUY), (False, Side.SELL))
_ACCOUNTS = 500
TERMS = MarketTerms(
    name=MARKET,
    base=LTC,
    quote=BTC,
    lot_size=LOT,
    rate_step=RATE_STEP,
    epoch_ms=EPOCH_MS,
    buy_buffer=1.25,
    parcel_size=10_000,
)


class Draw:
    """Orders out of a seed; a preimage belongs to each."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.accounts = [self.draw.randbytes(32) for _ in range(_ACCOUNTS)]
        self.preimages: dict[bytes, bytes] = {}

    def order(self, side: Side, rate: int, stamp: int, lots: int) -> LimitOrder:
        identity, preimage = self.draw.randbytes(32), self.draw.randbytes(32)
        self.preimages[identity] = preimage
        return LimitOrder(
            id=identity,
            account_id=self.draw.choice(self.accounts),
            base=LTC,
            quote=BTC,
            client_time=stamp,
            server_time=stamp,
            commitment=commit(preimage),
            coins=(self.draw.randbytes(36),),
            side=side,
            quantity=lots * LOT,
            address="bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq0qqqqq",
            rate=rate,
            time_in_force=TimeInForce.STANDING,
        )

    def book(self, count: int) -> list[LimitOrder]:
        """Both sides of a rate, down to 500 steps away."""
        return [self._beside(1 + number, self.draw.randrange(1, 500)) for number in range(count)]

    def epoch(self, count: int, stamp: int) -> list[LimitOrder]:
        """Around the rate: most take from the book, the others rest."""
        return [self._beside(stamp + number % EPOCH_MS, self.draw.randrange(-20, 20)) for number in range(count)]

    def _beside(self, stamp: int, steps: int) -> LimitOrder:
        side = self.draw.choice(tuple(Side))
        rate = RATE + (steps if side is Side.SELL else -steps) * RATE_STEP
        return self.order(side, rate, stamp, self.draw.randrange(1, 20))


def closed(core: MarketCore, orders: list[LimitOrder]) -> int:
    """Put the orders of one epoch in, and close it."""
    epoch = epoch_index(orders[0].server_time, EPOCH_MS)
    for order in orders:
        core.submit(Submit(order))
    core.close(Close(epoch))
    return epoch


def cycle(profile: str) -> dict[str, Any]:
    """Milliseconds of CPU time of the pure engine."""
    took: list[float] = []
    results: list[Processed] = []  # kept, so that no round pays for clearing another's away
    for number in range(ROUNDS):
        core, event = ready(number)
        began = time.process_time()
        results.append(core.process(event))
        took.append((time.process_time() - began) * 1000)
    if profile:
        core, event = ready(0)
        profiled(profile, lambda: core.process(event))
    result = results[-1]
    return {
        "cpu_ms": round(statistics.median(took), 1),
        "best_cpu_ms": round(min(took), 1),
        "matches": len(result.matched.matches),
        "booked": len(result.matched.booked),
    }


def matching() -> dict[str, Any]:
    """Milliseconds of CPU time of working off one queue, compiled and in plain Python, one after the other."""
    took: dict[str, list[float]] = {"compiled_ms": [], "plain_ms": []}
    halves = (("compiled_ms", BookSide, work_off), ("plain_ms", BookSidePlain, work_off_plain))
    results: list[object] = []
    for seed in range(ROUNDS):
        draw = Draw(seed)
        booked, queue = draw.book(BOOK), draw.epoch(ORDERS, 10 * EPOCH_MS)
        for name, side, run in halves:
            sides = [side(buys, [order for order in booked if order.side is of]) for buys, of in SIDES]
            began = time.process_time()
            results.append(run(LOT, *sides, queue, Match, replace))
            took[name].append((time.process_time() - began) * 1000)
    compiled, plain = (statistics.median(took[name]) for name in took)
    return {"compiled_ms": round(compiled, 1), "plain_ms": round(plain, 1), "times": round(plain / compiled, 1)}


def ready(seed: int) -> tuple[MarketCore, Process]:
    """A market whose closed epoch has only to be matched."""
    draw = Draw(seed)
    core = MarketCore(TERMS, draw.book(BOOK))
    draw.preimages.clear()
    epoch = closed(core, draw.epoch(ORDERS, 10 * EPOCH_MS))
    return core, Process(epoch, draw.preimages, 5, 5, 1)


def profiled(file: str, work: Callable[[], object]) -> None:
    """Write where the time of one call went."""
    profile = cProfile.Profile()
    profile.runcall(work)
    with Path(file).open("w") as stream:
        pstats.Stats(profile, stream=stream).strip_dirs().sort_stats("tottime").print_stats(25)


async def _open(folder: str, url: str, **settings: Any) -> Server:
    """A server that nobody connects to. Unless told, its epochs are so long that none ends while we measure."""
    world = World(0, 0)
    parameters = Parameters(folder=folder, db_url=url, **({"epoch_ms": 86_400_000} | settings))
    server = Server(config(parameters), open_chain=lambda row, _: world.chains[row.asset_id])
    opened = await server.__aenter__()
    settled()
    return opened


async def _store(server: Server, draw: Draw, booked: list[LimitOrder], entered: list[LimitOrder]) -> None:
    """As if the orders had come one by one."""
    market = server.manager.markets[MARKET]
    for account in draw.accounts:
        server.manager.accounts.add(account, b"")
    for order in booked:
        market.book.insert(order)
    for order in entered:
        market.core.submit(Submit(order))
    await server.database.write(*(add_order(order, MARKET, market.terms.epoch_ms) for order in (*booked, *entered)))


async def commit_epoch(url: str) -> dict[str, Any]:
    """Seconds of one epoch of 10,000 orders on a book of 50,000: its transaction, and everything together.

    The longest turn of the loop (ms of its CPU) counts until every account has been told, a second later.
    """
    rounds = []
    for number in range(3):
        with tempfile.TemporaryDirectory() as folder:
            server = await _open(folder, url)
            market, draw = server.manager.markets[MARKET], Draw(number)
            stamp = market.now() * market.terms.epoch_ms
            await _store(server, draw, draw.book(BOOK), draw.epoch(ORDERS, stamp))
            closed_epoch = market.core.close(Close(market.now()))
            timed = Stopwatch(server.database)
            over = asyncio.Event()
            watching = asyncio.create_task(_watch(over.is_set))
            await asyncio.sleep(0.01)
            began, cpu = time.perf_counter(), time.process_time()
            await market.epochs.process_epoch(closed_epoch, draw.preimages, resumed=False)
            whole, used = time.perf_counter() - began, time.process_time() - cpu
            await asyncio.sleep(1)
            over.set()
            _, turn = await watching
            rounds.append((timed.longest, whole, used, turn))
            await server.__aexit__(None, None, None)
            if url:
                await _empty(url)
    transaction, whole, used, turn = (round(statistics.median(column), 3) for column in zip(*rounds, strict=True))
    return {
        "transaction_seconds": transaction,
        "epoch_seconds": whole,
        "epoch_cpu_seconds": used,
        "longest_cpu_ms": round(turn, 1),
    }


class Stopwatch:
    """Times the writes of a database."""

    def __init__(self, database: Database) -> None:
        self.longest = 0.0
        self._write = database.write
        database.write = self.write  # type: ignore[method-assign]

    async def write(self, *work: Write) -> None:
        began = time.perf_counter()
        await self._write(*work)
        self.longest = max(self.longest, time.perf_counter() - began)


async def _empty(url: str) -> None:
    """Drop what a round left in a database server."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        await connection.execute(sa.text("CREATE SCHEMA public"))
    await engine.dispose()


async def settle(*, contracts: bool = False) -> dict[str, Any]:
    """Matches that nobody settles: how long a look at all of them takes, and how late the last is revoked.

    contracts: whether both sides have funded theirs, and only the redemptions are missing.
    """
    timeout_ms = 20_000
    with tempfile.TemporaryDirectory() as folder:
        server = await _open(folder, "", epoch_ms=EPOCH_MS, broadcast_timeout_ms=timeout_ms)
        market, draw, executor = server.manager.markets[MARKET], Draw(1), server.manager.executor
        before = market.now()
        while market.now() == before:  # noqa: ASYNC110 - what follows must fit into one epoch
            await asyncio.sleep(0.01)
        stamp = market.now() * market.terms.epoch_ms
        sells = [draw.order(Side.SELL, RATE, 1, 1) for _ in range(MATCHES)]
        await _store(server, draw, sells, [draw.order(Side.BUY, RATE, stamp, 1) for _ in range(MATCHES)])
        await market.epochs.process_epoch(market.core.close(Close(market.now())), draw.preimages, resumed=False)
        deadline = (stamp + EPOCH_MS + timeout_ms) / 1000
        assert len(executor) == MATCHES
        if contracts:
            await (
                executor._look()
            )  # no block comes after this one: nobody asks for the contracts, which are on no chain
            deadline = _funded(executor) + timeout_ms / 1000
        looks = []
        for _ in range(5):
            cpu = time.process_time()
            await executor._look()
            looks.append((time.process_time() - cpu) * 1000)
        idle = await _watch(lambda: time.time() > deadline - 1)
        busy = await _watch(lambda: not len(executor))
        late = time.time() - deadline
        await server.__aexit__(None, None, None)
    return {
        "matches": MATCHES,
        "look_cpu_ms": round(statistics.median(looks), 1),
        "longest_pause_before_ms": idle[0],
        "longest_pause_while_revoking_ms": busy[0],
        "longest_cpu_while_revoking_ms": busy[1],
        "all_revoked_after_timeout_seconds": round(late, 2),
    }


def _funded(executor: SwapExecutor) -> float:
    """Both contracts of every match are deep enough, as if they had been reported; when (s)."""
    world = World(1, 0)
    family = family_of(world.chains[BTC].coin)
    contract = family.make_contract(world.address(0), world.address(0), bytes(32), 2**31 - 1)
    now = time.time()
    for number, settling in enumerate(executor):
        coin_id = family.coin_id(f"{number:064x}", 0)
        for side in Party:
            settling.learn(Announced(side, coin_id, contract), Audited(side, coin_id, Verdict.SOUND, bytes(32)))
            settling.learn(Seen(side, 1, round(now * 1000)))
    return now


async def _watch(done: Callable[[], bool]) -> tuple[float, float]:
    """The longest time (wall and CPU of this process, ms) that other work had to wait meanwhile."""
    pause = cpu_pause = 0.0
    while not done():
        began, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        pause = max(pause, time.perf_counter() - began - 0.001)
        cpu_pause = max(cpu_pause, time.thread_time() - cpu)
    return round(pause * 1000, 1), round(cpu_pause * 1000, 1)


def main() -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), cache_logger_on_first_use=True
    )
    what, url, profile = (*sys.argv[1:], "", "")[:3]
    if what == "cycle":
        print(json.dumps(cycle(profile)))
    elif what == "matching":
        print(json.dumps(matching()))
    elif what == "commit":
        print(json.dumps(uvloop.run(commit_epoch(url))))
    else:
        print(json.dumps(uvloop.run(settle(contracts=what == "unredeemed"))))


if __name__ == "__main__":
    main()
