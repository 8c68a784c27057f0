"""Before an order: what it locks, what it may cost at best and at worst, and how large it could be.

Best: one match, fees as they are now. Worst: every lot a swap of its own, fees at the highest that the server allows.
Refund: the worst case in which no counterparty does its part, so that every contract is taken back.
"""

from __future__ import annotations

import msgspec

from twinlock.client.bonds import Bonds
from twinlock.client.desk import CoinSide, Desk
from twinlock.client.drafts import Draft, LimitAsk, limit_draft
from twinlock.client.errors import OrderError
from twinlock.client.orders import Orders
from twinlock.client.wallet.errors import ShortFundsError
from twinlock.client.wallet.selection import KEY_INPUT, KEY_OUTPUT, OVERHEAD
from twinlock.protocol import parcels
from twinlock.protocol.constants import RATE_FACTOR
from twinlock.protocol.orders import OrderType, Side


class Case(msgspec.Struct, frozen=True):
    """One way it may go. swaps: how many; swap_fees: atoms of the paid coin; redeem_fees: atoms of the received coin.

    gives, gets: atoms that leave, and that arrive, all fees counted.
    """

    swaps: int
    swap_fees: int
    redeem_fees: int
    gives: int
    gets: int


class Estimate(msgspec.Struct, frozen=True):
    """Of one order. Amounts are atoms: of `pays` unless said otherwise.

    required: the sum that the server asks for; locked: the coins that would be set aside for it, 0 if there are not
    enough; split_fee: the cost of the split transaction that would lock `split_locked` instead. refund: what is lost
    if every contract has to be taken back. missing: how much the wallet lacks.
    """

    market: str
    side: str
    quantity: int
    rate: int
    lots: int
    pays: str
    gets: str
    value: int
    required: int
    locked: int
    split_locked: int
    split_fee: int
    best: Case
    worst: Case
    refund: int
    missing: int


class MaxOrder(msgspec.Struct, frozen=True):
    """The largest order that is possible now; by_funds, by_tier: base atoms that each of them would allow."""

    market: str
    side: str
    rate: int
    quantity: int
    lots: int
    by_funds: int
    by_tier: int


async def estimate(desk: Desk, ask: LimitAsk) -> Estimate:
    """Of a limit order. Raises OrderError for one that could not be placed whatever the wallet holds."""
    draft = limit_draft(desk, ask)
    payer, receiver = desk.coin(draft.pays), desk.coin(draft.gets)
    most_paid, most_received = desk.asset(draft.pays).max_fee_rate, desk.asset(draft.gets).max_fee_rate
    now_paid = min(await payer.chain.fee_rate(), most_paid)
    now_received = min(await receiver.chain.fee_rate(), most_received)
    required, locked, missing = _funding(payer, draft, most_paid)
    inputs = _inputs(payer, draft, most_paid)
    family = payer.family
    worst_swaps = family.required_funds(0, draft.swaps, inputs, most_paid)
    return Estimate(
        market=ask.market,
        side=ask.side.name.lower(),
        quantity=ask.quantity,
        rate=ask.rate,
        lots=draft.lots,
        pays=payer.coin.symbol,
        gets=receiver.coin.symbol,
        value=draft.value,
        required=required,
        locked=locked,
        split_locked=family.required_funds(draft.value, draft.swaps, KEY_INPUT, most_paid),
        split_fee=(OVERHEAD + 2 * KEY_OUTPUT + inputs) * now_paid,
        best=_case(draft, 1, family.required_funds(0, 1, inputs, now_paid), receiver.family.redeem_size * now_received),
        worst=_case(draft, draft.swaps, worst_swaps, draft.swaps * receiver.family.redeem_size * most_received),
        refund=worst_swaps + draft.swaps * family.refund_size * most_paid,
        missing=missing,
    )


def largest(desk: Desk, orders: Orders, bonds: Bonds, ask: LimitAsk) -> MaxOrder:
    """The most that a limit order at this rate could have; `ask.quantity` does not matter. Raises OrderError."""
    lot = desk.market(ask.market).lot_size
    draft = limit_draft(desk, msgspec.structs.replace(ask, quantity=lot))
    by_tier = _parcel_room(desk, orders, bonds, draft) * lot
    low, high = 0, max(1, by_tier // lot)
    while low < high:
        middle = (low + high + 1) // 2
        if _affordable(desk, limit_draft(desk, msgspec.structs.replace(ask, quantity=middle * lot))):
            low = middle
        else:
            high = middle - 1
    by_funds = low * lot
    quantity = min(by_funds, by_tier)
    return MaxOrder(
        ask.market, ask.side.name.lower(), ask.rate, quantity, quantity // lot, by_funds=by_funds, by_tier=by_tier
    )


def _funding(payer: CoinSide, draft: Draft, fee_rate: int) -> tuple[int, int, int]:
    """(required, locked, missing)."""
    try:
        plan = payer.wallet.plan(draft.value, draft.swaps, fee_rate)
    except ShortFundsError as short:
        required = payer.family.required_funds(draft.value, draft.swaps, KEY_INPUT, fee_rate)
        return required, 0, max(0, int(short.numbers["need"]) - int(short.numbers["have"]))
    return plan.required, plan.total, 0


def _inputs(payer: CoinSide, draft: Draft, fee_rate: int) -> int:
    """Vbytes of the coins that would fund the order; of one, where there are not enough."""
    try:
        return KEY_INPUT * len(payer.wallet.plan(draft.value, draft.swaps, fee_rate).coins)
    except ShortFundsError:
        return KEY_INPUT


def _case(draft: Draft, swaps: int, swap_fees: int, redeem_fees: int) -> Case:
    received = draft.quantity if draft.side is Side.BUY else draft.quantity * draft.rate // RATE_FACTOR
    return Case(swaps, swap_fees, redeem_fees, draft.value + swap_fees, received - redeem_fees)


def _affordable(desk: Desk, draft: Draft) -> bool:
    try:
        desk.coin(draft.pays).wallet.plan(draft.value, draft.swaps, desk.asset(draft.pays).max_fee_rate)
    except ShortFundsError:
        return False
    return True


def _parcel_room(desk: Desk, orders: Orders, bonds: Bonds, draft: Draft) -> int:
    """Lots that the parcel limit leaves (protocol section 4.9), if all of it takes; 0 without a tier."""
    reputation = bonds.reputation
    if reputation is None or bonds.tier < 1:
        raise OrderError(
            f"there is no tier at {desk.host}",
            code="order.tier",
            numbers={"tier": bonds.tier},
            fix="post a bond, or wait until one is confirmed",
        )
    allowed = parcels.limit(bonds.tier, reputation.score)
    exposures = []
    for market in desk.require_config().markets:
        mine = [order for order in orders.active() if order.market == market.name and order.type == OrderType.LIMIT]
        maker = sum(order.quantity - order.filled for order in mine)
        exposures.append(parcels.Exposure(market.lot_size, market.parcel_size, maker=maker))
    left = allowed - parcels.used(exposures)
    return max(0, left * draft.offer.parcel_size // 2)
