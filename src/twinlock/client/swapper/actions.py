"""How each duty is done: the table `ACTIONS`. Doing one twice is harmless: signed bytes are kept and repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import TypeVar
from weakref import WeakValueDictionary

from msgspec.structs import replace

from twinlock.client.desk import CoinSide, Desk
from twinlock.client.errors import MisbehaviourError
from twinlock.client.orders import Orders
from twinlock.client.store import changing
from twinlock.client.store.records import SwapRecord
from twinlock.client.swapper.escalation import STEPS
from twinlock.client.swapper.matches import Matches
from twinlock.client.swapper.negotiation import Negotiation
from twinlock.client.swapper.recovery import Funded, find_funding
from twinlock.electrum.errors import RejectedError
from twinlock.errors import TwinlockError
from twinlock.protocol import signing
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.swaps import Acknowledgement, Init, Redeem
from twinlock.protocol.routes import INIT, REDEEM, Route
from twinlock.protocol.swap import Duty, Party
from twinlock.protocol.swap.events import Acknowledged, ContractMade, RedeemSent, Revoked, SecretLearned, Step
from twinlock.protocol.wire import Hex

Report = TypeVar("Report", Init, Redeem)

_TURNS = 8
"""Into so many parts the broadcast timeout is divided by what is told again."""


class Actions:
    """Does duties for the swaps of one server."""

    def __init__(self, desk: Desk, orders: Orders, matches: Matches, negotiation: Negotiation) -> None:
        self._desk = desk
        self._orders = orders
        self._matches = matches
        self._negotiation = negotiation
        self._funds: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By order, while somebody holds or awaits it: its matches spend its coins one after another."""
        self._too_early: dict[str, tuple[int, int]] = {}
        """By match: when the server may be told again that said it is not our turn (ms), and what papers we had."""

    def forget(self, record: SwapRecord) -> None:
        """The swap is over."""
        self._too_early.pop(record.key, None)

    async def perform(self, duty: Duty, record: SwapRecord) -> None:
        """Raises a TwinlockError when it cannot be done now; the duty then stands."""
        action = ACTIONS.get(duty)
        if action is not None:
            await action(self, record)

    # Our contract ----------------------------------------------------------------------------------------

    async def make_contract(self, record: SwapRecord) -> None:
        async with self._funds.setdefault(record.order_key, asyncio.Lock()):
            await self._make_contract(record)
            await self.broadcast_contract(record)  # the next contract spends this one's change

    async def _make_contract(self, record: SwapRecord) -> None:
        desk, swap, party = self._desk, record.swap, record.party
        if swap.legs[party].known:
            return
        order = self._orders.by_key(record.order_key)
        if order is None:
            raise MisbehaviourError("the order of this match is not in the store", fault="machine")
        payer = desk.coin(record.own_asset)
        own_hash = sha256(desk.keys.swap_secret(record.match_id)).digest()
        secret_hash = own_hash if party is Party.MAKER else swap.secret_hash
        amount = swap.terms.amounts[party]
        contract = payer.family.make_contract(
            swap.addresses[party.other],
            payer.wallet.swap_address(record.match_id, "refund"),
            secret_hash,
            swap.terms.locks[party],
            amount,
        )
        if (funded := await find_funding(payer, contract)) is not None:
            self._adopt(record, contract, funded)
            return
        rate = min(max(swap.terms.fee_rates[party], await payer.chain.fee_rate()), record.fee_limit)
        signed = await payer.wallet.sign_swap(
            order.funds, [(record.match_id, contract, amount)], rate, lock_change=order.key
        )
        try:
            with changing(desk.store, order):
                order.funds = (signed.change,) if signed.change else ()
                self._made(record, signed.outputs[0], contract, secret_hash, signed.raw)
        except TwinlockError:
            # What could not be kept must not be broadcast either.
            payer.wallet.abandon(signed.txid)
            payer.wallet.lock(order.funds, order.key)
            raise

    def _adopt(self, record: SwapRecord, contract: bytes, funded: Funded) -> None:
        """Another client of this seed has made the contract: a second one would give the coins away twice."""
        desk, side = self._desk, self._desk.coin(record.own_asset)
        terms = side.family.parse_contract(contract)
        desk.notice(f"match {record.match_id.hex()[:16]}: another client of this seed made the contract", "warning")
        with desk.store.transaction():
            side.wallet.add_stake(funded.coin_id, "swap", contract, terms.lock_time, record.match_id.hex())
            self._made(record, funded.coin_id, contract, terms.secret_hash, funded.raw)

    def _made(self, record: SwapRecord, coin_id: bytes, contract: bytes, secret_hash: bytes, raw: bytes) -> None:
        facts: list[object] = [ContractMade(record.party, coin_id, contract, secret_hash)]
        if record.party is Party.MAKER:
            facts.append(SecretLearned(self._desk.keys.swap_secret(record.match_id)))
        self._matches.learn(record, *facts, own_tx=raw)

    async def broadcast_contract(self, record: SwapRecord) -> None:
        await self._desk.coin(record.own_asset).wallet.broadcast(record.own_tx)

    async def release_coins(self, record: SwapRecord) -> None:
        """The match was revoked before our contract went out: it must not go out any more."""
        if not record.own_tx:
            return
        payer, order = self._desk.coin(record.own_asset), self._orders.by_key(record.order_key)
        coins = tuple(payer.family.coin_id(point.txid, point.index) for point in payer.family.inputs(record.own_tx))
        with changing(self._desk.store, record):
            payer.wallet.abandon(payer.family.tx_id(record.own_tx))
            if order is not None and not order.funds_released:
                with changing(self._desk.store, order):
                    order.funds = coins
                payer.wallet.lock(coins, order.key)
            record.own_tx = b""

    async def report_contract(self, record: SwapRecord) -> None:
        leg = record.swap.legs[record.party]
        report = Init(
            order_id=Hex(record.order_id),
            match_id=Hex(record.match_id),
            coin_id=Hex(leg.coin_id),
            contract=Hex(leg.contract),
        )
        await self._report(record, INIT, report, Acknowledged(record.party, Step.CONTRACT))

    # Their contract --------------------------------------------------------------------------------------

    async def audit(self, record: SwapRecord) -> None:
        await self._negotiation.judge(record)

    async def rebroadcast_theirs(self, record: SwapRecord) -> None:
        await self._desk.coin(record.other_asset).chain.broadcast(record.their_tx)

    async def redeem(self, record: SwapRecord) -> None:
        side = self._desk.coin(record.other_asset)
        if not record.redeem_tx:
            await self._sign_redeem(record, side, await side.chain.fee_rate())
        try:
            await side.wallet.broadcast(record.redeem_tx)
        except RejectedError as error:
            rate = await self._higher_rate(side, record.redeem_tx, record.their_value, error)
            await self._sign_redeem(record, side, rate)
            await side.wallet.broadcast(record.redeem_tx)

    async def _sign_redeem(self, record: SwapRecord, side: CoinSide, rate: int) -> None:
        leg, secret = record.swap.legs[record.party.other], record.swap.secret
        assert secret is not None
        signed = await side.wallet.sign_redeem(
            record.match_id, leg.contract, leg.coin_id, record.their_value, secret, rate
        )
        before = record.redeem_tx
        # Stored as sent before it is: a crash between the two must not make us think the secret is still ours.
        self._matches.learn(record, RedeemSent(record.party.other, signed.outputs[0]), redeem_tx=signed.raw)
        self._forget(side, before)

    async def report_redeem(self, record: SwapRecord) -> None:
        leg, secret = record.swap.legs[record.party.other], record.swap.secret
        assert secret is not None
        family = self._desk.coin(record.other_asset).family
        coin_id = family.coin_id(family.tx_id(record.redeem_tx), 0) if record.redeem_tx else leg.redeem_coin_id
        report = Redeem(
            order_id=Hex(record.order_id),
            match_id=Hex(record.match_id),
            coin_id=Hex(coin_id),
            secret=Hex(secret),
        )
        await self._report(record, REDEEM, report, Acknowledged(record.party.other, Step.REDEEM))

    # Ways out --------------------------------------------------------------------------------------------

    async def refund(self, record: SwapRecord) -> None:
        side, amount = self._desk.coin(record.own_asset), record.swap.terms.amounts[record.party]
        if not record.refund_tx:
            await self._sign_refund(record, side, amount, await side.chain.fee_rate())
        try:
            await side.wallet.broadcast(record.refund_tx)
        except RejectedError as error:
            await self._sign_refund(
                record, side, amount, await self._higher_rate(side, record.refund_tx, amount, error)
            )
            await side.wallet.broadcast(record.refund_tx)

    async def _sign_refund(self, record: SwapRecord, side: CoinSide, amount: int, rate: int) -> None:
        leg = record.swap.legs[record.party]
        signed = await side.wallet.sign_refund(record.match_id, leg.contract, leg.coin_id, amount, rate)
        before = record.refund_tx
        self._matches.note(record, refund_tx=signed.raw)
        self._forget(side, before)

    async def _higher_rate(self, side: CoinSide, raw: bytes, value: int, error: RejectedError) -> int:
        """The fee rate for another try of a transaction whose fee was too low, within the budget of the last moment.

        Other rejections are raised again, as is this one where the budget is spent.
        """
        present, fee = side.family.fee_rate(raw, value), value - side.family.output_value(raw, 0)
        most = value * STEPS[-1].budget * present // (100 * max(1, fee))
        if error.reason != "fee_too_low" or present >= most:
            raise error
        return min(most, max(await side.chain.fee_rate(), 2 * present))

    @staticmethod
    def _forget(side: CoinSide, raw: bytes) -> None:
        """A transaction that no mempool took is replaced; one that was out before stays in the wallet's journal."""
        if raw:
            with suppress(TwinlockError):
                side.wallet.abandon(side.family.tx_id(raw))

    async def give_up(self, record: SwapRecord) -> None:
        self._desk.notice(f"match {record.match_id.hex()[:16]}: the counterparty never gave its address", "warning")
        self._matches.learn(record, Revoked())

    # Reports ---------------------------------------------------------------------------------------------

    async def _report(
        self,
        record: SwapRecord,
        route: Route[Report, Acknowledgement],
        report: Report,
        done: Acknowledged,
    ) -> None:
        """Tell the server until it acknowledges (protocol section 7.7)."""
        desk = self._desk
        if not desk.session.ready.is_set() or not desk.logged_in or self._waits_for_its_turn(record):
            return
        report = signing.signed(desk.signing_key(), report)
        try:
            answer = await desk.session.request(route, report)
        except RpcError as error:
            if error.rpc_code is ErrorCode.UNKNOWN_MATCH:
                self._matches.learn(record, Revoked())
                return
            if error.rpc_code is ErrorCode.SETTLEMENT_SEQUENCE:
                again = desk.clock.now_ms() + record.swap.terms.broadcast_timeout_ms // _TURNS
                self._too_early[record.key] = again, len(record.papers)
                await self._negotiation.ask_status([record])
                return
            if error.rpc_code is ErrorCode.DUPLICATE_REQUEST:
                return
            raise
        desk.require_server_signature(f"the answer to {route.name}", report.signed_bytes(), answer.sig)
        self._matches.keep(record, route.name, replace(report, sig=answer.sig))
        self._matches.learn(record, done)

    def _waits_for_its_turn(self, record: SwapRecord) -> bool:
        """A taker that found the secret on the chain is early as long as the server has not heard of the maker.

        What the server signs next may change that at once.
        """
        again, papers = self._too_early.get(record.key, (0, 0))
        if self._desk.clock.now_ms() < again and len(record.papers) == papers:
            return True
        self._too_early.pop(record.key, None)
        return False


ACTIONS: dict[Duty, Callable[[Actions, SwapRecord], Awaitable[None]]] = {
    Duty.MAKE_CONTRACT: Actions.make_contract,
    Duty.BROADCAST_CONTRACT: Actions.broadcast_contract,
    Duty.REBROADCAST_THEIRS: Actions.rebroadcast_theirs,
    Duty.RELEASE_COINS: Actions.release_coins,
    Duty.REPORT_CONTRACT: Actions.report_contract,
    Duty.AUDIT: Actions.audit,
    Duty.REDEEM: Actions.redeem,
    Duty.REPORT_REDEEM: Actions.report_redeem,
    Duty.REFUND: Actions.refund,
    Duty.GIVE_UP: Actions.give_up,
}
"""`SEARCH` is no action of its own: looking at the chain reads every spender. `WATCH` is the runner."""
