"""What the server says about matches, checked and added to the facts; what it asks, answered.

Nothing here spends a coin: a message is verified and stored, and the match's runner wakes up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

from msgspec.structs import replace

from twinlock.chain.errors import ChainError
from twinlock.client.desk import Desk
from twinlock.client.errors import MisbehaviourError
from twinlock.client.events import MatchMade
from twinlock.client.orders import Orders
from twinlock.client.store.records import OrderRecord, SwapRecord
from twinlock.client.swapper.matches import Matches, used_before
from twinlock.client.swapper.recovery import recover
from twinlock.errors import TwinlockError
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.status import ActiveMatch, MatchStatusRequest, MatchStatusResult
from twinlock.protocol.messages.swaps import (
    Acknowledgement,
    Audit,
    CounterpartyAddress,
    Match,
    Redemption,
    RevokeMatch,
)
from twinlock.protocol.orders import OrderType, Side
from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.routes import AUDIT, COUNTERPARTY_ADDRESS, MATCH, MATCH_STATUS, REDEMPTION
from twinlock.protocol.swap import AddressKnown, Party, Verdict, audit
from twinlock.protocol.swap.events import Acknowledged, Announced, Audited, Revoked, SecretLearned, Step
from twinlock.protocol.wire import EMPTY, Hex

CLOCK_SLACK_MS = 20 * 60 * 1000
"""How far the end of a match's epoch may be from our clock: both clocks may be off by 10 minutes."""


