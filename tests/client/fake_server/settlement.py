"""The fake as the referee of swaps."""

from __future__ import annotations

from tests.client.fake_server.ground import FakeMatch, Ground, Peer
from tests.client.fake_server.notes import BTC, LTC

from twinlock.chain.coins import coin
from twinlock.chain.families import family_of
from twinlock.protocol import envelope, matcher, signing
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages import status as statuses
from twinlock.protocol.messages import swaps as swap_messages
from twinlock.protocol.orders import LimitOrder, MarketOrder
from twinlock.protocol.wire import Hex


class Settlement(Ground):
    """Tells of matches, and passes on what the sides report."""

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

    async def welcome(self, peer: Peer) -> None:
        """Who logs in is told the addresses of its running matches again (protocol section 3.3)."""
        for match in self.matches.values():
            if match.active and all(match.addresses):
                await self.send_addresses(match, to=peer)

    async def send_addresses(self, match: FakeMatch, to: Peer | None = None) -> None:
        """To both sides, or to those that are `to`."""
        for side in (0, 1):
            peer = self.accounts[match.account(side)].peer
            if peer is not None and to in (None, peer):
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

    async def _match_status(
        self, _peer: Peer, questions: list[statuses.MatchStatusRequest]
    ) -> list[statuses.MatchStatusResult]:
        found = [self.matches.get(bytes(question.match_id)) for question in questions]
        return [self._status_of(match) for match in found if match is not None]

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

    def _acknowledge(self, match_id: Hex, message: bytes) -> swap_messages.Acknowledgement:
        return swap_messages.Acknowledgement(match_id=match_id, sig=self._sign(message))
