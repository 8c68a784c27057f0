"""The client's side: makes each swap's packet once its contract is signed, and delivers it until the tower has it.

What was delivered is remembered by its facts, so that a packet is made anew only when they change: the own contract,
the counterparty's, the secret's being public.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from typing import ClassVar

import httpx
import msgspec

from twinlock.client.desk import CoinSide, Desk
from twinlock.client.errors import ClientError, StoreError
from twinlock.client.events import Event, SwapStep
from twinlock.client.store import Store
from twinlock.client.store.base import Record
from twinlock.client.store.records import SwapRecord
from twinlock.client.tower.packet import LegWatch, Packet, decode, encode
from twinlock.client.tower.reception import Refusal
from twinlock.client.tower.sealing import receipt, seal
from twinlock.client.waiting import rest
from twinlock.client.wallet.keys import SwapPurpose
from twinlock.errors import TwinlockError
from twinlock.protocol.swap import LegStatus, Party
from twinlock.seams import Clock, Entropy

TIMEOUT_S = 10.0
RETRY_S = 15.0
"""Seconds until what could not be delivered is tried again."""


class DeliveryError(ClientError):
    """The tower cannot be reached, or did not take the packet; it is tried again."""

    code = "tower.delivery"
    fault = "peer"


class PacketRecord(Record, kw_only=True):
    """The newest packet of a swap. facts: what it was made of; delivered: a tower holds it."""

    kind: ClassVar[str] = "packet"
    name: str
    facts: bytes
    revision: int
    body: bytes
    delivered: bool = False

    @property
    def key(self) -> str:
        return self.name


async def packet_of(desk: Desk, record: SwapRecord) -> PacketRecord | None:
    """The packet that the swap's facts call for, stored; None where a tower could do nothing.

    Raises what wallets and chains raise.
    """
    own = record.swap.legs[record.party]
    if not own.known or not record.own_tx or record.closed or own.status is LegStatus.REFUNDED:
        return None
    facts = _facts(record)
    known = desk.store.get(PacketRecord, record.key)
    if known is not None and known.facts == facts:
        return known
    packet = Packet(
        network=desk.network,
        match_id=record.match_id,
        role="maker" if record.party is Party.MAKER else "taker",
        revision=known.revision + 1 if known is not None else 1,
        own=await _own(desk, record),
        theirs=await _theirs(desk, record),
        secret=record.swap.secret or b"" if record.swap.revealed else b"",
    )
    made = PacketRecord(name=record.key, facts=facts, revision=packet.revision, body=encode(packet))
    decode(made.body)  # What a tower would refuse must not leave us.
    desk.store.put(made)
    return made


def drop_packets(store: Store, running: Iterable[SwapRecord]) -> None:
    """Forget the packets of swaps that are over: they hold every transaction at many fees."""
    needed = {record.key for record in running}
    for packet in store.all(PacketRecord):
        if packet.key not in needed:
            store.delete(PacketRecord, packet.key)


def _facts(record: SwapRecord) -> bytes:
    own, theirs = record.swap.legs[record.party], record.swap.legs[record.party.other]
    known = (own.coin_id, own.contract, *((theirs.coin_id, theirs.contract) if theirs.sound else (b"", b"")))
    return sha256(msgspec.msgpack.encode((known, record.swap.revealed))).digest()


async def _own(desk: Desk, record: SwapRecord) -> LegWatch:
    side, leg = desk.coin(record.own_asset), record.swap.legs[record.party]
    value = record.swap.terms.amounts[record.party]
    return await _watch(side, record, SwapPurpose.REFUND, leg.coin_id, leg.contract, value)


async def _theirs(desk: Desk, record: SwapRecord) -> LegWatch | None:
    leg = record.swap.legs[record.party.other]
    if not leg.sound:
        return None
    side = desk.coin(record.other_asset)
    return await _watch(side, record, SwapPurpose.REDEEM, leg.coin_id, leg.contract, record.their_value)


async def _watch(
    side: CoinSide, record: SwapRecord, purpose: SwapPurpose, coin_id: bytes, contract: bytes, value: int
) -> LegWatch:
    ladder = await side.wallet.presign(record.match_id, purpose, contract, coin_id, value, await side.chain.fee_rate())
    return LegWatch(side.coin.symbol, coin_id, contract, value, tuple(rung.raw for rung in ladder))


class Courier:
    """Delivers to one tower. key: the tower's. transport: the seam to the network."""

    def __init__(
        self,
        url: str,
        key: bytes,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._complaint = ""
        self._url = url.rstrip("/")
        self._key = key
        self._store = store
        self._entropy = entropy

    async def run(self, running: Callable[[], Iterable[tuple[Desk, SwapRecord]]], events: AsyncIterator[Event]) -> None:
        """Deliver what there is at each step of a swap, and again after a while what failed, until cancelled."""
        woken = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_wake(events, woken))
            while True:
                woken.clear()
                for desk, record in running():
                    await self._carry(desk, record)
                with suppress(StoreError):  # then at the next step
                    drop_packets(self._store, [record for _, record in running()])
                await rest(self._clock, RETRY_S, woken)

    async def _carry(self, desk: Desk, record: SwapRecord) -> None:
        try:
            packet = await packet_of(desk, record)
            if packet is not None:
                await self.deliver(packet)
            self._complaint = ""
        except TwinlockError as error:
            text = f"match {record.match_id.hex()[:16]} is not in the tower's care: {error}"
            if text != self._complaint:
                self._complaint = text
                desk.notice(text, "warning")

    async def deliver(self, packet: PacketRecord) -> None:
        """Until the tower has said that it holds the packet. Raises DeliveryError."""
        if packet.delivered:
            return
        sealed = seal(self._key, packet.body, self._entropy)
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, transport=self._transport) as http:
                answer = await http.post(f"{self._url}/packets", content=sealed)
        except httpx.HTTPError as error:
            raise DeliveryError(f"the tower at {self._url} does not answer: {error!r}") from error
        if answer.is_success and hmac.compare_digest(answer.text, receipt(self._key, sealed)):
            packet.delivered = True
            self._store.put(packet)
            return
        raise _refused(self._url, answer)


async def _wake(events: AsyncIterator[Event], woken: asyncio.Event) -> None:
    async for event in events:
        if isinstance(event, SwapStep):
            woken.set()


def _refused(url: str, answer: httpx.Response) -> DeliveryError:
    try:
        refusal = msgspec.json.decode(answer.content, type=Refusal)
    except msgspec.DecodeError:
        return DeliveryError(f"what answers at {url} is not our tower", fix="compare the tower's key and address")
    return DeliveryError(f"the tower refuses: {refusal.message}", code=refusal.code, fix=refusal.fix)
