"""One exchange for many stories, and what happens to all of them alike."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.e2e.scenes.calendar import Calendar
from tests.e2e.scenes.chainbook import ChainBook
from tests.e2e.scenes.floor import Floor
from tests.e2e.scenes.mint import Mint
from tests.e2e.scenes.players import NOWHERE_ELSE, Daemon, Rogue, Withheld

from twinlock.protocol.reputation import WEIGHTS, Outcome, OutcomeClass
from twinlock.protocol.swap import Party
from twinlock.seams import Entropy, SystemClock, SystemEntropy
from twinlock.simnet.clients import PATIENCE
from twinlock.simnet.exchange import Exchange, Plan
from twinlock.simnet.nursery import Nursery, Reared

FUNDS = {"btc": 100_000_000, "ltc": 4_000_000_000}

PLAN = Plan(
    epoch_ms=2_000,
    block_seconds=0.4,
    lock_taker_s=1_200,
    lock_maker_s=3_000,
    broadcast_timeout_ms=60_000,
    tx_wait_ms=6_000,
)
"""Nobody waits for the locks, as the chains' time is moved; an honest client meets the deadlines on a busy machine,
even where everybody starts at once and whoever is dead gets up first. Each epoch costs each client something.
"""

PROGRAMS = [f"twinlock.cli.{name}" for name in ("client", "indexer", "server", "tower")] + ["tests.e2e.scenes.mortal"]
"""Loaded once for all of a stage's processes, which then begin as forks."""

ROOT = Path(__file__).parents[3]

D = TypeVar("D", bound=Daemon)

AT_ONCE = 4
"""Players that enter at the same time."""


class Stage:
    """See `opened`."""

    def __init__(self, exchange: Exchange, books: dict[str, ChainBook], mint: Mint) -> None:
        plan = exchange.plan
        self.exchange = exchange
        self.books = books
        self.mint = mint
        self.floor = Floor(exchange.clock, plan.rate_step, plan.epoch_ms)
        self.calendar = Calendar({lock: partial(self._let_pass, lock) for lock in (Party.TAKER, Party.MAKER)})
        self._entering = asyncio.Semaphore(AT_ONCE)

    # Players -----------------------------------------------------------------------------------------------

    async def daemon(self, name: str, host: str = "", electrum: Mapping[str, str] = NOWHERE_ELSE) -> Daemon:
        """A client process with money, a bond and an account. host, electrum: see `Daemon`."""
        return await self.entered(Daemon(self.exchange, name, host, electrum))

    async def entered(self, client: D, entropy: Entropy | None = None) -> D:
        """The same of a client that a story has made. entropy: where its seed comes from."""
        async with self._entering:
            client.prepare(entropy or SystemEntropy())
            await client.start()
            await client.until_venue(lambda venue: venue.connected)
        await client.enter(FUNDS)
        return client

    @asynccontextmanager
    async def rogue(self, name: str, *withholds: Withheld) -> AsyncIterator[Rogue]:
        """The same in this process, to misbehave."""
        async with Rogue(self.exchange, name, *withholds) as rogue:
            await rogue.enter(FUNDS)
            yield rogue

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds."""
        while not holds():
            await self.exchange.clock.sleep(0.1)

    async def patiently(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Return when it holds, or when it has not for so long that whoever asks should say why."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not await holds():
                    await self.exchange.clock.sleep(0.1)

    # Time and judgement --------------------------------------------------------------------------------------

    async def _let_pass(self, lock: Party) -> None:
        plan = self.exchange.plan
        seconds = plan.lock_taker_s if lock is Party.TAKER else plan.lock_maker_s
        until = self.exchange.clock.now_ms() // 1000 + seconds
        async with self.mint.closed(*self.exchange.nodes):
            for symbol, node in self.exchange.nodes.items():
                await node.set_time(until + 1)
                while await node.median_time() <= until:
                    await self.mint.mine(symbol)

    def outcomes(self, match_id: bytes) -> dict[bytes, list[Outcome]]:
        """What the exchange holds for or against whom over a match, by account."""
        with closing(sqlite3.connect(f"file:{self.exchange.folder}/server/server.db?mode=ro", uri=True)) as database:
            rows = database.execute("select account_id, outcome from points where link = ? order by number", [match_id])
            found: dict[bytes, list[Outcome]] = {}
            for account, outcome in rows:
                if WEIGHTS[Outcome(outcome)].window is OutcomeClass.MATCH:
                    found.setdefault(account, []).append(Outcome(outcome))
            return found


@asynccontextmanager
async def opened(folder: Path, plan: Plan = PLAN, *, picky: bool = False) -> AsyncIterator[Stage]:
    """A stage with nobody on it; blocks come on demand. picky: see `Mint`."""
    async with (
        Nursery(PROGRAMS, [ROOT]) as nursery,
        Exchange(plan, folder, SystemClock(), processes=Reared(folder / "logs", nursery)) as exchange,
    ):
        nodes = exchange.nodes
        books = {symbol: ChainBook(node, await node.height() + 1) for symbol, node in nodes.items()}
        mint = Mint(nodes, exchange.clock, plan.confirmations, plan.block_seconds, picky=picky)
        mining = asyncio.create_task(mint.run())
        try:
            yield Stage(exchange, books, mint)
        finally:
            mining.cancel()
            await asyncio.gather(mining, return_exceptions=True)
