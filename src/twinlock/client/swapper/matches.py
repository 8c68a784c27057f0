"""The swap records of one server, and how they change: by one fact at a time, stored before anybody acts on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twinlock.chain.terms import ContractTerms
from twinlock.client.desk import Desk
from twinlock.client.events import SwapEnded, SwapStep
from twinlock.client.store import Store, changing
from twinlock.client.store.living import Living
from twinlock.client.store.records import OrderRecord, SwapRecord, coin_mark, contract_mark, secret_mark
from twinlock.protocol.messages.swaps import Match
from twinlock.protocol.orders import Side
from twinlock.protocol.swap import AddressKnown, Leg, LegStatus, Party, Swap, agree, apply
from twinlock.protocol.wire import Signed, encode

OWN_STEPS = {
    LegStatus.ANNOUNCED: "contract_signed",
    LegStatus.MEMPOOL: "swap_sent",
    LegStatus.CONFIRMED: "swap_confirmed",
    LegStatus.REDEEMED: "counterparty_redeemed",
    LegStatus.REFUNDED: "refunded",
    LegStatus.GONE: "swap_lost",
}
THEIR_STEPS = {
    LegStatus.MEMPOOL: "counterparty_swap_seen",
    LegStatus.CONFIRMED: "counterparty_swap_confirmed",
    LegStatus.REDEEMED: "redeemed",
    LegStatus.REFUNDED: "counterparty_refunded",
    LegStatus.GONE: "counterparty_swap_lost",
}
"""The step that a leg's new status is told as, by who funds the leg."""

STEPS = (*OWN_STEPS.values(), *THEIR_STEPS.values(), "audited", "swap_accepted", "redeem_accepted", "revoked")


