"""What can be asked of a trader, beside its wallets: one function for each row of `table`."""

from __future__ import annotations

from twinlock.client import pins
from twinlock.client.control import requests, showing, views
from twinlock.client.control.operations import Ask, RequestError
from twinlock.client.drafts import LimitAsk
from twinlock.client.epochs import stored as stored_epochs
from twinlock.client.errors import ClientError, OrderError
from twinlock.client.estimate import Estimate, MaxOrder
from twinlock.client.explain import explain as explanation
from twinlock.client.proof import prove
from twinlock.client.store.base import Place
from twinlock.client.store.living import Look
from twinlock.client.store.records import EvidenceRecord, OrderRecord, SwapRecord
from twinlock.client.tower.courier import packet_of
from twinlock.errors import TwinlockError
from twinlock.protocol.messages.book import CandlesRequest
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.protocol.proof.document import write
from twinlock.protocol.routes import CANDLES

# Reading -----------------------------------------------------------------------------------------------------


async def status(ask: Ask) -> views.StatusView:
    return showing.status_view(ask.trader)


async def explain(ask: Ask) -> views.ExplanationView:
    return showing.explanation_view(await explanation(ask.trader.venue(ask.host).desk))


async def wallets(ask: Ask) -> list[views.WalletView]:
    return [showing.wallet_view(side) for side in ask.trader.coins.values()]


async def bonds(ask: Ask) -> list[views.BondView]:
    venues = ask.trader.venues.values()
    prepaid = [showing.prepaid_view(venue.desk.host, each) for venue in venues for each in venue.bonds.prepaid]
    return prepaid + [showing.bond_view(ask.trader, bond) for bond in ask.trader.bonds()]


async def markets(ask: Ask) -> list[views.MarketView]:
    return [market for venue in ask.trader.venues.values() for market in showing.market_views(venue)]


async def book(ask: Ask) -> views.BookView:
    return await showing.book_view(ask.trader.venue(ask.host), ask.path["market"])


async def orders(ask: Ask) -> list[views.OrderView]:
    return [showing.order_view(order) for order in ask.trader.orders(_look(ask), ask.host)]


async def conditions(ask: Ask) -> list[views.ConditionView]:
    return [showing.condition_view(record) for record in ask.trader.conditions(_look(ask), ask.host)]


async def swaps(ask: Ask) -> list[views.SwapView]:
    return [showing.swap_view(ask.trader, swap) for swap in ask.trader.swaps(_look(ask), ask.host)]


async def epochs(ask: Ask) -> list[views.EpochView]:
    host = ask.trader.venue(ask.host).desk.host
    found = stored_epochs(ask.trader.store, host, ask.path["market"])
    return [showing.epoch_view(record) for record in found[-ask.query["count"] :]]


async def candles(ask: Ask) -> list[views.CandleView]:
    desk, name = ask.trader.venue(ask.host).desk, ask.path["market"]
    market = desk.market(name)
    wanted = CandlesRequest(
        base=market.base,
        quote=market.quote,
        bin_size=ask.query["bin"],
        count=ask.query["count"],
    )
    return showing.candle_views(desk.host, name, await desk.session.request(CANDLES, wanted))


async def evidence(ask: Ask) -> list[views.EvidenceView]:
    return [showing.evidence_view(record, body=False) for record in ask.trader.store.all(EvidenceRecord)]


async def one_evidence(ask: Ask) -> views.EvidenceView:
    record = ask.trader.store.get(EvidenceRecord, ask.path["name"])
    if record is None:
        raise ClientError("there is no such evidence", code="evidence.unknown", fix="list the evidence")
    return showing.evidence_view(record, body=True)


async def packets(ask: Ask) -> list[views.PacketView]:
    made = [(swap, await packet_of(desk, swap)) for desk, swap in ask.trader.running()]
    return [
        views.PacketView(swap.match_id.hex(), swap.role, packet.revision, packet.delivered, packet.body.hex())
        for swap, packet in made
        if packet is not None
    ]


async def proof(ask: Ask) -> list[views.ProofView]:
    match_id = ask.path["match_id"]
    # A match has two sides at most, which may both be ours.
    found = ask.trader.store.all(SwapRecord, match_id, most=3)
    if len({swap.match_id for swap in found}) != 1:
        raise ClientError(f"no match, or several, begin with {match_id}", code="swap.unknown")
    proofs = []
    for swap in found:
        venue = ask.trader.venue(swap.host)
        made = await prove(venue.desk, venue.orders.by_key(swap.order_key), swap)
        proofs.append(views.ProofView(swap.match_id.hex(), swap.role, write(made).decode()))
    return proofs


async def estimate(ask: Ask) -> Estimate:
    return await ask.trader.venue(ask.body.host).estimate(_limit_ask(ask.body))


async def largest(ask: Ask) -> MaxOrder:
    side = Side[ask.query["side"].upper()]
    return ask.trader.venue(ask.host).largest(ask.path["market"], side, ask.query["rate"])


