"""A trader for tests, written after the protocol's reference on a foreign WebSocket library."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Raw
from msgspec.structs import replace
from tests.server.memory_chain import MemoryChain
from websockets.asyncio.client import ClientConnection, connect

from twinlock.chain.bond import BondScript
from twinlock.chain.families import family_of
from twinlock.chain.keys import PrivateKey
from twinlock.chain.spend import Input, Payment, build_bond, build_redeem, build_swap, redeem_input
from twinlock.kernels.ripemd160 import hash160
from twinlock.protocol import envelope, routes
from twinlock.protocol.account import account_id
from twinlock.protocol.codes import RpcError
from twinlock.protocol.envelope import MessageType
from twinlock.protocol.messages.account import (
    Connect,
    ConnectResult,
    PostBond,
    PostBondResult,
    PreValidateBond,
    PreValidateBondResult,
)
from twinlock.protocol.messages.book import BookSubscription
from twinlock.protocol.messages.orders import (
    Coin,
    OrderPrefix,
    OrderResult,
    PlaceCancel,
    PlaceLimit,
    PlaceMarket,
    PreimageRequest,
    PreimageResponse,
)
from twinlock.protocol.messages.swaps import Acknowledgement, Audit, CounterpartyAddress, Init, Match, Redeem
from twinlock.protocol.orders import OrderType, Side, TimeInForce, commit
from twinlock.protocol.routes import Route
from twinlock.protocol.signing import sign, signed
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock, SeededEntropy, SystemClock

P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S", bound=OrderPrefix)

PATIENCE_S = 60.0


class Trader:
    """One account and one connection. `chains` by asset ID.

    `reveals` False withholds preimages; `lies` invents them.
    """

    def __init__(
        self, url: str, certificate: Path, chains: dict[int, MemoryChain], seed: int, clock: Clock | None = None
    ) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(certificate))
        self._entropy = SeededEntropy(seed)
        self._clock = clock or SystemClock()
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._preimages: dict[bytes, bytes] = {}
        self._keys = count(1)
        self.chains = chains
        self.key = self.new_key()
        self.account = account_id(self.key.public)
        self.notes: defaultdict[str, list[Any]] = defaultdict(list)
        self.heard: list[str] = []
        """The routes of all of them, in the order of arrival."""
        self.stray: list[RpcError] = []
        self.arrived = asyncio.Condition()
        self.matches: dict[bytes, Match] = {}
        self.swap_keys: dict[bytes, PrivateKey] = {}
        self._received: dict[bytes, int] = {}
        self.reveals = True
        self.lies = False
        self.acknowledge: Callable[[Sequence[Match]], list[Acknowledgement]] = self.acknowledge_all
        self.source = ""
        """The address that it connects from; empty for any."""
        self.socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Trader:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def open(self) -> None:
        where: dict[str, Any] = {"local_addr": (self.source, 0)} if self.source else {}
        self.socket = await connect(self._url, ssl=self._context, ping_interval=None, max_size=2**24, **where)
        self._reader = asyncio.create_task(self._read(self.socket))

    def point_at(self, url: str) -> None:
        """Where to connect from now on."""
        self._url = url

    async def shut(self) -> None:
        if self.socket is not None:
            await self.socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    def new_key(self) -> PrivateKey:
        return PrivateKey(self._entropy.token(32))

    # Messages

    async def ask(self, route: Route[P, R], payload: P) -> R:
        """Send a request and wait for its result. Raises RpcError."""
        number = next(self._ids)
        return await self.ask_raw(number, envelope.request(number, route.name, payload), route.result)

    async def ask_raw(self, number: int, frame: bytes, result: type[R]) -> R:
        """Send any bytes and wait for the response with that id."""
        assert self.socket is not None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self.socket.send(frame.decode("latin-1"))
        async with asyncio.timeout(PATIENCE_S):
            return envelope.decode_result(await answer, result)

    async def note(self, route: Route[P, Any], where: Callable[[P], bool] = lambda _: True) -> P:
        """The first notification (or request) of a route that fits, now or later."""
        async with asyncio.timeout(PATIENCE_S), self.arrived:
            while True:
                found = next((note for note in self.notes[route.name] if where(note)), None)
                if found is not None:
                    return found  # type: ignore[no-any-return]
                await self.arrived.wait()

    async def complaint(self) -> RpcError:
        """The first error response that answers nothing we asked."""
        async with asyncio.timeout(PATIENCE_S), self.arrived:
            await self.arrived.wait_for(lambda: bool(self.stray))
        return self.stray[0]

    async def _read(self, socket: ClientConnection) -> None:
        try:
            await self._take_all(socket)
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the link closed before the answer came"))
                    answer.exception()  # whoever asked may be gone too
            self._waiting.clear()

    async def _take_all(self, socket: ClientConnection) -> None:
        async for frame in socket:
            message = envelope.decode_frame(frame)
            if message.type is MessageType.RESPONSE:
                await self._take_response(message.id, message.payload)
                continue
            payload = envelope.decode_payload(message.payload, routes.ROUTES[message.route].payload)
            answer = self._answer(message.route, payload)
            if answer is not None:
                await socket.send(envelope.response(message.id, answer).decode())
            async with self.arrived:
                self.notes[message.route].append(payload)
                self.heard.append(message.route)
                self.arrived.notify_all()

    async def _take_response(self, number: int, payload: bytes) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(payload)
            return
        try:
            envelope.decode_result(payload, Raw)
        except RpcError as error:
            async with self.arrived:
                self.stray.append(error)
                self.arrived.notify_all()

    def _answer(self, route: str, payload: Any) -> object:
        match payload:
            case PreimageRequest() if self.reveals and (self.lies or payload.commitment in self._preimages):
                return PreimageResponse(preimage=Hex(bytes(32) if self.lies else self._preimages[payload.commitment]))
            case [Match(), *_]:
                self.matches |= {bytes(found.match_id): found for found in payload}
                return self.acknowledge(payload)
            case _ if route in ("audit", "redemption"):
                return Acknowledgement(match_id=payload.match_id, sig=sign(self.key, payload.signed_bytes()))
        return None

    # The account

    async def connect(self) -> ConnectResult:
        request = Connect(account_id=Hex(self.account), timestamp=self._clock.now_ms())
        return await self.ask(routes.CONNECT, signed(self.key, request))

    def bond_payment(self, asset_id: int, amount: int, lock_time: int) -> Payment:
        chain = self.chains[asset_id]
        funds = chain.fund(self.new_key(), amount * 2)
        script = BondScript(lock_time, hash160(self.new_key().public))
        return build_bond(chain.coin, [funds], amount, self.account, script, chain.script(self.new_key()), 2)

    async def prevalidate(self, asset_id: int, payment: Payment) -> PreValidateBondResult:
        request = PreValidateBond(
            account_key=Hex(self.key.public), asset_id=asset_id, version=0, tx=Hex(payment.unsigned)
        )
        return await self.ask(routes.PREVALIDATEBOND, signed(self.key, request))

    async def post_bond(self, asset_id: int, coin_id: bytes) -> PostBondResult:
        request = PostBond(account_key=Hex(self.key.public), asset_id=asset_id, version=0, coin_id=Hex(coin_id))
        return await self.ask(routes.POSTBOND, signed(self.key, request))

    async def register(self, asset_id: int, amount: int, days: int = 60) -> ConnectResult:
        """Post a bond and log in."""
        chain = self.chains[asset_id]
        payment = self.bond_payment(asset_id, amount, self._clock.now_ms() // 1000 + days * 86_400)
        await self.prevalidate(asset_id, payment)
        txid = chain.send(payment)
        chain.mine()
        await self.post_bond(asset_id, family_of(chain.coin).coin_id(txid, 0))
        return await self.connect()

    # Orders

    def limit_order(
        self, market: tuple[int, int], side: Side, quantity: int, rate: int, funds: Input, /, **changes: Any
    ) -> PlaceLimit:
        """A signed limit order; `changes` are put in before it is signed."""
        force = TimeInForce.STANDING
        order = PlaceLimit(
            **self._trade(market, OrderType.LIMIT, side, quantity, funds), rate=rate, time_in_force=int(force)
        )
        return signed(self.key, replace(order, **changes))

    def market_order(
        self, market: tuple[int, int], side: Side, quantity: int, funds: Input, /, **changes: Any
    ) -> PlaceMarket:
        """A signed market order."""
        order = PlaceMarket(**self._trade(market, OrderType.MARKET, side, quantity, funds))
        return signed(self.key, replace(order, **changes))

    def cancel_order(self, market: tuple[int, int], target: bytes, **changes: Any) -> PlaceCancel:
        """A signed cancel order."""
        order = PlaceCancel(**self._prefix(market, OrderType.CANCEL), target_id=Hex(target))
        return signed(self.key, replace(order, **changes))

    async def place(self, order: PlaceLimit | PlaceMarket | PlaceCancel) -> OrderResult:
        """Send an order, and check the receipt's signature."""
        route: Any = {PlaceLimit: routes.LIMIT, PlaceMarket: routes.MARKET, PlaceCancel: routes.CANCEL}[type(order)]
        result: OrderResult = await self.ask(route, order)
        if isinstance(order, PlaceLimit | PlaceMarket):
            self._received[bytes(result.order_id)] = order.base if order.side == Side.BUY else order.quote
        return result

    async def booked(self, order_id: bytes, market: tuple[int, int]) -> None:
        """Wait until an order rests on the book."""
        base, quote = market
        request = BookSubscription(base=base, quote=quote)
        book = await self.ask(routes.ORDERBOOK, request)
        if all(order.order_id != order_id for order in book.orders):
            await self.note(routes.BOOK_ORDER, lambda note: note.order_id == order_id)

    def _prefix(self, market: tuple[int, int], order_type: OrderType) -> dict[str, Any]:
        preimage = self._entropy.token(32)
        commitment = commit(preimage)
        self._preimages[commitment] = preimage
        return {
            "account_id": Hex(self.account),
            "base": market[0],
            "quote": market[1],
            "order_type": int(order_type),
            "client_time": self._clock.now_ms(),
            "commitment": Hex(commitment),
        }

    def _trade(
        self, market: tuple[int, int], order_type: OrderType, side: Side, quantity: int, funds: Input
    ) -> dict[str, Any]:
        funded, received = market if side is Side.SELL else (market[1], market[0])
        family = family_of(self.chains[funded].coin)
        coin_id = family.coin_id(funds.point.txid, funds.point.index)
        assert funds.key is not None
        pubkeys, sigs = family.coin_proof(coin_id, [funds.key])
        coin = Coin(
            coin_id=Hex(coin_id), public_keys=[Hex(key) for key in pubkeys], signatures=[Hex(sig) for sig in sigs]
        )
        return self._prefix(market, order_type) | {
            "side": int(side),
            "quantity": quantity,
            "coins": [coin],
            "address": self.chains[received].address(self.new_key()),
        }

    # Swaps

    def swap_key(self, match_id: bytes) -> PrivateKey:
        """The key behind this side's receiving address of a match."""
        return self.swap_keys.setdefault(match_id, self.new_key())

    def acknowledge_all(self, matches: Sequence[Match]) -> list[Acknowledgement]:
        """Sign every match and name a fresh address for each."""
        return [
            Acknowledgement(
                match_id=found.match_id,
                sig=sign(self.key, found.signed_bytes()),
                address=self.receive_address(found) if found.address else "",
            )
            for found in matches
        ]

    def receive_address(self, found: Match) -> str:
        """Fresh, on the chain that the order receives; none for an order of somebody else."""
        received = self._received.get(bytes(found.order_id))
        return "" if received is None else self.chains[received].address(self.swap_key(bytes(found.match_id)))

    async def counterparty(self, match_id: bytes, order_id: bytes = b"") -> str:
        """Where the other side wants to be paid, once the server has said so; order_id: of who trades with itself."""
        note: CounterpartyAddress = await self.note(
            routes.COUNTERPARTY_ADDRESS,
            lambda found: found.match_id == match_id and order_id in (b"", found.order_id),
        )
        return note.address

    async def make_contract(
        self,
        match_id: bytes,
        asset_id: int,
        value: int,
        secret_hash: bytes,
        lock_time: int,
        funds: Input,
        recipient: str = "",
        rate: int = 10,
        order_id: bytes = b"",
        more: Sequence[Input] = (),
    ) -> Init:
        """Fund a contract and put it into the mempool; the report, signed. recipient "self" steals; more: coins."""
        chain = self.chains[asset_id]
        family = family_of(chain.coin)
        theirs = await self.counterparty(match_id, order_id)
        own = chain.address(self.new_key())
        contract = family.make_contract(own if recipient == "self" else theirs, own, secret_hash, lock_time)
        payment = build_swap(chain.coin, [funds, *more], [(contract, value)], chain.script(self.new_key()), rate)
        txid = chain.send(payment)
        report = Init(
            order_id=Hex(order_id) or self.matches[match_id].order_id,
            match_id=Hex(match_id),
            coin_id=Hex(family.coin_id(txid, 0)),
            contract=Hex(contract),
        )
        return signed(self.key, report)

    def make_redemption(self, match_id: bytes, asset_id: int, audit: Audit, secret: bytes) -> Redeem:
        """Redeem the audited contract into the mempool; the report, signed."""
        chain = self.chains[asset_id]
        family = family_of(chain.coin)
        found = family.audit_contract(audit.contract, audit.coin_id, audit.tx)
        key = self.swap_key(match_id)
        spent = redeem_input(chain.coin, found.point, found.value, bytes(audit.contract), key, secret)
        payment = build_redeem(chain.coin, [spent], chain.script(self.new_key()), 5)
        txid = chain.send(payment)
        report = Redeem(
            order_id=self.matches[match_id].order_id,
            match_id=Hex(match_id),
            coin_id=Hex(family.coin_id(txid, 0)),
            secret=Hex(secret),
        )
        return signed(self.key, report)

    def new_secret(self) -> tuple[bytes, bytes]:
        """A secret and its hash."""
        secret = self._entropy.token(32)
        return secret, sha256(secret).digest()