class Matches:
    """The swap records of one server: in memory those that are not over. `wake` makes a record's runner look again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.records = Living(desk.store, SwapRecord, desk.host)
        self.wake: Callable[[SwapRecord], None] = lambda _: None

    def running(self) -> list[SwapRecord]:
        """Swaps that still need a runner, oldest first."""
        return [record for record in self.records.all() if not record.closed]

    def find(self, match_id: bytes, order_id: bytes) -> SwapRecord | None:
        """The side of the match that belongs to this order of ours."""
        sides = (self.records.get(f"{match_id.hex()}:{party.name.lower()}") for party in Party)
        return next((record for record in sides if record is not None and record.order_id == order_id), None)

    def add(self, order: OrderRecord, match: Match) -> SwapRecord:
        """A record of a checked match. Inside the caller's transaction."""
        desk, party = self._desk, Party(match.side)
        sells = order.side == Side.SELL
        own, other = (order.base, order.quote) if sells else (order.quote, order.base)
        terms = agree(
            bytes(match.match_id),
            quantity=match.quantity,
            rate=match.rate,
            maker_sells=sells == (party is Party.MAKER),
            made_ms=match.server_time,
            base_depth=order.base_conf,
            quote_depth=order.quote_conf,
            base_fee_rate=match.fee_rate_base,
            quote_fee_rate=match.fee_rate_quote,
            maker_lock_ms=desk.locks.maker * 1000,
            taker_lock_ms=desk.locks.taker * 1000,
            broadcast_timeout_ms=desk.require_config().broadcast_timeout_ms,
        )
        address = desk.coin(other).wallet.swap_address(terms.match_id)
        record = SwapRecord(
            host=desk.host,
            party=party,
            order_key=order.key,
            order_id=order.order_id,
            market=order.market,
            base=order.base,
            quote=order.quote,
            quantity=match.quantity,
            rate=match.rate,
            own_asset=own,
            other_asset=other,
            fee_limit=order.base_fee_limit if sells else order.quote_fee_limit,
            swap=apply(Swap(terms=terms), AddressKnown(party, address, desk.clock.now_ms())),
        )
        self.take_over(record)
        return record

    def take_over(self, record: SwapRecord) -> None:
        """From now on this record is ours to bring to its end."""
        store = self._desk.store
        with store.transaction():
            store.undo(partial(self.records.forget, record))
            store.put(record)
            self.records.hold(record)

    def learn(self, record: SwapRecord, *facts: object, **members: object) -> bool:
        """Add facts: what changes is stored, told, and wakes the runner. False if they change nothing.

        members: what becomes of the record at the same time, if it learns something. Raises StoreError, and then
        nothing was learned.
        """
        before = after = record.swap
        for fact in facts:
            after = apply(after, fact)
        if after == before:
            return False
        self.note(record, swap=after, **members)
        self._tell(record, before)
        self.wake(record)
        return True

    def keep(self, record: SwapRecord, route: str, message: Signed) -> None:
        """Keep what the server signed, for a proof."""
        self.note(record, papers=record.papers | {route: encode(message)})

    def note(self, record: SwapRecord, **members: object) -> None:
        """Change and store what stands beside the facts. Raises StoreError, and then nothing has changed."""
        with changing(self._desk.store, record):
            for name, value in members.items():
                setattr(record, name, value)

    def end(self, record: SwapRecord, outcome: str, *, closed: bool) -> None:
        """The swap has its outcome; closed: nothing is owed to the server either."""
        ended = not record.outcome
        if ended or closed:
            self.note(record, outcome=outcome, closed=closed)
            self.records.let_go()
        if ended:
            self._desk.emit(SwapEnded, match_id=record.match_id.hex(), role=record.role, outcome=outcome)

    def _tell(self, record: SwapRecord, before: Swap) -> None:
        swap, party = record.swap, record.party
        own, theirs = swap.legs[party], swap.legs[party.other]
        own_before, theirs_before = before.legs[party], before.legs[party.other]
        if swap.revoked and not before.revoked:
            self._step(record, "revoked", party)
        if theirs.sound and not theirs_before.sound:
            self._step(record, "audited", party.other)
        for leg, leg_before, steps, which in (
            (own, own_before, OWN_STEPS, party),
            (theirs, theirs_before, THEIR_STEPS, party.other),
        ):
            if leg.status in steps and (leg.status, leg.depth) != (leg_before.status, leg_before.depth):
                self._step(record, steps[leg.status], which)
        if own.contract_acknowledged and not own_before.contract_acknowledged:
            self._step(record, "swap_accepted", party)
        if theirs.redeem_acknowledged and not theirs_before.redeem_acknowledged:
            self._step(record, "redeem_accepted", party.other)

    def _step(self, record: SwapRecord, step: str, which: Party) -> None:
        leg, own = record.swap.legs[which], which is record.party
        side = self._desk.coin(record.own_asset if own else record.other_asset)
        self._desk.emit(
            SwapStep,
            match_id=record.match_id.hex(),
            role=record.role,
            step=step,
            asset=side.coin.symbol,
            coin=side.family.coin_id_text(coin) if (coin := _coin_of(leg)) else "",
            amount=record.swap.terms.amounts[which],
            confirmations=leg.depth,
            needed=record.swap.terms.depths[which],
        )


def _coin_of(leg: Leg) -> bytes:
    return leg.redeem_coin_id if leg.status is LegStatus.REDEEMED and leg.redeem_coin_id else leg.coin_id


def used_before(store: Store, record: SwapRecord, terms: ContractTerms) -> bool:
    """Whether the coin, the contract or (of a maker) the secret hash that `record` was told serves another match."""
    leg = record.swap.legs[record.party.other]
    marks = secret_mark(terms.secret_hash), coin_mark(leg.coin_id), contract_mark(leg.contract)
    found = [known for mark in marks for known in store.marked(SwapRecord, mark)]
    others = [known.swap for known in found if known.match_id != record.match_id]
    if record.party is Party.TAKER and any(swap.secret_hash == terms.secret_hash for swap in others):
        return True
    legs = [known for swap in others for known in swap.legs if known.known]
    return any(known.contract == leg.contract or known.coin_id == leg.coin_id for known in legs)