async def all_pins(ask: Ask) -> list[pins.Pin]:
    return pins.pins(ask.trader.store)


# Trading -----------------------------------------------------------------------------------------------------


async def post_bond(ask: Ask) -> views.BondView:
    wanted = ask.body
    return showing.bond_view(ask.trader, await ask.trader.register(wanted.asset, wanted.tier, wanted.host))


async def redeem_code(ask: Ask) -> views.TierView:
    held = ask.trader.venue(ask.body.host).bonds
    given = await held.redeem_code(bytes.fromhex(ask.body.code))
    return views.TierView(held.tier, given)


async def place_order(ask: Ask) -> views.OrderView:
    wanted: requests.PlaceOrder = ask.body
    venue = ask.trader.venue(wanted.host)
    if wanted.type == "market":
        side = Side[wanted.side.upper()]
        order = await venue.market(wanted.market, side, wanted.quantity, tag=wanted.tag, options=wanted.options)
    else:
        plain = _limit_ask(wanted)
        order = await venue.limit(
            plain.market,
            plain.side,
            plain.quantity,
            plain.rate,
            plain.force,
            tag=plain.tag,
            options=plain.options,
            split=wanted.split,
        )
    return showing.order_view(order)


async def place_orders(ask: Ask) -> list[views.Outcome]:
    rows: list[requests.PlaceOrder] = ask.body
    if any(row.type != "limit" for row in rows) or len({row.host for row in rows}) > 1:
        raise RequestError("several orders at once are limit orders at one server")
    results = await ask.trader.venue(rows[0].host if rows else "").limits([_limit_ask(row) for row in rows])
    return [_outcome(result) for result in results]


async def cancel_order(ask: Ask) -> views.OrderView:
    beginning = ask.path["order_id"].lower()
    found = [
        (venue, order)
        for venue in ask.trader.at(ask.host)
        for order in venue.orders.active()
        if order.order_id and order.order_id.hex().startswith(beginning)
    ]
    if len(found) != 1:
        raise OrderError(
            f"{len(found) or 'no'} active order{'s begin' if found else ' begins'} with {beginning}",
            code="order.unknown",
            numbers={"found": len(found)},
            fix="list the orders, and give more of the ID" if found else "only orders that are still active end",
        )
    ((venue, order),) = found
    return showing.order_view(await venue.orders.cancel(order.order_id))


async def place_condition(ask: Ask) -> views.ConditionView:
    wanted: requests.PlaceCondition = ask.body
    record = await ask.trader.venue(wanted.host).stop_limit(
        wanted.name,
        wanted.market,
        Side[wanted.side.upper()],
        wanted.quantity,
        wanted.stop,
        wanted.rate,
        rest_rate=wanted.rest_rate,
        options=wanted.options,
    )
    return showing.condition_view(record)


async def cancel_condition(ask: Ask) -> views.ConditionView:
    name = ask.path["name"]
    holders = (venue for venue in ask.trader.at(ask.host) if any(each.name == name for each in venue.conditions.open()))
    venue = next(holders, ask.trader.venue(ask.host))
    return showing.condition_view(await venue.conditions.cancel(name))


# What only the owner may -----------------------------------------------------------------------------------------


async def keys(ask: Ask) -> list[views.KeyView]:
    return [views.KeyView(key.name, list(key.scopes), key.made) for key in ask.trader.keyring.all()]


async def create_key(ask: Ask) -> views.KeyView:
    text = ask.trader.keyring.create(ask.body.name, ask.body.scopes)
    return views.KeyView(ask.body.name, ask.body.scopes, ask.trader.clock.now_ms(), text)


async def revoke_key(ask: Ask) -> views.Accepted:
    ask.trader.keyring.revoke(ask.path["name"])
    return views.Accepted()


async def forget_pin(ask: Ask) -> views.Accepted:
    pins.forget(ask.trader.store, ask.path["name"])
    return views.Accepted()


def _look(ask: Ask) -> Look:
    """Which part of a long list is asked for. Raises RequestError."""
    at, _, key = ask.query["before"].partition(".")
    if ask.query["before"] and not (at.isdecimal() and len(at) < 20 and key):
        raise RequestError(f"before={ask.query['before']} is no place in the list", fix="take the cursor of a row")
    before = Place(int(at), key) if key else None
    return Look(state=ask.query["state"], market=ask.query["market"], past=ask.query["count"], before=before)


def _limit_ask(wanted: requests.PlaceOrder) -> LimitAsk:
    return LimitAsk(
        market=wanted.market,
        side=Side[wanted.side.upper()],
        quantity=wanted.quantity,
        rate=wanted.rate,
        force=TimeInForce[wanted.force.upper()],
        tag=wanted.tag,
        options=wanted.options,
    )


def _outcome(result: OrderRecord | TwinlockError) -> views.Outcome:
    if isinstance(result, TwinlockError):
        return views.Outcome(code=result.code, message=str(result))
    return views.Outcome(showing.order_view(result))
