"""One task per packet: look at both chains, decide, broadcast, rest until a chain shows something new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from twinlock.chain import presigned
from twinlock.chain.families import family_of
from twinlock.client.seams import Chain
from twinlock.client.tower.config import TowerPace
from twinlock.client.tower.decide import Move, Sight, decide, rung, secret_of
from twinlock.client.tower.packet import LegWatch, Packet, PacketError, locked, secret_hash
from twinlock.client.tower.shelf import Shelf
from twinlock.client.waiting import rest
from twinlock.electrum.errors import RejectedError
from twinlock.electrum.states import OutputStatus
from twinlock.errors import TwinlockError
from twinlock.seams import Clock


class TowerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a tower tells. what: watching, replaced, redeeming, refunding, done, trouble."""

    at: int
    what: str
    match_id: str = ""
    role: str = ""
    txid: str = ""
    text: str = ""


class Watcher:
    """Watches every packet of a shelf, from entry to exit of `run`."""

    def __init__(
        self,
        shelf: Shelf,
        chains: Mapping[str, Chain],
        clock: Clock,
        pace: TowerPace,
        tell: Callable[[TowerEvent], None],
    ) -> None:
        self._shelf = shelf
        self.chains = chains
        self.clock = clock
        self.pace = pace
        self._tell = tell
        self._guards: dict[str, _Guard] = {}
        self._running = False

    async def run(self) -> None:
        """Watch until cancelled."""
        self._running = True
        for packet in self._shelf.all():
            self._start(packet)
        try:
            async with asyncio.TaskGroup() as tasks:
                for symbol, chain in self.chains.items():
                    tasks.create_task(self._follow(symbol, chain))
        finally:
            self._running = False
            guards = list(self._guards.values())
            for guard in guards:
                guard.task.cancel()
            await asyncio.gather(*(guard.task for guard in guards), return_exceptions=True)

    def take(self, packet: Packet) -> bool:
        """Keep a checked packet and watch it; False if one at least as new is here already. Raises PacketError."""
        legs = [packet.own] if packet.theirs is None else [packet.own, packet.theirs]
        for leg in legs:
            if (chain := self.chains.get(leg.asset)) is None or chain.coin.network is not packet.network:
                raise PacketError(
                    f"this tower does not see {leg.asset} on {packet.network}",
                    code="tower.chain",
                    fix="add it to [[chains]] of the tower's configuration",
                )
        known = self._shelf.get(packet.name)
        if not self._shelf.put(packet):
            return False
        self.say("watching" if known is None else "replaced", packet)
        if self._running:
            self._start(packet)
        return True

    def _start(self, packet: Packet) -> None:
        if (old := self._guards.pop(packet.name, None)) is not None:
            old.task.cancel()
        if all(leg.asset in self.chains for leg in (packet.own, packet.theirs) if leg is not None):
            self._guards[packet.name] = _Guard(self, packet)

    async def _follow(self, symbol: str, chain: Chain) -> None:
        """Every block may open a lock."""
        while True:
            try:
                async for _ in chain.subscribe_tip():
                    for guard in self._guards.values():
                        guard.woken.set()
            except TwinlockError as error:
                self._tell(TowerEvent(at=self.clock.now_ms(), what="trouble", text=f"{symbol}: {error}"))
            await self.clock.sleep(self.pace.check)

    def say(self, what: str, packet: Packet, *, txid: str = "", text: str = "") -> None:
        self._tell(
            TowerEvent(
                at=self.clock.now_ms(),
                what=what,
                match_id=packet.match_id.hex(),
                role=packet.role,
                txid=txid,
                text=text,
            )
        )

    def finish(self, packet: Packet) -> None:
        """All is final."""
        self._shelf.finish(packet)
        self._guards.pop(packet.name, None)
        self.say("done", packet)


