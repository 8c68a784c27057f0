"""Trades as asked for, held against what the server offers before a coin is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from twinlock.client.desk import Desk
from twinlock.client.errors import OrderError
from twinlock.protocol.constants import CLOCK_TOLERANCE_MS
from twinlock.protocol.messages.config import Market
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import OrderType, Side, TimeInForce
from twinlock.protocol.rates import amount_text, base_to_quote, quote_to_base, rate_text

Written = Callable[[int], str]
"""Writes atoms, or a message-rate, as people do."""


class LimitAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A limit order to be placed. quantity: base atoms; rate: message-rate; tag: see `OrderRecord.tag`."""

    market: str
    side: Side
    quantity: int
    rate: int
    force: TimeInForce = TimeInForce.STANDING
    tag: str = ""
    options: OrderOptions = PLAIN


class Draft(NamedTuple):
    """A checked trade. value: atoms of the paid asset; lots: how many swaps it may take; tag: the caller's name."""

    offer: Market
    kind: OrderType
    side: Side
    quantity: int
    value: int
    lots: int
    rate: int = 0
    force: TimeInForce = TimeInForce.IMMEDIATE
    tag: str = ""
    options: OrderOptions = PLAIN

    @property
    def pays(self) -> int:
        """The asset given away."""
        return self.offer.base if self.side is Side.SELL else self.offer.quote

    @property
    def gets(self) -> int:
        """The asset received."""
        return self.offer.quote if self.side is Side.SELL else self.offer.base

    @property
    def swaps(self) -> int:
        """In how many swaps it may be settled at most."""
        return min(self.lots, self.options.max_matches or self.lots)


def limit_draft(desk: Desk, ask: LimitAsk) -> Draft:
    """Raises OrderError, with the numbers and the nearest that would do."""
    offer = check_market(desk, ask.market, ask.options)
    quantities, rates = _units(desk, offer)
    _check_multiple("quantity", ask.quantity, "lot_size", offer.lot_size, quantities)
    _check_multiple("rate", ask.rate, "rate_step", offer.rate_step, rates)
    value = ask.quantity if ask.side is Side.SELL else base_to_quote(ask.rate, ask.quantity)
    lots = ask.quantity // offer.lot_size
    return Draft(offer, OrderType.LIMIT, ask.side, ask.quantity, value, lots, ask.rate, ask.force, ask.tag, ask.options)


def market_draft(
    desk: Desk, market: str, side: Side, quantity: int, price: int, *, tag: str = "", options: OrderOptions = PLAIN
) -> Draft:
    """quantity: base atoms to sell, or quote atoms to spend; price: a message-rate, by which the lots of a buy are
    counted as the server does, 0 for none: then it counts as one lot. Raises OrderError.
    """
    offer = check_market(desk, market, options)
    if side is Side.SELL:
        _check_multiple("quantity", quantity, "lot_size", offer.lot_size, _units(desk, offer)[0])
    elif quantity <= 0:
        raise OrderError("there is nothing to spend", code="order.quantity", numbers={"quantity": quantity})
    base = quantity if side is Side.SELL else quote_to_base(price, quantity)
    lots = max(1, base // offer.lot_size)
    return Draft(offer, OrderType.MARKET, side, quantity, quantity, lots, tag=tag, options=options)


def check_market(desk: Desk, name: str, options: OrderOptions) -> Market:
    """The market, if orders with these options can be placed there now. Raises OrderError."""
    offer = desk.market(name)
    if not options.plain and not desk.require_config().order_options:
        raise OrderError(
            f"{desk.host} knows no post-only orders, expiry or caps on matches",
            code="order.options",
            fix="place the order without them",
        )
    if not may_run(offer, desk.clock.now_ms()):
        raise OrderError(
            f"market {name} is not running",
            code="order.market_closed",
            fault="server",
            numbers={"start_epoch": offer.status.start_epoch, "final_epoch": offer.status.final_epoch},
            fix="wait until the operator resumes it",
        )
    for asset_id in (offer.base, offer.quote):
        ours, theirs = desk.coin(asset_id).coin.asset_version, desk.asset(asset_id).version
        if ours != theirs:
            raise OrderError(
                f"{name}: asset versions are incompatible",
                code="order.asset_version",
                numbers={"ours": ours, "theirs": theirs},
                fix="update Twinlock" if theirs > ours else "ask the operator to update the server",
            )
    return offer


def may_run(offer: Market, now_ms: int) -> bool:
    """Whether the market may be running now.

    The server takes orders of clocks that are somewhat wrong, so ours may be. One that was never suspended has begun by
    the server's clock, whatever ours says of it: then the server is asked, and tells whose clock is wrong.
    """
    status = offer.status
    if status.start_epoch and not status.final_epoch:
        return True
    moments = (now_ms - CLOCK_TOLERANCE_MS, now_ms, now_ms + CLOCK_TOLERANCE_MS)
    return any(status.running(moment, offer.epoch_ms) for moment in moments)


def sums(drafts: Sequence[Draft]) -> dict[int, int]:
    """Atoms given away, by asset, fees aside."""
    found: dict[int, int] = {}
    for draft in drafts:
        found[draft.pays] = found.get(draft.pays, 0) + draft.value
    return found


def _units(desk: Desk, offer: Market) -> tuple[Written, Written]:
    """How people write quantities and rates of the market."""
    base, quote = desk.coin(offer.base).coin, desk.coin(offer.quote).coin
    factors = base.conversion_factor, quote.conversion_factor
    return (
        lambda atoms: f"{amount_text(atoms, factors[0])} {base.unit}",
        lambda rate: f"{rate_text(rate, *factors)} {quote.unit}/{base.unit}",
    )


def _check_multiple(what: str, value: int, unit_name: str, unit: int, written: Written) -> None:
    if value > 0 and value % unit == 0:
        return
    below = value - value % unit
    nearest = f"{written(below)} or {written(below + unit)}" if below > 0 else written(unit)
    raise OrderError(
        f"the {what} is not a multiple of the {unit_name.replace('_', ' ')}, {written(unit)}",
        code=f"order.{unit_name}",
        numbers={what: value, unit_name: unit},
        fix=f"use {nearest}",
    )
