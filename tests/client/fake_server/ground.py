"""What the fake server knows, and its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client.fake_server.notes import EPOCH_MS, LOT

from twinlock.chain.keys import PrivateKey
from twinlock.client.errors import LinkClosedError
from twinlock.client.link import Link, memory_links
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.protocol import envelope, matcher, signing
from twinlock.protocol.book import Book
from twinlock.protocol.codes import RpcError
from twinlock.protocol.envelope import Message, MessageType
from twinlock.protocol.messages import account as accounts
from twinlock.protocol.messages.book import EpochReport
from twinlock.protocol.messages.explain import Explanation
from twinlock.protocol.orders import Order
from twinlock.protocol.routes import ROUTES
from twinlock.protocol.wire import Hex
from twinlock.seams import VirtualClock


@dataclass
class Account:
    """An account of the fake: its key, bonds and the link it is logged in on."""

    pubkey: bytes
    bonds: list[accounts.ActiveBond] = field(default_factory=list)
    peer: Peer | None = None


@dataclass
class FakeMatch:
    """One trade match: sides, addresses and contracts indexed by side (0 maker, 1 taker)."""

    match: matcher.Match
    server_time: int
    orders: tuple[Order, Order]
    status: int = 0
    active: bool = True
    addresses: list[str] = field(default_factory=lambda: ["", ""])
    contracts: list[bytes] = field(default_factory=lambda: [b"", b""])
    coins: list[bytes] = field(default_factory=lambda: [b"", b""])
    redeems: list[bytes] = field(default_factory=lambda: [b"", b""])
    secret: bytes = b""

    def account(self, side: int) -> bytes:
        return self.orders[side].account_id


class Peer:
    """One connection."""

    def __init__(self, server: Ground, link: Link) -> None:
        self.server = server
        self.link = link
        self.account: bytes = b""
        self.task = asyncio.create_task(self._serve())
        self._ids = 0
        self._asked: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, route: str, payload: object) -> bytes:
        """The client's answer to a request of ours, as the raw payload."""
        self._ids += 1
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[self._ids] = answer
        await self.link.send(envelope.request(self._ids, route, self.server.bend(route, payload)))
        return await answer

    async def tell(self, route: str, payload: object) -> None:
        await self.link.send(envelope.notification(route, self.server.bend(route, payload)))

    async def _serve(self) -> None:
        try:
            while True:
                message = envelope.decode_frame(await self.link.receive())
                if message.type is MessageType.RESPONSE:
                    self._asked.pop(message.id).set_result(message.payload)
                else:
                    await self._answer(message)
        except LinkClosedError:
            for answer in self._asked.values():
                answer.cancel()
            account = self.server.accounts.get(self.account)
            if account is not None and account.peer is self:
                account.peer = None

    async def _answer(self, message: Message) -> None:
        route = ROUTES[message.route]
        payload = envelope.decode_payload(message.payload, route.payload)
        self.server.log.append((message.route, payload))
        try:
            result = await self.server.handle(self, message.route, payload)
        except RpcError as error:
            await self.link.send(envelope.error_response(message.id, error))
            return
        if result is not self.server.SILENCE:
            await self.link.send(envelope.response(message.id, self.server.bend(f"{message.route}:result", result)))
        if message.route == "connect":
            await self.server.welcome(self)


class Ground:
    """One market, two chains, as many clients as dial: what is known, and the lines to the clients."""

    SILENCE = object()

    def __init__(self, clock: VirtualClock, chains: dict[int, SimulatedChain]) -> None:
        self.clock = clock
        self.chains = chains
        self.key = PrivateKey(b"\x07" * 32)
        self.accounts: dict[bytes, Account] = {}
        self.peers: list[Peer] = []
        self.book = Book(LOT)
        self.epoch: dict[bytes, Order] = {}
        self.statuses: dict[bytes, int] = {}
        self.matches: dict[bytes, FakeMatch] = {}
        self.log: list[tuple[str, Any]] = []
        self.codes: dict[bytes, int] = {}
        """Prepaid codes and the tiers they give."""
        self.down = False
        self.suspended = False
        self.refuse: dict[str, RpcError] = {}
        self.mute: set[str] = set()
        self.knows_options = True
        self.explanation: Explanation | None = None
        self.reports: list[EpochReport] = []
        """None: the route is not known, as on servers of the reference."""
        self.bend: Callable[[str, Any], Any] = lambda _, payload: payload
        self.seq = 0
        self._epochs = 0

    # The network -------------------------------------------------------------------------------------------

    def dialer(self, _server: object) -> Callable[[], Awaitable[Link]]:
        return self.dial

    async def dial(self) -> Link:
        if self.down:
            raise LinkClosedError("connection refused")
        near, far = memory_links()
        self.peers.append(Peer(self, far))
        return near

    async def hang_up(self) -> None:
        """Close every connection."""
        peers, self.peers = self.peers, []
        for account in self.accounts.values():
            account.peer = None
        for peer in peers:
            await peer.link.close()
            await asyncio.gather(peer.task, return_exceptions=True)

    def asked(self, route: str) -> list[Any]:
        """Every payload that clients sent on that route."""
        return [payload for name, payload in self.log if name == route]

    async def broadcast(self, route: str, note: object) -> None:
        for peer in list(self.peers):
            try:
                await peer.tell(route, note)
            except LinkClosedError:
                continue

    async def handle(self, peer: Peer, route: str, payload: Any) -> Any:
        if route in self.refuse:
            raise self.refuse[route]
        if route in self.mute:
            return self.SILENCE
        return await getattr(self, f"_{route}")(peer, payload)

    async def welcome(self, peer: Peer) -> None:
        """What is told directly after a login."""

    # Small things --------------------------------------------------------------------------------------------

    def signed(self, message: Any) -> Any:
        return signing.signed(self.key, message)

    def _sign(self, message: bytes) -> Hex:
        return signing.sign(self.key, message)

    def _later(self, peer: Peer, route: str, payload: object) -> None:
        async def ask() -> None:
            try:
                await peer.ask(route, payload)
            except (LinkClosedError, asyncio.CancelledError):
                return

        task = asyncio.create_task(ask())
        task.add_done_callback(lambda _: None)

    def _owner(self, order_id: bytes, more: dict[bytes, Order] | None = None) -> bytes:
        order = self.epoch.get(order_id) or self.book.get(order_id) or (more or {}).get(order_id)
        return order.account_id if order else b""

    def _next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def _epochs_index(self) -> int:
        return max(self._epochs, self.clock.now_ms() // EPOCH_MS)