class _Guard:
    """One packet's task."""

    def __init__(self, tower: Watcher, packet: Packet) -> None:
        self._tower = tower
        self._packet = packet
        self._complaint = ""
        self._since: dict[Move, int] = {}
        """The height at which the first transaction of a move was in the mempool."""
        self._shown: dict[bytes, int] = {}
        """By contract, which transaction of its ladder the mempool shows."""
        self.woken = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        watchers = [asyncio.create_task(self._wake_by(leg)) for leg in self._legs()]
        try:
            while True:
                self.woken.clear()
                try:
                    if await self._turn():
                        return
                    self._complaint = ""
                except TwinlockError as error:
                    self._complain(str(error))
                except Exception as defect:  # A defect must not leave a swap unguarded, nor go unseen.
                    self._complain(f"defect: {defect!r}")
                await rest(self._tower.clock, self._tower.pace.check, self.woken)
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def _turn(self) -> bool:
        """Look and act once; True when all is final."""
        packet = self._packet
        own = await self._look(packet.own)
        theirs = await self._look(packet.theirs) if packet.theirs is not None else None
        move = decide(packet, own, theirs)
        if move is Move.REDEEM and packet.theirs is not None:
            secret = secret_of(packet, own, theirs)
            row = packet.coin(packet.theirs)
            await self._send(
                move, packet.theirs, [presigned.complete(row, raw, secret) for raw in packet.theirs.ladder]
            )
        if move is Move.REFUND:
            await self._send(move, packet.own, packet.own.ladder)
        if move is Move.DONE:
            self._tower.finish(packet)
        return move is Move.DONE

    async def _look(self, leg: LegWatch) -> Sight:
        chain, row = self._tower.chains[leg.asset], self._packet.coin(leg)
        family, point = family_of(row), locked(self._packet, leg).point
        tip = await chain.tip()
        output = await chain.output_status(point, family.contract_script(leg.contract))
        self._shown.pop(leg.coin_id, None)
        if output is None:
            return Sight(median_time=tip.median_time)
        if output.spender is None:
            return Sight(median_time=tip.median_time, unspent=True)
        raw = await chain.raw_transaction(output.spender)
        ids = [family.tx_id(each) for each in leg.ladder]
        if output.spender in ids and row.segwit:
            self._shown[leg.coin_id] = ids.index(output.spender)
        return Sight(
            median_time=tip.median_time,
            spent_depth=_depth(output, tip.height),
            secret=family.find_secret(raw, point, secret_hash(self._packet)) or b"",
            ours=leg.coin_id in self._shown,
        )

    async def _send(self, move: Move, leg: LegWatch, ladder: Sequence[bytes]) -> None:
        """Broadcast the transaction that the fees of the day call for, or a dearer one where the chain wants more."""
        chain = self._tower.chains[leg.asset]
        tip = await chain.tip()
        since = self._since.setdefault(move, tip.height)
        start, shown = rung(self._rates(leg), await chain.fee_rate(), tip.height - since), self._shown.get(leg.coin_id)
        if shown is not None and start <= shown:
            return
        refusal: TwinlockError | None = None
        for raw in ladder[start:]:
            try:
                txid = await chain.broadcast(raw)
            except RejectedError as error:
                refusal = error
                continue
            self._tower.say("redeeming" if move is Move.REDEEM else "refunding", self._packet, txid=txid)
            return
        # Not every chain allows what is in the mempool to be replaced; then it stays as it is.
        if refusal is not None and shown is None:
            raise refusal

    def _rates(self, leg: LegWatch) -> tuple[int, ...]:
        check = presigned.check_refund if leg is self._packet.own else presigned.check_redeem
        row, output = self._packet.coin(leg), locked(self._packet, leg)
        return tuple(check(row, output, raw).fee_rate for raw in leg.ladder)

    def _legs(self) -> list[LegWatch]:
        return [leg for leg in (self._packet.own, self._packet.theirs) if leg is not None]

    async def _wake_by(self, leg: LegWatch) -> None:
        chain = self._tower.chains[leg.asset]
        script = family_of(self._packet.coin(leg)).contract_script(leg.contract)
        while True:
            try:
                async for _ in chain.watch(script):
                    self.woken.set()
            except TwinlockError as error:
                self._complain(str(error))
            await self._tower.clock.sleep(self._tower.pace.check)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            self._tower.say("trouble", self._packet, text=text)


def _depth(output: OutputStatus, height: int) -> int:
    return 0 if output.spender_height is None else height - output.spender_height + 1