class Negotiation:
    """The message side of the swaps at one server."""

    def __init__(self, desk: Desk, orders: Orders, matches: Matches) -> None:
        self._desk = desk
        self._orders = orders
        self._matches = matches

    # Requests of the server ------------------------------------------------------------------------------

    async def on_match(self, matches: list[Match]) -> list[Acknowledgement]:
        """Accept all matches or none: one that fails a check leaves everything as it was."""
        taken: Counter[str] = Counter()
        checked = [(match, self._check(match, await self._orders.received(match.order_id), taken)) for match in matches]
        answers: list[Acknowledgement] = []
        made: list[SwapRecord] = []
        with self._desk.store.transaction():
            for match, order in checked:
                address = ""
                if match.address and order.type != OrderType.CANCEL:
                    record = self._matches.find(match.match_id, order.order_id) or self._begin(match, order)
                    self._matches.keep(record, MATCH.name, match)
                    made.append(record)
                    address = record.swap.addresses[record.party]
                elif order.type != OrderType.CANCEL:
                    self._orders.canceled(order)
                signature = self._desk.sign(match.signed_bytes())
                answers.append(Acknowledgement(match_id=match.match_id, sig=signature, address=address))
        for record in made:
            self._matches.wake(record)
        return answers

    async def on_audit(self, note: Audit) -> Acknowledgement:
        """Take over the counterparty's contract if it is what was agreed. Refuses with 25, 24, or 6 for no match."""
        record = self._require(note.match_id, note.order_id)
        if not self._desk.server_signed(note.signed_bytes(), note.sig):
            self._desk.notice("the server's signature of an audit request is wrong", "warning")
        await self.take_contract(record, note.coin_id, note.contract, note.tx)
        self._matches.keep(record, AUDIT.name, replace(note, tx=EMPTY))
        return self._acknowledge(note.match_id, note.signed_bytes())

    async def on_redemption(self, note: Redemption) -> Acknowledgement:
        """The counterparty redeemed: to the taker that brings the secret. Refuses with 52 for a wrong one."""
        record = self._require(note.match_id, note.order_id)
        if not self._desk.server_signed(note.signed_bytes(), note.sig):
            self._desk.notice("the server's signature of a redemption is wrong", "warning")
        if note.secret and sha256(note.secret).digest() != record.swap.secret_hash:
            raise RpcError(ErrorCode.INVALID_REQUEST, "that is not the secret of this match")
        self._matches.learn(record, SecretLearned(bytes(note.secret)))
        self._matches.keep(record, REDEMPTION.name, note)
        self._matches.wake(record)  # the secret may be no news, but now our own redemption can be reported
        return self._acknowledge(note.match_id, note.signed_bytes())

    # Notes of the server ---------------------------------------------------------------------------------

    async def on_counterparty_address(self, note: CounterpartyAddress) -> None:
        """Raises MisbehaviourError for a wrong signature or a second, different address; ChainError for none."""
        self._desk.require_server_signature("a counterparty's address", note.signed_bytes(), note.sig)
        record = self._require(note.match_id, note.order_id)
        address = self._desk.coin(record.own_asset).family.check_receive_address(note.address)
        known = record.swap.addresses[record.party.other]
        if known not in ("", address):
            raise MisbehaviourError(f"the server changed the counterparty's address of match {record.match_id.hex()}")
        self._matches.keep(record, COUNTERPARTY_ADDRESS.name, note)
        self._matches.learn(record, AddressKnown(record.party.other, address, self._desk.clock.now_ms()))

    async def on_revoke(self, note: RevokeMatch) -> None:
        """The server gave up; what is on chain goes on."""
        if not self._desk.server_signed(note.signed_bytes(), note.sig):
            self._desk.notice("the server's signature of a revocation is wrong", "warning")
        record = self._matches.find(note.match_id, note.order_id)
        if record is not None:
            self._matches.learn(record, Revoked())

    # Logging in ------------------------------------------------------------------------------------------

    async def on_login(self, listed: Iterable[ActiveMatch]) -> None:
        """Compare the server's running matches with ours (protocol section 7.7)."""
        active = {(bytes(match.match_id), Party(match.side)): match for match in listed}
        doubtful: list[SwapRecord] = []
        dark: list[SwapRecord] = []
        for record in self._matches.running():
            match = active.pop((record.match_id, record.party), None)
            if match is None:
                self._matches.learn(record, Revoked())
                if _in_the_dark(record):
                    dark.append(record)
            elif match.status != record.swap.status or _unreported(record):
                doubtful.append(record)
        for match in active.values():
            # One of ours may be over for us and still run for the counterparty.
            if self._matches.find(match.match_id, match.order_id) is None:
                doubtful += await self._found(match)
        if doubtful:
            await self.ask_status(doubtful)
        if dark:
            try:
                await self.ask_status(dark)
            except RpcError as error:  # these the server need not know any more
                self._desk.notice(f"the server does not tell how matches ended: {error}", "warning")

    async def ask_status(self, records: list[SwapRecord]) -> None:
        """Learn what the server knows of these matches and we do not."""
        questions = [
            MatchStatusRequest(base=record.base, quote=record.quote, match_id=Hex(record.match_id))
            for record in records
        ]
        answers = await self._desk.session.request(MATCH_STATUS, questions)
        by_id = {bytes(answer.match_id): answer for answer in answers}
        for record in records:
            answer = by_id.get(record.match_id)
            if answer is None or not answer.active:
                self._matches.learn(record, Revoked())
            if answer is not None:
                await self._take_over(record, answer)

    async def _found(self, match: ActiveMatch) -> list[SwapRecord]:
        """A running match that we do not know: made while we were away, or forgotten with the disk."""
        try:
            record = await recover(self._desk, match)
        except TwinlockError as error:
            self._desk.notice(f"match {match.match_id.hex()} cannot be recovered now: {error}", "error")
            return []
        if record is not None:
            self._desk.notice(f"match {match.match_id.hex()} was recovered from the seed")
            self._matches.take_over(record)
            return [record]
        # Our address cannot be sent any more, so the server will revoke it; no coin of ours is in it.
        self._desk.notice(f"match {match.match_id.hex()} was made while we were away; it cannot settle", "warning")
        order = self._orders.by_id(match.order_id)
        if order is not None and match.address:
            self._orders.matched(order, match.quantity, match.rate)
        return []

    async def _take_over(self, record: SwapRecord, answer: MatchStatusResult) -> None:
        maker = (answer.maker_contract, answer.maker_swap, answer.maker_redeem, answer.maker_tx)
        taker = (answer.taker_contract, answer.taker_swap, answer.taker_redeem, answer.taker_tx)
        mine, theirs = (maker, taker) if record.party is Party.MAKER else (taker, maker)
        facts: list[object] = []
        if mine[0] and mine[0] == record.swap.legs[record.party].contract:
            facts.append(Acknowledged(record.party, Step.CONTRACT))
        if mine[2] and record.redeem_tx:
            facts.append(Acknowledged(record.party.other, Step.REDEEM))
        if answer.secret:
            facts.append(SecretLearned(bytes(answer.secret)))
        self._matches.learn(record, *facts)
        if theirs[0] and not record.swap.legs[record.party.other].known:
            try:
                await self.take_contract(record, theirs[1], theirs[0], theirs[3])
            except RpcError as error:
                self._desk.notice(f"match {record.match_id.hex()}: {error}", "warning")

    # Contracts -------------------------------------------------------------------------------------------

    async def take_contract(self, record: SwapRecord, coin_id: bytes, contract: bytes, raw: bytes) -> None:
        """Note the counterparty's contract and judge it. Raises RpcError: 25 not as agreed, 24 not found yet."""
        leg = record.party.other
        self._matches.learn(record, Announced(leg, bytes(coin_id), bytes(contract)))
        known = record.swap.legs[leg]
        if (known.coin_id, known.contract) != (coin_id, contract):
            raise RpcError(ErrorCode.CONTRACT, "another contract of this match was accepted before")
        await self.judge(record, bytes(raw))

    async def judge(self, record: SwapRecord, raw: bytes = b"") -> None:
        """Audit the contract that was announced, unless that is done. Raises RpcError like `take_contract`."""
        side = record.party.other
        leg = record.swap.legs[side]
        if leg.verdict is not None:
            return
        family = self._desk.coin(record.other_asset).family
        raw = raw or await self._fetch(record, leg.coin_id)
        try:
            found = family.audit_contract(leg.contract, leg.coin_id, raw)
            finding = audit.Finding(audit=found, seen_before=used_before(self._desk.store, record, found.terms))
            audit.check_contract(record.swap, side, finding, strict=False)
        except (ChainError, RpcError) as error:
            self._matches.learn(record, Audited(side, leg.coin_id, Verdict.REFUSED))
            self._desk.notice(f"match {record.match_id.hex()}: the contract is refused: {error}", "warning")
            raise RpcError(ErrorCode.CONTRACT, str(error)) from error
        sound = Audited(side, leg.coin_id, Verdict.SOUND, found.terms.secret_hash)
        self._matches.learn(record, sound, their_tx=raw, their_value=found.value)

    async def _fetch(self, record: SwapRecord, coin_id: bytes) -> bytes:
        side = self._desk.coin(record.other_asset)
        try:
            return await side.chain.raw_transaction(side.family.parse_coin_id(coin_id).txid)
        except TwinlockError as error:
            raise RpcError(ErrorCode.TRANSACTION_UNDISCOVERED, f"the contract's transaction: {error}") from error

    # Checks ----------------------------------------------------------------------------------------------

    def _check(self, match: Match, order: OrderRecord | None, taken: Counter[str]) -> OrderRecord:
        """The order that the match belongs to. Raises RpcError for anything that no honest server sends.

        taken: what the matches before this one take of each order; this one is added.
        """
        if not self._desk.server_signed(match.signed_bytes(), match.sig):
            raise RpcError(ErrorCode.SIGNATURE, "the signature of the match is wrong")
        if order is None:
            raise RpcError(ErrorCode.UNKNOWN_MATCH, "the match belongs to no order of ours")
        if order.type == OrderType.CANCEL:
            return order  # with an address where the market is suspended: dcrdex then takes the target's
        if match.address == "":
            if not self._orders.cancel_pending(order.order_id):
                raise RpcError(ErrorCode.ORDER_PARAMETER, "the match has no address and cancels nothing")
            return order
        if match.side not in (0, 1):
            raise RpcError(ErrorCode.ORDER_PARAMETER, "the match has no side of a trade")
        if match.fee_rate_base > order.base_fee_limit or match.fee_rate_quote > order.quote_fee_limit:
            raise RpcError(ErrorCode.FEE, "the match's fee rates are above the order's limit")
        if abs(match.server_time - self._desk.clock.now_ms()) > CLOCK_SLACK_MS:
            raise RpcError(ErrorCode.CLOCK_RANGE, "the match's epoch did not end now")
        if self._matches.find(match.match_id, order.order_id) is None:
            _check_amounts(match, order, taken)
        return order

    def _begin(self, match: Match, order: OrderRecord) -> SwapRecord:
        record = self._matches.add(order, match)
        self._orders.matched(order, match.quantity, match.rate)
        self._desk.emit(
            MatchMade,
            match_id=match.match_id.hex(),
            order_id=order.order_id.hex(),
            market=order.market,
            role=record.role,
            side=Side(order.side).name.lower(),
            quantity=match.quantity,
            rate=match.rate,
        )
        return record

    def _require(self, match_id: bytes, order_id: bytes) -> SwapRecord:
        record = self._matches.find(match_id, order_id)
        if record is None:
            raise RpcError(ErrorCode.UNKNOWN_MATCH, f"match {match_id.hex()[:16]} is not known here, or not yet")
        return record

    def _acknowledge(self, match_id: Hex, message: bytes) -> Acknowledgement:
        return Acknowledgement(match_id=match_id, sig=self._desk.sign(message))


