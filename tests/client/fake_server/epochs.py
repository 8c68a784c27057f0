"""The fake's orders and epochs."""

from __future__ import annotations

import msgspec
from tests.client.fake_server.ground import Peer
from tests.client.fake_server.notes import EPOCH_MS, MARKET, epoch_note, note_of
from tests.client.fake_server.settlement import Settlement

from twinlock.protocol import envelope, matcher, signing
from twinlock.protocol.messages import book as books
from twinlock.protocol.messages import orders as order_messages
from twinlock.protocol.messages import status as statuses
from twinlock.protocol.messages import swaps as swap_messages
from twinlock.protocol.orders import Order, accept, commit, match_id
from twinlock.protocol.shuffle import checksum, shuffle
from twinlock.protocol.wire import Hex


class Epochs(Settlement):
    """Takes orders, and closes an epoch when a test says so."""

    async def _limit(self, peer: Peer, message: order_messages.PlaceLimit) -> order_messages.OrderResult:
        return await self._take(peer, message)

    async def _market(self, peer: Peer, message: order_messages.PlaceMarket) -> order_messages.OrderResult:
        return await self._take(peer, message)

    async def _cancel(self, peer: Peer, message: order_messages.PlaceCancel) -> order_messages.OrderResult:
        receipt = await self._take(peer, message)
        if self.suspended:
            self._later(peer, "match", self._cancel_at_once(message, receipt))
            await self.clock.sleep(0.1)  # the match overtakes the receipt
        return receipt

    def _cancel_at_once(
        self, message: order_messages.PlaceCancel, receipt: order_messages.OrderResult
    ) -> list[swap_messages.Match]:
        """As dcrdex does while a market is suspended: the cancel's own side carries the address of its target."""
        cancel, target = self.epoch.pop(bytes(receipt.order_id)), self.book.remove(bytes(message.target_id))
        assert target is not None
        identity = match_id(cancel.id, target.id, target.remaining, target.rate)
        sides = enumerate(((target.id, ""), (cancel.id, target.address)))
        return [
            self.signed(
                swap_messages.Match(
                    order_id=Hex(order_id),
                    match_id=Hex(identity),
                    quantity=target.remaining,
                    rate=target.rate,
                    server_time=receipt.server_time,
                    address=address,
                    fee_rate_base=0,
                    fee_rate_quote=0,
                    status=0,
                    side=side,
                )
            )
            for side, (order_id, address) in sides
        ]

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
        misses = [Hex(order_id) for order_id, order in queue.items() if order.commitment not in map(commit, preimages)]
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
        report = books.EpochReport(
            market=MARKET,
            epoch=index,
            base_fee_rate=2,
            quote_fee_rate=2,
            match_summary=list(result.summary),
            start_stamp=index * EPOCH_MS,
            end_stamp=(index + 1) * EPOCH_MS,
            match_volume=statistics.volume,
            quote_volume=statistics.quote_volume,
            high_rate=statistics.high,
            low_rate=statistics.low,
            start_rate=statistics.start,
            end_rate=statistics.end,
        )
        self.reports.append(report)
        await self.broadcast("epoch_report", report)

    async def _candles(self, _peer: Peer, wanted: books.CandlesRequest) -> books.Candles:
        """One for each epoch, whatever the length that was asked for."""
        reports = self.reports[-wanted.count :]
        return books.Candles(
            start_stamps=[report.start_stamp for report in reports],
            end_stamps=[report.end_stamp for report in reports],
            match_volumes=[report.match_volume for report in reports],
            quote_volumes=[report.quote_volume for report in reports],
            high_rates=[report.high_rate for report in reports],
            low_rates=[report.low_rate for report in reports],
            start_rates=[report.start_rate for report in reports],
            end_rates=[report.end_rate for report in reports],
        )
