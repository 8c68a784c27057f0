"""An exchange server in memory that speaks the protocol's frames and does as a test says.

It matches with the project's matcher, relays settlement messages, and keeps a log of every request. It is honest
unless a test sets `bend`, a function that may change any payload before it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from twinlock.chain.coins import coin
from twinlock.chain.families import family_of
from twinlock.chain.keys import PrivateKey
from twinlock.client.errors import LinkClosedError
from twinlock.client.link import Link, memory_links
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.protocol import envelope, matcher, signing
from twinlock.protocol.account import account_id
from twinlock.protocol.book import Book
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.envelope import Message, MessageType
from twinlock.protocol.messages import account as accounts
from twinlock.protocol.messages import book as books
from twinlock.protocol.messages import config as configs
from twinlock.protocol.messages import orders as order_messages
from twinlock.protocol.messages import status as statuses
from twinlock.protocol.messages import swaps as swap_messages
from twinlock.protocol.messages.explain import Explanation
from twinlock.protocol.orders import (
    CancelOrder,
    LimitOrder,
    MarketOrder,
    Order,
    OrderType,
    accept,
    commit,
)
from twinlock.protocol.routes import ROUTES
from twinlock.protocol.shuffle import checksum, shuffle
from twinlock.protocol.wire import Hex
from twinlock.seams import VirtualClock

MARKET = "ltc_btc"
LTC, BTC = 2, 0
LOT = 1_000_000
EPOCH_MS = 10_000
BOND = 500_000
BROADCAST_TIMEOUT_MS = 60_000


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

    def __init__(self, server: FakeServer, link: Link) -> None:
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


class FakeServer:
    """One market, two chains, as many clients as dial."""

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
        self.refuse: dict[str, RpcError] = {}
        self.mute: set[str] = set()
        self.knows_options = True
        self.explanation: Explanation | None = None
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

    # Requests of clients -------------------------------------------------------------------------------------

    async def handle(self, peer: Peer, route: str, payload: Any) -> Any:
        if route in self.refuse:
            raise self.refuse[route]
        if route in self.mute:
            return self.SILENCE
        return await getattr(self, f"_{route}")(peer, payload)

    async def _explain(self, _peer: Peer, _payload: object) -> Explanation:
        if self.explanation is None:
            raise RpcError(ErrorCode.UNKNOWN_ROUTE, "unknown route")
        return self.explanation

    async def _config(self, _peer: Peer, _payload: None) -> configs.Config:
        return configs.Config(
            api_version=3,
            public_key=Hex(self.key.public),
            cancel_max=0.95,
            broadcast_timeout_ms=BROADCAST_TIMEOUT_MS,
            assets=[_asset("ltc", LTC, 1), _asset("btc", BTC, 0)],
            markets=[
                configs.Market(
                    name=MARKET,
                    base=LTC,
                    quote=BTC,
                    epoch_ms=EPOCH_MS,
                    lot_size=LOT,
                    rate_step=100,
                    buy_buffer=1.25,
                    parcel_size=10,
                    status=configs.MarketStatus(start_epoch=1),
                )
            ],
            bin_sizes=["24h"],
            bond_assets={"btc": configs.BondAsset(version=0, id=BTC, confs=1, amount=BOND)},
            bond_expiry_s=240,
            penalty_threshold=20,
            max_score=60,
            order_options=list(order_messages.OPTION_NAMES) if self.knows_options else msgspec.UNSET,
        )

    async def _connect(self, peer: Peer, login: accounts.Connect) -> accounts.ConnectResult:
        account = self.accounts.get(bytes(login.account_id))
        if account is None:
            raise RpcError(ErrorCode.ACCOUNT_NOT_FOUND, "no such account")
        signing.require(account.pubkey, login.signed_bytes(), login.sig)
        before, account.peer, peer.account = account.peer, peer, bytes(login.account_id)
        if before is not None and before is not peer:
            await before.link.close()  # One link per account (protocol section 3.3).
        active = [match for match in self.matches.values() if match.active]
        return accounts.ConnectResult(
            sig=self._sign(login.signed_bytes()),
            score=0,
            active_orders=[
                statuses.ActiveOrder(id=Hex(order_id), status=status)
                for order_id, status in self.statuses.items()
                if status in (1, 2) and self._owner(order_id) == peer.account
            ],
            active_matches=[
                statuses.ActiveMatch(
                    order_id=Hex(match.orders[side].id),
                    match_id=Hex(match.match.id),
                    quantity=match.match.quantity,
                    rate=match.match.rate,
                    server_time=match.server_time,
                    address=match.addresses[1 - side],
                    fee_rate_base=2,
                    fee_rate_quote=2,
                    status=match.status,
                    side=side,
                )
                for match in active
                for side in (0, 1)
                if match.account(side) == peer.account
            ],
            active_bonds=account.bonds,
            reputation=self._reputation(account),
        )

    async def _price_feed(self, _peer: Peer, _payload: None) -> dict[str, books.Spot]:
        return {}

    async def _orderbook(self, _peer: Peer, _payload: books.BookSubscription) -> books.OrderBook:
        return books.OrderBook(
            market=MARKET, seq=self.seq, epoch=self._epochs, orders=[note_of(order, 0) for order in self.book]
        )

    async def _prevalidatebond(self, _peer: Peer, question: accounts.PreValidateBond) -> accounts.PreValidateBondResult:
        signing.require(question.account_key, question.signed_bytes(), question.sig)
        terms = family_of(coin("btc", "regtest")).parse_bond_tx(question.tx)
        assert terms.account_id == account_id(question.account_key)
        answer = accounts.PreValidateBondResult(
            account_id=Hex(terms.account_id), asset_id=BTC, amount=terms.amount, expiry=terms.lock_time - 240
        )
        return msgspec.structs.replace(answer, sig=self._sign(answer.signed_bytes(question.tx)))

    async def _postbond(self, _peer: Peer, claim: accounts.PostBond) -> accounts.PostBondResult:
        signing.require(claim.account_key, claim.signed_bytes(), claim.sig)
        if claim.asset_id == PREPAID_ASSET_ID:
            return self._post_prepaid(claim)
        family, chain = family_of(coin("btc", "regtest")), self.chains[BTC]
        terms = family.parse_bond_tx(chain.tx(family.parse_coin_id(claim.coin_id).txid).serialize())
        identity = account_id(claim.account_key)
        account = self.accounts.setdefault(identity, Account(bytes(claim.account_key)))
        strength = terms.amount // BOND
        if all(bond.coin_id != claim.coin_id for bond in account.bonds):
            expiry = terms.lock_time - 240
            account.bonds.append(
                accounts.ActiveBond(
                    version=0,
                    amount=terms.amount,
                    expiry=expiry,
                    coin_id=claim.coin_id,
                    asset_id=BTC,
                    strength=strength,
                )
            )
        answer = accounts.PostBondResult(
            account_id=Hex(identity),
            asset_id=BTC,
            amount=terms.amount,
            expiry=terms.lock_time - 240,
            strength=strength,
            bond_id=claim.coin_id,
            reputation=self._reputation(account),
        )
        return msgspec.structs.replace(answer, sig=self._sign(answer.signed_bytes()))

    def _post_prepaid(self, claim: accounts.PostBond) -> accounts.PostBondResult:
        identity = account_id(claim.account_key)
        if bytes(claim.coin_id) not in self.codes:
            raise RpcError(ErrorCode.BOND, "no such code")
        strength = self.codes.pop(bytes(claim.coin_id))
        account = self.accounts.setdefault(identity, Account(bytes(claim.account_key)))
        bond = accounts.ActiveBond(
            version=0, amount=0, expiry=2**32, coin_id=claim.coin_id, asset_id=PREPAID_ASSET_ID, strength=strength
        )
        account.bonds.append(bond)
        answer = accounts.PostBondResult(
            account_id=Hex(identity),
            asset_id=PREPAID_ASSET_ID,
            amount=0,
            expiry=2**32,
            strength=strength,
            bond_id=claim.coin_id,
            reputation=self._reputation(account),
        )
        return msgspec.structs.replace(answer, sig=self._sign(answer.signed_bytes()))

    async def _limit(self, peer: Peer, message: order_messages.PlaceLimit) -> order_messages.OrderResult:
        return await self._take(peer, message)

    async def _market(self, peer: Peer, message: order_messages.PlaceMarket) -> order_messages.OrderResult:
        return await self._take(peer, message)

    async def _cancel(self, peer: Peer, message: order_messages.PlaceCancel) -> order_messages.OrderResult:
        return await self._take(peer, message)

    async def _take(self, peer: Peer, message: order_messages.OrderPrefix) -> order_messages.OrderResult:
        signing.require(self.accounts[peer.account].pubkey, message.signed_bytes(), message.sig)
        server_time = self.clock.now_ms()
        order = accept(message, server_time)
        stamped = msgspec.structs.replace(message, server_time=server_time)
        self.epoch[order.id] = order
        self.statuses[order.id] = 1
        await self.broadcast("epoch_order", epoch_note(order, self._next_seq(), self._epochs_index()))
        return order_messages.OrderResult(
            sig=self._sign(stamped.signed_bytes()), order_id=Hex(order.id), server_time=server_time
        )

    async def _order_status(
        self, _peer: Peer, questions: list[statuses.OrderStatusRequest]
    ) -> list[statuses.OrderStatusResult]:
        return [
            statuses.OrderStatusResult(id=question.order_id, status=self.statuses[bytes(question.order_id)])
            for question in questions
            if bytes(question.order_id) in self.statuses
        ]

    async def _match_status(
        self, _peer: Peer, questions: list[statuses.MatchStatusRequest]
    ) -> list[statuses.MatchStatusResult]:
        found = [self.matches[bytes(question.match_id)] for question in questions]
        return [self._status_of(match) for match in found]

    async def _init(self, peer: Peer, report: swap_messages.Init) -> swap_messages.Acknowledgement:
        match, side = self._side(peer, report.match_id, report.order_id)
        if match.status != side:
            raise RpcError(ErrorCode.SETTLEMENT_SEQUENCE, "not your turn")
        raw = self._raw(self._asset(match, side), report.coin_id)
        match.contracts[side], match.coins[side] = bytes(report.contract), bytes(report.coin_id)
        match.status = side + 1
        other = self.accounts[match.account(1 - side)].peer
        if other is not None:
            audit = swap_messages.Audit(
                order_id=Hex(match.orders[1 - side].id),
                match_id=report.match_id,
                timestamp=self.clock.now_ms(),
                coin_id=report.coin_id,
                contract=report.contract,
                tx=Hex(raw),
            )
            self._later(other, "audit", self.signed(audit))
        return self._acknowledge(report.match_id, report.signed_bytes())

    async def _redeem(self, peer: Peer, report: swap_messages.Redeem) -> swap_messages.Acknowledgement:
        match, side = self._side(peer, report.match_id, report.order_id)
        if match.status != side + 2:
            raise RpcError(ErrorCode.SETTLEMENT_SEQUENCE, "not your turn")
        match.redeems[side], match.secret = bytes(report.coin_id), bytes(report.secret)
        match.status = side + 3
        match.active = match.status < 4
        other = self.accounts[match.account(1 - side)].peer
        if other is not None:
            redemption = swap_messages.Redemption(
                order_id=Hex(match.orders[1 - side].id),
                match_id=report.match_id,
                coin_id=report.coin_id,
                secret=report.secret,
                timestamp=self.clock.now_ms(),
            )
            self._later(other, "redemption", self.signed(redemption))
        return self._acknowledge(report.match_id, report.signed_bytes())

    # What the server does by itself ----------------------------------------------------------------------------

    async def close_epoch(self) -> matcher.Matched:
        """Ask for preimages, match, publish, and negotiate the matches."""
        index, queue = self._epochs_index(), dict(self.epoch)
        self._epochs, self.epoch = index + 1, {}
        csum = checksum(order.commitment for order in queue.values())
        revealed: dict[bytes, bytes] = {}
        for order in queue.values():
            owner = self.accounts[order.account_id].peer
            if owner is None:
                continue
            question = order_messages.PreimageRequest(
                order_id=Hex(order.id), commitment=Hex(order.commitment), csum=Hex(csum)
            )
            answer = await owner.ask("preimage", question)
            preimage = envelope.decode_result(answer, order_messages.PreimageResponse).preimage
            assert commit(preimage) == order.commitment
            revealed[order.id] = bytes(preimage)
        shuffled = shuffle(revealed)
        result = matcher.match(self.book, [queue[order_id] for order_id in shuffled.order_ids])
        for order, status in result.statuses():
            self.statuses[order.id] = int(status)
        await self._publish(index, result, shuffled.seed, csum, [revealed[i] for i in shuffled.order_ids], queue)
        await self._negotiate(result, (index + 1) * EPOCH_MS)
        return result

    async def _publish(
        self,
        index: int,
        result: matcher.Matched,
        seed: bytes,
        csum: bytes,
        preimages: list[bytes],
        queue: dict[bytes, Order],
    ) -> None:
        misses = [Hex(order_id) for order_id, order in queue.items() if commit_of(order) not in map(commit, preimages)]
        await self.broadcast(
            "match_proof",
            books.MatchProof(
                market=MARKET,
                epoch=index,
                preimages=[Hex(preimage) for preimage in preimages],
                misses=misses,
                csum=Hex(csum),
                seed=Hex(seed),
            ),
        )
        for order in result.booked:
            await self.broadcast("book_order", note_of(order, self._next_seq()))
        for order in result.updated:
            note = books.UpdateRemaining(
                seq=self._next_seq(),
                market=MARKET,
                order_id=Hex(order.id),
                remaining=order.remaining,
                matches=order.matches,
            )
            await self.broadcast("update_remaining", note)
        for order in result.unbooked:
            await self.broadcast(
                "unbook_order", books.UnbookOrder(seq=self._next_seq(), market=MARKET, order_id=Hex(order.id))
            )
        crossed = {order.id for order in result.failed if order.options.post_only}
        for order_id in result.nomatch:
            owner = self.accounts[self._owner(order_id, queue)].peer
            if owner is not None:
                await owner.tell("nomatch", order_messages.NoMatch(order_id=Hex(order_id), crossed=order_id in crossed))
        statistics = result.statistics
        await self.broadcast(
            "epoch_report",
            books.EpochReport(
                market=MARKET,
                epoch=index,
                base_fee_rate=2,
                quote_fee_rate=2,
                match_summary=matcher.summary(result.matches),
                start_stamp=index * EPOCH_MS,
                end_stamp=(index + 1) * EPOCH_MS,
                match_volume=statistics.volume,
                quote_volume=statistics.quote_volume,
                high_rate=statistics.high,
                low_rate=statistics.low,
                start_rate=statistics.start,
                end_rate=statistics.end,
            ),
        )

    async def _negotiate(self, result: matcher.Matched, server_time: int) -> None:
        wanted: dict[bytes, list[swap_messages.Match]] = {}
        for found in result.matches:
            if not found.cancels:
                self.matches[found.id] = FakeMatch(found, server_time, (found.maker, found.taker))
            for side, order in enumerate((found.maker, found.taker)):
                message = swap_messages.Match(
                    order_id=Hex(order.id),
                    match_id=Hex(found.id),
                    quantity=found.quantity,
                    rate=found.rate,
                    server_time=server_time,
                    address="" if found.cancels else "informational",
                    fee_rate_base=2,
                    fee_rate_quote=2,
                    status=0,
                    side=side,
                )
                wanted.setdefault(order.account_id, []).append(self.signed(message))
        for identity, messages in wanted.items():
            peer = self.accounts[identity].peer
            if peer is not None:
                answer = envelope.decode_result(await peer.ask("match", messages), list[swap_messages.Acknowledgement])
                self._take_addresses(identity, messages, answer)
        for match in self.matches.values():
            if all(match.addresses) and not match.status:
                await self.send_addresses(match)

    def _take_addresses(
        self, identity: bytes, messages: list[swap_messages.Match], answers: list[swap_messages.Acknowledgement]
    ) -> None:
        assert len(messages) == len(answers)
        for message, answer in zip(messages, answers, strict=True):
            signing.require(self.accounts[identity].pubkey, message.signed_bytes(), answer.sig)
            if bytes(message.match_id) in self.matches:
                self.matches[bytes(message.match_id)].addresses[message.side] = answer.address

    async def send_addresses(self, match: FakeMatch) -> None:
        for side in (0, 1):
            peer = self.accounts[match.account(side)].peer
            if peer is not None:
                note = swap_messages.CounterpartyAddress(
                    order_id=Hex(match.orders[side].id),
                    match_id=Hex(match.match.id),
                    address=match.addresses[1 - side],
                )
                await peer.tell("counterparty_address", self.signed(note))

    async def revoke(self, match: FakeMatch) -> None:
        match.active = False
        for side in (0, 1):
            peer = self.accounts[match.account(side)].peer
            if peer is not None:
                note = swap_messages.RevokeMatch(order_id=Hex(match.orders[side].id), match_id=Hex(match.match.id))
                await peer.tell("revoke_match", self.signed(note))

    async def broadcast(self, route: str, note: object) -> None:
        for peer in list(self.peers):
            try:
                await peer.tell(route, note)
            except LinkClosedError:
                continue

    def signed(self, message: Any) -> Any:
        return signing.signed(self.key, message)

    # Small things --------------------------------------------------------------------------------------------

    def _later(self, peer: Peer, route: str, payload: object) -> None:
        async def ask() -> None:
            try:
                await peer.ask(route, payload)
            except (LinkClosedError, asyncio.CancelledError):
                return

        task = asyncio.create_task(ask())
        task.add_done_callback(lambda _: None)

    def _side(self, peer: Peer, match_id: bytes, order_id: bytes) -> tuple[FakeMatch, int]:
        match = self.matches.get(bytes(match_id))
        if match is None or not match.active:
            raise RpcError(ErrorCode.UNKNOWN_MATCH, "no such match")
        return match, next(side for side in (0, 1) if match.orders[side].id == order_id)

    def _asset(self, match: FakeMatch, side: int) -> int:
        order = match.orders[side]
        assert isinstance(order, LimitOrder | MarketOrder)
        return LTC if order.side == 2 else BTC

    def _raw(self, asset: int, coin_id: bytes) -> bytes:
        symbol = "ltc" if asset == LTC else "btc"
        try:
            return self.chains[asset].tx(family_of(coin(symbol, "regtest")).parse_coin_id(coin_id).txid).serialize()
        except KeyError:
            raise RpcError(ErrorCode.TRANSACTION_UNDISCOVERED, "not found") from None

    def _status_of(self, match: FakeMatch) -> statuses.MatchStatusResult:
        return statuses.MatchStatusResult(
            match_id=Hex(match.match.id),
            status=match.status,
            active=match.active,
            maker_contract=Hex(match.contracts[0]),
            taker_contract=Hex(match.contracts[1]),
            maker_swap=Hex(match.coins[0]),
            taker_swap=Hex(match.coins[1]),
            maker_redeem=Hex(match.redeems[0]),
            taker_redeem=Hex(match.redeems[1]),
            secret=Hex(match.secret),
        )

    def _owner(self, order_id: bytes, more: dict[bytes, Order] | None = None) -> bytes:
        order = self.epoch.get(order_id) or self.book.get(order_id) or (more or {}).get(order_id)
        return order.account_id if order else b""

    def _acknowledge(self, match_id: Hex, message: bytes) -> swap_messages.Acknowledgement:
        return swap_messages.Acknowledgement(match_id=match_id, sig=self._sign(message))

    def _sign(self, message: bytes) -> Hex:
        return signing.sign(self.key, message)

    def _reputation(self, account: Account) -> accounts.Reputation:
        tier = sum(bond.strength for bond in account.bonds)
        return accounts.Reputation(bonded_tier=tier, penalties=0, score=0)

    def _next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def _epochs_index(self) -> int:
        return max(self._epochs, self.clock.now_ms() // EPOCH_MS)


def commit_of(order: Order) -> bytes:
    return order.commitment


def _asset(symbol: str, asset_id: int, version: int) -> configs.Asset:
    unit = configs.Denomination(unit=symbol.upper(), conversion_factor=10**8)
    info = configs.UnitInfo(atomic_unit="Sats", conventional=unit)
    return configs.Asset(symbol=symbol, id=asset_id, version=version, max_fee_rate=20, swap_conf=1, unit_info=info)


def note_of(order: LimitOrder, seq: int) -> books.BookOrder:
    return books.BookOrder(
        seq=seq,
        market=MARKET,
        order_id=Hex(order.id),
        side=order.side,
        quantity=order.remaining,
        rate=order.rate,
        time_in_force=order.time_in_force,
        time=order.server_time,
        options=msgspec.UNSET if order.options.plain else order.options,
        matches=order.matches,
    )


def epoch_note(order: Order, seq: int, epoch: int) -> books.EpochOrder:
    common: dict[str, Any] = {
        "seq": seq,
        "market": MARKET,
        "order_id": Hex(order.id),
        "time": order.server_time,
        "commitment": Hex(order.commitment),
        "epoch": epoch,
    }
    if isinstance(order, CancelOrder):
        return books.EpochOrder(**common, order_type=OrderType.CANCEL, target=Hex(order.target_id))
    common |= {"side": order.side, "quantity": order.remaining}
    if not order.options.plain:
        common["options"] = order.options
    if isinstance(order, MarketOrder):
        return books.EpochOrder(**common, order_type=OrderType.MARKET)
    return books.EpochOrder(**common, order_type=OrderType.LIMIT, rate=order.rate, time_in_force=order.time_in_force)
