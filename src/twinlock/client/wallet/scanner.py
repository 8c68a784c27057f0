"""Keeping a ledger at what the chain shows: which scripts to watch, and what to fetch when one changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

import structlog

from twinlock.chain.header import Header
from twinlock.chain.tx import Tx
from twinlock.client.wallet.keys import KeyPath, WalletKeys
from twinlock.client.wallet.ledger import Ledger
from twinlock.electrum.errors import UnknownTransactionError
from twinlock.electrum.states import ScriptState, Tip, Unspent
from twinlock.errors import TwinlockError
from twinlock.seams import Clock

RETRY_S = 1.0
"""Seconds until a question that failed is asked again."""

log = structlog.get_logger(__name__)


class WalletView(Protocol):
    """What a wallet asks of a chain; `twinlock.electrum.view.ChainView` is one."""

    async def tip(self) -> Tip: ...

    def subscribe_tip(self) -> AsyncIterator[Tip]: ...

    async def header(self, height: int) -> Header | None: ...

    def watch(self, script: bytes, since: int = 0) -> AsyncIterator[ScriptState]: ...

    async def script_history(self, script: bytes, since: int = 0) -> ScriptState: ...

    async def transactions(self, txids: Sequence[str]) -> dict[str, Tx]: ...

    async def unspent(self, script: bytes) -> tuple[Unspent, ...]: ...

    async def broadcast(self, raw: bytes) -> str: ...

    async def fee_rate(self, target: int = 2) -> int: ...


class Scanner:
    """Watches the addresses of a wallet up to `gap_limit` beyond the last used one, and its stakes.

    birthday: the height below which its addresses are not looked at; stakes always are. start gives the lowest index of
    each branch that was never handed out; it counts as used up to there. on_tip: awaited at each new tip. complete: all
    that was to be watched at first was heard of. times: block times (s) by height, of each block that the wallet is in.
    """

    def __init__(
        self,
        view: WalletView,
        keys: WalletKeys,
        ledger: Ledger,
        clock: Clock,
        gap_limit: int,
        on_tip: Callable[[], Awaitable[None]],
        birthday: int = 0,
    ) -> None:
        self._view = view
        self._keys = keys
        self._ledger = ledger
        self._clock = clock
        self._gap_limit = gap_limit
        self._on_tip = on_tip
        self._birthday = birthday
        self._tasks: set[asyncio.Task[None]] = set()
        self._scripts: dict[bytes, asyncio.Task[None]] = {}
        self._watched: dict[int, int] = dict.fromkeys(keys.branches, 0)
        self._awaited: set[bytes] = set()
        self._news = asyncio.Event()
        self.last_used: dict[int, int] = dict.fromkeys(keys.branches, -1)
        self.times: dict[int, int] = {}
        self.older: dict[bytes, tuple[str, ...]] = {}
        """By script, transactions below the birthday, which count for nothing."""
        self.complete = False

    def start(self, handed_out: dict[int, int]) -> None:
        """Begin to watch: all that was handed out, and the gap beyond."""
        for branch in self._watched:
            self.reach(branch, handed_out.get(branch, 0))
        self._spawn(self._follow_tip())

    async def stop(self) -> None:
        """End every watch."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def news(self) -> None:
        """Wait for the next change of the ledger or the tip."""
        await self._news.wait()

    def publish(self) -> None:
        """The ledger changed."""
        # Once is enough: addresses that are watched later are new, or at worst found a moment after their money.
        self.complete = self.complete or (not self._awaited and self._ledger.tip_height > 0)
        self._news.set()
        self._news = asyncio.Event()

    def reach(self, branch: int, count: int) -> None:
        """Watch the first `count` addresses of a branch and the gap beyond, and beyond the last used one."""
        wanted = max(count, self.last_used[branch] + 1) + self._gap_limit
        for index in range(self._watched[branch], wanted):
            path = (branch, index)
            script = self._keys.script(path)
            self._ledger.own(script, path, self._keys.address_of(script), outside=self._keys.outside(path))
            self.watch(script)
        self._watched[branch] = max(self._watched[branch], wanted)

    def expect(self, news: bytes) -> None:
        """Be complete only once `heard` was called for this, which somebody else finds out."""
        self._awaited.add(news)

    def heard(self, news: bytes) -> None:
        """It was found out, and the ledger told."""
        self._awaited.discard(news)
        self.publish()

    def widen(self, gap_limit: int) -> None:
        """Look further beyond the last used address of every branch; complete again when all was heard of."""
        self._gap_limit = max(self._gap_limit, gap_limit)
        self.complete = False
        for branch in self._watched:
            self.reach(branch, 0)
        self.publish()

    def look_from(self, birthday: int) -> None:
        """Another birthday: every address is asked about anew; complete again when all was heard of."""
        self._birthday = birthday
        self.complete = False
        for script in [each for each in self._scripts if self._since(each) == birthday]:
            self.forget(script)
            self.watch(script)

    def watch(self, script: bytes) -> None:
        """Keep the ledger informed of a script."""
        if script not in self._scripts:
            self._awaited.add(script)
            self._scripts[script] = self._spawn(self._follow(script))

    def _since(self, script: bytes) -> int:
        return self._birthday if self._ledger.path(script) is not None else 0

    def forget(self, script: bytes) -> None:
        """Watch a script no longer; what the ledger knows of it stays."""
        self._awaited.discard(script)
        if (task := self._scripts.pop(script, None)) is not None:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a wallet's watch ended", coin=self._keys.coin.symbol, exc_info=error)

    async def _follow_tip(self) -> None:
        while True:
            try:
                async for tip in self._view.subscribe_tip():
                    self._ledger.tip_height = tip.height
                    await self._on_tip()
                    self.publish()
            except TwinlockError as error:  # a store that is full for a moment must not blind the wallet
                log.warning("the tip cannot be followed", coin=self._keys.coin.symbol, error=str(error))
            await self._clock.sleep(RETRY_S)

    async def _follow(self, script: bytes) -> None:
        while True:
            try:
                async for state in self._view.watch(script, self._since(script)):
                    await self._take(state)
            except TwinlockError as error:
                log.warning("a script cannot be watched", coin=self._keys.coin.symbol, error=str(error))
            await self._clock.sleep(RETRY_S)

    async def _take(self, state: ScriptState) -> None:
        await self._note_times(state)
        txs: dict[str, Tx] = {}
        # Again after each wait, as the ledger may have dropped one in the meantime.
        while missing := [txid for txid in self._ledger.missing(state.history) if txid not in txs]:
            try:
                txs |= await self._view.transactions(missing)
            except UnknownTransactionError:
                # It left the mempool between the two questions.
                await self._clock.sleep(RETRY_S)
                state = await self._view.script_history(state.script, self._since(state.script))
                await self._note_times(state)
        self._ledger.update(state.script, state.history, txs)
        self._awaited.discard(state.script)
        self.older[state.script] = state.older
        path = self._ledger.path(state.script)
        if path is not None and (state.history or state.older):
            self._used(path)
        self.publish()

    async def _note_times(self, state: ScriptState) -> None:
        for height in {entry.height for entry in state.history if entry.height is not None}:
            header = await self._view.header(height)
            if header is not None:
                self.times[height] = header.time

    def _used(self, path: KeyPath) -> None:
        branch, index = path
        if index > self.last_used[branch]:
            self.last_used[branch] = index
            self.reach(branch, index + 1)
