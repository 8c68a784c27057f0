"""What may happen next, drawn by hypothesis; after each step the truths are checked."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.server.conftest import BTC, LTC
from tests.server.nonsense import truths
from tests.server.nonsense.world import ANSWERS, FLAWS, World

from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import Side
from twinlock.protocol.swap import Party

WHO = st.integers(0, 7)
SIDES = st.sampled_from(list(Side))
PARTIES = st.sampled_from(list(Party))
ASSETS = st.sampled_from((LTC, BTC))
MOSTLY = st.sampled_from((True, True, True, False))
SELDOM = st.sampled_from((False, False, False, True))
FLAW = st.one_of(st.just(""), st.just(""), st.just(""), st.sampled_from(FLAWS))
OPTIONS = st.one_of(
    st.just(OrderOptions()),
    st.builds(OrderOptions, post_only=st.booleans(), max_matches=st.integers(0, 2), expiry=st.sampled_from((0, 1))),
)
MOST_TRADERS = 6


class Nonsense(RuleBasedStateMachine):
    """One life of one exchange."""

    steps = 0
    """Taken by all machines of the process."""
    seen: Counter[str] = Counter()  # noqa: RUF012 - of all machines together
    """What came of them."""
    failure: BaseException | None = None
    """The first; hypothesis runs the steps again, and a live server need not fail twice."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="nonsense")
        self._logs = structlog.testing.LogCapture()
        self._before = structlog.get_config()
        structlog.configure(processors=[self._logs])
        self._runner = asyncio.Runner()
        self._accidents: list[object] = []
        self._runner.get_loop().set_exception_handler(lambda _, context: self._accidents.append(context))
        self.world = World(Path(self._folder.name))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        type(self).steps += 1
        self._run(work)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self._runner.run(work)
        except BaseException as error:
            type(self).failure = type(self).failure or error
            raise

    @initialize(tiers=st.integers(1, 4))
    def begin(self, tiers: int) -> None:
        self._do(self.world.begin())
        self._do(self.world.join(tiers))
        self._do(self.world.join(4))

    def teardown(self) -> None:
        try:
            self._run(self._farewell())
        finally:
            self._runner.close()
            structlog.configure(**self._before)
            self._folder.cleanup()

    async def _farewell(self) -> None:
        type(self).seen += self.world.tally(self._logs.entries)
        try:
            if self.world.up:
                await truths.audited(self.world)
                for number in range(len(self.world.traders)):
                    await self.world.leave(number, politely=bool(number % 2))
                await truths.deserted(self.world)
        finally:
            await self.world.end()

    @invariant()
    def sane(self) -> None:
        if self.world.traders:
            self._run(truths.check(self.world, self._logs.entries, self._accidents))

    # Traders

    @precondition(lambda self: len(self.world.traders) < MOST_TRADERS)
    @rule(tiers=st.integers(1, 4))
    def join(self, tiers: int) -> None:
        self._do(self.world.join(tiers))

    @rule(
        who=WHO,
        side=SIDES,
        lots=st.integers(1, 4),
        step=st.integers(-2, 2),
        kind=st.sampled_from(("standing", "standing", "standing", "immediate", "market")),
        flaw=FLAW,
        options=OPTIONS,
    )
    def order(self, who: int, side: Side, lots: int, step: int, kind: str, flaw: str, options: OrderOptions) -> None:
        self._do(self.world.order(who, side, lots, step, kind, flaw, options))

    @rule(low=WHO, high=WHO, lots=st.integers(1, 2), first=SIDES, whole=st.booleans())
    def trade(self, low: int, high: int, lots: int, first: Side, whole: bool) -> None:
        """An order, an epoch, and the order that takes it; whole: and all that makes a swap of it."""
        other = Side.BUY if first is Side.SELL else Side.SELL
        self._do(self.world.resume())
        self._do(self._seen_again())
        for who in (low, high):
            self.world.behave(who, reveals=True, lies=False, answers="well")
        self._do(self.world.order(low, first, lots, 0, "standing", "", OrderOptions()))
        self._do(self.world.end_epoch())
        self._do(self.world.order(high, other, lots, 0, "standing", "", OrderOptions()))
        self._do(self.world.end_epoch())
        if whole:
            self.settle(len(self.world.executor) - 1)

    @rule(who=WHO, whose=st.integers(0, 20))
    def cancel(self, who: int, whose: int) -> None:
        self._do(self.world.cancel(who, whose))

    @rule(who=WHO, reveals=MOSTLY, lies=SELDOM, answers=st.sampled_from(("well", "well", "well", *ANSWERS)))
    def behave(self, who: int, reveals: bool, lies: bool, answers: str) -> None:
        self.world.behave(who, reveals=reveals, lies=lies, answers=answers)

    @rule(who=WHO, politely=st.booleans())
    def leave(self, who: int, politely: bool) -> None:
        self._do(self.world.leave(who, politely=politely))

    @rule(who=WHO, login=MOSTLY)
    def come_back(self, who: int, login: bool) -> None:
        self._do(self.world.come_back(who, login=login))

    @rule(who=WHO, other=WHO)
    def impersonate(self, who: int, other: int) -> None:
        self._do(self.world.impersonate(who, other))

    @rule(who=WHO, which=st.integers(0, 50))
    def repeat(self, who: int, which: int) -> None:
        self._do(self.world.repeat(who, which))

    @rule(who=WHO, seed=st.integers(0, 2**32), count=st.integers(1, 30))
    def talk(self, who: int, seed: int, count: int) -> None:
        self._do(self.world.talk(who, seed, count))

    # Swaps

    @rule(which=WHO, side=PARTIES, flaw=st.sampled_from(("", "", "", "value", "lock", "thief", "cheap", "hash")))
    def report_contract(self, which: int, side: Party, flaw: str) -> None:
        self._do(self.world.report_contract(which, side, flaw))

    @rule(which=WHO, side=PARTIES, flaw=st.sampled_from(("", "", "", "secret", "early")))
    def report_redemption(self, which: int, side: Party, flaw: str) -> None:
        self._do(self.world.report_redemption(which, side, flaw))

    @rule(which=WHO)
    def settle(self, which: int) -> None:
        """All four reports of a match, as they should be."""
        for side in Party:
            self._do(self.world.report_contract(which, side, ""))
        for side in Party:
            self._do(self.world.report_redemption(which, side, ""))

    # Time, chains, the operator

    @rule()
    def end_epoch(self) -> None:
        self._do(self.world.end_epoch())

    @rule(seconds=st.sampled_from((1, 20, 70)))
    def wait(self, seconds: int) -> None:
        self._do(self.world.pass_time(seconds))

    @rule(asset=ASSETS, blocks=st.integers(1, 3))
    def block(self, asset: int, blocks: int) -> None:
        self._do(self._mined(asset, blocks))

    async def _mined(self, asset: int, blocks: int) -> None:
        self.world.exchange.chains[asset].mine(blocks)

    @rule(asset=ASSETS, depth=st.integers(1, 3))
    def reorg(self, asset: int, depth: int) -> None:
        self._do(self._reorganized(asset, depth))

    async def _reorganized(self, asset: int, depth: int) -> None:
        self.world.exchange.chains[asset].reorg(depth)

    async def _seen_again(self) -> None:
        for chain in self.world.exchange.chains.values():
            chain.mute = False

    @rule(asset=ASSETS, mute=SELDOM)
    def view(self, asset: int, mute: bool) -> None:
        self.world.exchange.chains[asset].mute = mute

    @rule(persist=st.booleans(), now=SELDOM, epochs=st.integers(0, 2))
    def suspend(self, persist: bool, now: bool, epochs: int) -> None:
        if now:
            self._do(self.world.suspend(persist=persist, epochs=epochs))

    @rule(epochs=st.integers(0, 2))
    def resume(self, epochs: int) -> None:
        self._do(self.world.resume(epochs))

    @rule(crash=st.booleans(), everybody=MOSTLY, now=SELDOM)
    def restart(self, crash: bool, everybody: bool, now: bool) -> None:
        if now:
            self._do(self.world.restart(crash=crash, everybody=everybody))
