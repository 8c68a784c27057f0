"""The swap executor: one runner per match, each looking at both chains and doing what it owes until the match ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from twinlock.client.desk import CoinSide, Desk
from twinlock.client.errors import ClientError
from twinlock.client.orders import Orders
from twinlock.client.store.records import SwapRecord
from twinlock.client.swapper.actions import Actions
from twinlock.client.swapper.escalation import Escalation
from twinlock.client.swapper.matches import Matches
from twinlock.client.swapper.negotiation import Negotiation
from twinlock.client.swapper.observe import observe
from twinlock.client.waiting import rest
from twinlock.errors import TwinlockError
from twinlock.protocol.swap import Duty, Party, act_by, duties, ending


class Swapper:
    """Runs every unfinished match of one server, from entry to exit of `run`."""

    def __init__(self, desk: Desk, orders: Orders) -> None:
        self._desk = desk
        self._orders = orders
        self.matches = Matches(desk)
        self.negotiation = Negotiation(desk, orders, self.matches)
        self._actions = Actions(desk, orders, self.matches, self.negotiation)
        self._escalation = Escalation(desk, self.matches)
        self._runners: dict[str, _Runner] = {}
        self.matches.wake = self._wake

    async def run(self) -> None:
        """Resume what was running, and run what is added, until cancelled."""
        try:
            while True:
                for record in self.matches.running():
                    self._start(record)
                self._release()
                await self._desk.clock.sleep(self._desk.pace.swap_check)
        finally:
            runners = list(self._runners.values())
            self._runners.clear()
            for runner in runners:
                runner.stop()
            await asyncio.gather(*(runner.task for runner in runners), return_exceptions=True)

    def wake_all(self) -> None:
        """Something changed that concerns every match: a block, a connection."""
        for runner in self._runners.values():
            runner.wake()

    def safe_until(self) -> int | None:
        """The second until which this client may stay closed without endangering a coin; None: as long as you like."""
        times = (act_by(record.swap, record.party) for record in self.matches.running())
        return min((time for time in times if time is not None), default=None)

    def _wake(self, record: SwapRecord) -> None:
        if not record.closed:
            self._start(record)
            self._runners[record.key].wake()

    def _start(self, record: SwapRecord) -> None:
        runner = self._runners.get(record.key)
        if runner is None or runner.task.done():
            self._runners[record.key] = _Runner(
                self._desk, self.matches, self._actions, self._escalation, record, self._ended
            )

    def _ended(self, record: SwapRecord) -> None:
        self._runners.pop(record.key, None)
        self._actions.forget(record)
        self._escalation.forget(record)
        self._release()

    def _release(self) -> None:
        """Free the coins of orders that are over and have nothing left to swap."""
        unfunded = (record for record in self.matches.running() if not record.swap.legs[record.party].known)
        waiting = {record.order_key for record in unfunded if not record.outcome}
        self._orders.release(waiting)


class _Runner:
    """One match: observe, act, rest, until it ends."""

    def __init__(
        self,
        desk: Desk,
        matches: Matches,
        actions: Actions,
        escalation: Escalation,
        record: SwapRecord,
        ended: Callable[[SwapRecord], None],
    ) -> None:
        self._desk = desk
        self._matches = matches
        self._actions = actions
        self._escalation = escalation
        self._record = record
        self._ended = ended
        self._woken = asyncio.Event()
        self._complaint = ""
        self._watchers: dict[Party, asyncio.Task[None]] = {}
        self.task = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self.task.cancel()

    async def _run(self) -> None:
        try:
            while not self._record.closed:
                self._woken.clear()
                for task in (self._look, self._act, self._look, self._judge_end):
                    await self._guarded(task)
                if not self._record.closed:
                    await self._rest()
        finally:
            for watcher in self._watchers.values():
                watcher.cancel()
        self._ended(self._record)

    async def _look(self) -> None:
        self._matches.learn(self._record, *await observe(self._desk, self._record))
        self._watch()

    async def _act(self) -> None:
        swap, party = self._record.swap, self._record.party
        online = self._desk.session.ready.is_set()
        owed = duties(replace(swap, server_lost=not online), party, self._desk.clock.now_ms())
        for task in owed:
            await self._guarded(partial(self._actions.perform, task.duty, self._record))
        await self._guarded(partial(self._escalation.consider, self._record))

    async def _judge_end(self) -> None:
        record, now = self._record, self._desk.clock.now_ms()
        outcome = ending(record.swap, record.party, now)
        owed = {task.duty for task in duties(record.swap, record.party, now)}
        # A lock that passes between acting and looking again makes a contract void that still holds coins.
        bound = Duty.RELEASE_COINS in owed and bool(record.own_tx)
        if outcome is not None and not bound and not owed & {Duty.REFUND, Duty.REDEEM}:
            reports = owed & {Duty.REPORT_CONTRACT, Duty.REPORT_REDEEM}
            self._matches.end(record, outcome.name.lower(), closed=not reports)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """One step that fails is told and taken again later; it never stops the others."""
        try:
            await work()
        except TwinlockError as error:
            self._complain(error)
        except Exception as defect:  # A defect must not stop the other duties of a swap, nor go unseen.
            self._complain(ClientError(f"{defect!r}", code="client.defect", fault="twinlock"))

    def _complain(self, error: TwinlockError) -> None:
        text = f"match {self._record.match_id.hex()[:16]}: {error}"
        if text != self._complaint:
            self._complaint = text
            self._desk.notice(text, "warning")

    def _watch(self) -> None:
        """Wake as soon as a chain shows something new of a contract."""
        for party in Party:
            leg = self._record.swap.legs[party]
            if leg.sound and party not in self._watchers:
                chain_side = self._desk.coin(self._asset(party))
                self._watchers[party] = asyncio.create_task(self._follow(chain_side, leg.contract))

    async def _follow(self, chain_side: CoinSide, contract: bytes) -> None:
        script = chain_side.family.contract_script(contract)
        while True:
            try:
                async for _ in chain_side.chain.watch(script):
                    self._woken.set()
            except TwinlockError as error:
                self._complain(error)
            await self._desk.clock.sleep(self._desk.pace.swap_check)

    def _asset(self, party: Party) -> int:
        return self._record.own_asset if party is self._record.party else self._record.other_asset

    async def _rest(self) -> None:
        await rest(self._desk.clock, self._desk.pace.swap_check, self._woken)
