"""Clients that die at a certain write or broadcast, whose clock is wrong, or whose disk is lost: see `mortal`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec
from tests.e2e.scenes.chainbook import witness_of
from tests.e2e.scenes.mortal import END, Part
from tests.e2e.scenes.players import Daemon, Rogue
from tests.e2e.scenes.scene import WITNESSES, Fate, Scene
from tests.e2e.scenes.stage import Stage

from twinlock.chain.tx import Tx
from twinlock.client.control.views import SwapView
from twinlock.protocol.swap import Party
from twinlock.seams import Entropy
from twinlock.simnet.clients import PATIENCE
from twinlock.simnet.processes import ProcessError

ROOT = Path(__file__).parents[3]

HEALTHY = Part()

KILLED = -9
"""Exit status after kill -9."""


class Mortal(Daemon):
    """A client process that plays a part whenever it is started."""

    part = HEALTHY
    _closed = 0
    """Counts that had come to their end before the present one."""

    async def start(self) -> None:
        seen = len(self._log())
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._write_part()
        files = (self._file, self._password, self._part_file)
        command: list[str | Path] = [sys.executable, "-m", "tests.e2e.scenes.mortal", *files]
        self.process = await self._exchange.processes.start(self.name, command, {"PYTHONPATH": path})
        try:
            await self.saw("ready", after=seen)
        except ProcessError:
            # What it was to die at may come before anything else.
            if not self.part.dies or await self.process.wait() != KILLED:
                raise

    async def become(self, part: Part) -> None:
        """kill -9, and start again in another part."""
        await self.kill()
        self.plays(part)
        await self.start()
        await self.until_venue(lambda venue: venue.connected)

    def plays(self, part: Part) -> None:
        """From its next swap on, without another start; its clock stays as it is."""
        self.part, self._closed = part, self._ends()
        self._write_part()

    async def died(self) -> None:
        """Return when it has killed itself, as its part wanted."""
        status = await asyncio.wait_for(self.process.wait(), PATIENCE)
        assert status == KILLED, f"{self.name} ended with {status}: {self.process.tail(20)}"

    async def revive(self, part: Part = HEALTHY) -> None:
        """Start again after such a death."""
        await self.died()
        self.part = part
        await self.start()

    async def swap(self, match_id: str) -> SwapView | None:
        """How it sees one swap, if it knows of it."""
        return next((swap for swap in await self.swaps() if swap.match_id == match_id), None)

    async def outcome(self, match_id: str) -> str:
        """How a swap ended, once it has and everything is free again; for those who may have died telling it."""
        found: list[str] = []

        async def over() -> bool:
            swap = await self.swap(match_id)
            found[:] = ["unknown" if swap is None else swap.outcome]
            return bool(found[0])

        await self.process.until(over, PATIENCE, f"end of {match_id[:16]}")
        await self.process.until(self._free, PATIENCE, f"free coins but {await self.wallets()}")
        return found[0]

    async def closed(self) -> None:
        """Return when the swap that it was to die in is closed: ended, and everything told that the exchange wants to
        hear.
        """

        async def over() -> bool:
            return self._ends() > self._closed

        await self.process.until(over, PATIENCE, "end of what it counts")

    async def survives(self) -> bool:
        """Whether it lives until then; False once it has killed itself, as its part wanted."""
        try:
            await self.closed()
        except ProcessError:
            if self.process.running:
                raise
        else:
            if len(self.crossings()) != self.part.die_at:
                return True  # not even at the last one
        await self.died()
        return False

    async def _free(self) -> bool:
        return all(each.total == each.available + each.bonded for each in (await self.wallets()).values())

    def disconnections(self) -> list[str]:
        """Why it lost the exchange, each time."""
        return [row["reason"] for row in self._new_rows() if row.get("event") == "disconnected"]

    # What it left ------------------------------------------------------------------------------------------

    def crossings(self) -> list[str]:
        """What it wrote down since it last began to count: ``before store swap``."""
        lines = [line.split(" ", 1) for line in self._lines(".crossings") if not line.endswith(END)]
        start = max((at for at, (number, _) in enumerate(lines) if number == "1"), default=0)
        return [what for _, what in lines[start:]]

    def sent(self) -> list[Tx]:
        """Every transaction that it ever broadcast, each once."""
        return [Tx.parse(bytes.fromhex(line)) for line in dict.fromkeys(self._lines(".sent"))]

    def assert_nothing_sent_twice(self) -> None:
        """No two different transactions for one purpose: none of its coins was spent by two of them."""
        spenders: dict[object, str] = {}
        for tx in self.sent():
            for txin in tx.inputs:
                spender = spenders.setdefault(txin.point, tx.txid)
                assert spender == tx.txid, f"{self.name} spends {txin.point} in {spender} and in {tx.txid}"

    def _ends(self) -> int:
        return sum(line.endswith(END) for line in self._lines(".crossings"))

    @property
    def _part_file(self) -> Path:
        return self._folder.with_suffix(".part")

    def _write_part(self) -> None:
        draft = self._part_file.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(self.part))
        draft.replace(self._part_file)

    def _lines(self, suffix: str) -> list[str]:
        file = self._folder.with_suffix(suffix)
        return file.read_text().splitlines() if file.exists() else []

    # Lost disks --------------------------------------------------------------------------------------------

    async def recovered(self, *arguments: str | Path, status: int = 0) -> dict[str, Any]:
        """It is dead: lose its disk, run `twinlock client recover` from the words, start again; what was reported."""
        words = self.lose_disk()
        process = await self.recover(words, *arguments)
        ended = await asyncio.wait_for(process.wait(), 3 * PATIENCE)
        assert ended == status, process.tail(30)
        lines = [line for line in process.log.read_text().splitlines() if line.startswith("{")]
        report: dict[str, Any] = json.loads(lines[-1])
        self.part = HEALTHY
        await self.start()
        return report


async def mortal(stage: Stage, name: str, entropy: Entropy | None = None) -> Mortal:
    """One with money, a bond and an account. entropy: where its seed comes from."""
    return await stage.entered(Mortal(stage.exchange, name), entropy)


async def mortals(stage: Stage, *names: str) -> list[Mortal]:
    """Several of them, side by side."""
    return list(await asyncio.gather(*(mortal(stage, name) for name in names)))


# Scenes with somebody in them who may not live to tell ---------------------------------------------------------------


async def met(scene: Scene, witness: Party) -> None:
    """As `Scene.match`, but only one side is sure to live until it can tell of the match."""
    for party in Party:
        scene.before[party] = await scene.player(party).totals()
        scene.accounts[party] = await scene.player(party).account_id()
    place, scene.rate = scene.stage.floor.rate(scene.maker_sells)
    orders = {}
    try:
        orders[Party.MAKER] = await scene.maker.order(_side(scene.maker_sells), scene.quantity, scene.rate)
        await scene.maker.saw("order_changed", order_id=orders[Party.MAKER].id, status="booked")
    finally:
        async with scene.stage.floor.turn(scene.maker_sells, place):
            orders[Party.TAKER] = await scene.taker.order(_side(not scene.maker_sells), scene.quantity, scene.rate)
    made = await scene.player(witness).saw("match_made", order_id=orders[witness].id)
    scene.match_id = made["match_id"]


def _side(sells: bool) -> Literal["buy", "sell"]:
    return "sell" if sells else "buy"


async def ended(scene: Scene, party: Party) -> str:
    """How the swap ended for that side, its contract noted; "unknown" if it died before it could store the match."""
    player = scene.player(party)
    if not isinstance(player, Mortal):
        end = await player.saw("swap_ended", match_id=scene.match_id)
        await player.until_settled()
        if isinstance(player, Rogue) and (raw := player.swap(scene.match_id).own_tx):
            scene.contracts[party] = f"{Tx.parse(raw).txid}:0"
        return str(end["outcome"])
    outcome = await player.outcome(scene.match_id)
    swap = await player.swap(scene.match_id)
    if swap is not None and swap.own_coin:
        scene.contracts[party] = swap.own_coin
    return outcome


async def fates_on_chain(scene: Scene) -> dict[Party, Fate]:
    """What the chains say became of the contracts that are known."""
    return {party: await _fate(scene, party) for party in Party}


async def _fate(scene: Scene, payer: Party) -> Fate:
    book, coin = scene.stage.books[scene.asset(payer)], scene.contracts.get(payer, "")
    await book.refresh()
    if not coin or book.find(coin.split(":")[0]) is None:
        return Fate.ABSENT
    spender = book.spender(coin)
    if spender is None:
        return Fate.LOCKED
    return next(fate for fate, items in WITNESSES.items() if len(witness_of(spender, coin)) == items)