def _in_the_dark(record: SwapRecord) -> bool:
    """Our contract is out and we do not know theirs, which another client of the same seed may have redeemed."""
    return record.swap.legs[record.party].known and not record.swap.legs[record.party.other].known


def _unreported(record: SwapRecord) -> bool:
    own, theirs = record.swap.legs[record.party], record.swap.legs[record.party.other]
    return (own.known and not own.contract_acknowledged) or (bool(record.redeem_tx) and not theirs.redeem_acknowledged)


def _check_amounts(match: Match, order: OrderRecord, taken: Counter[str]) -> None:
    market_buy = order.type == OrderType.MARKET and order.side == Side.BUY
    amount = base_to_quote(match.rate, match.quantity) if market_buy else match.quantity
    taken[order.key] += amount
    if not match.quantity or taken[order.key] > order.quantity - order.filled:
        raise RpcError(ErrorCode.ORDER_PARAMETER, "the match is larger than what is left of the order")
    if order.options.post_only and match.side != 0:
        raise RpcError(ErrorCode.ORDER_PARAMETER, "the order is post-only and was matched as a taker")
    if order.options.max_matches:
        taken[f"{order.key} matches"] += 1
        if order.matches + taken[f"{order.key} matches"] > order.options.max_matches:
            raise RpcError(ErrorCode.ORDER_PARAMETER, "the order was matched more often than it allows")
    if order.type == OrderType.LIMIT:
        worse = match.rate < order.rate if order.side == Side.SELL else match.rate > order.rate
        if worse or (match.side == 0 and match.rate != order.rate):
            raise RpcError(ErrorCode.ORDER_PARAMETER, "the match's rate is worse than the order's")
