"""What can be asked of a trader: one function for each row of `OPERATIONS`, which is also what OpenAPI is made from."""

from __future__ import annotations

from typing import Any, get_type_hints

from twinlock.client.control import views
from twinlock.client.control.operations import HOST, Ask, ForbiddenError, Method, Operation
from twinlock.client.control.wallets import ROUTES as WALLET_ROUTES
from twinlock.client.control.wallets import Asked, OwnerRoute
from twinlock.client.drafts import LimitAsk
from twinlock.client.errors import ClientError
from twinlock.client.estimate import Estimate, MaxOrder
from twinlock.client.explain import explain as explanation
from twinlock.client.keyring import Scope
from twinlock.client.proof import prove
from twinlock.client.store.records import EvidenceRecord, OrderRecord
from twinlock.client.tower.courier import packet_of
from twinlock.errors import TwinlockError
from twinlock.protocol.messages.book import CandlesRequest
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.protocol.proof.document import write
from twinlock.protocol.routes import CANDLES

# Reading -----------------------------------------------------------------------------------------------------


async def status(ask: Ask) -> views.StatusView:
    return views.status_view(ask.trader)


async def explain(ask: Ask) -> views.ExplanationView:
    return views.explanation_view(await explanation(ask.trader.venue(ask.host).desk))


async def wallets(ask: Ask) -> list[views.WalletView]:
    return [views.wallet_view(side) for side in ask.trader.coins.values()]


async def bonds(ask: Ask) -> list[views.BondView]:
    return [views.bond_view(ask.trader, bond) for bond in ask.trader.bonds()]


async def markets(ask: Ask) -> list[views.MarketView]:
    return [market for venue in ask.trader.venues.values() for market in views.market_views(venue)]


async def book(ask: Ask) -> views.BookView:
    return await views.book_view(ask.trader.venue(ask.host), ask.path["market"])


async def orders(ask: Ask) -> list[views.OrderView]:
    return [views.order_view(order) for order in ask.trader.orders()]


async def conditions(ask: Ask) -> list[views.ConditionView]:
    found = (record for venue in ask.trader.venues.values() for record in venue.conditions.all())
    return [views.condition_view(record) for record in found]


async def swaps(ask: Ask) -> list[views.SwapView]:
    return [views.swap_view(ask.trader, swap) for swap in ask.trader.swaps()]


async def epochs(ask: Ask) -> list[views.EpochView]:
    return views.epoch_views(ask.trader.venue(ask.host), ask.path["market"])


async def candles(ask: Ask) -> list[views.CandleView]:
    desk, name = ask.trader.venue(ask.host).desk, ask.path["market"]
    market = desk.market(name)
    wanted = CandlesRequest(
        base=market.base,
        quote=market.quote,
        bin_size=ask.query.get("bin", "1h"),
        count=int(ask.query.get("count", "1000")),
    )
    return views.candle_views(desk.host, name, await desk.session.request(CANDLES, wanted))


async def evidence(ask: Ask) -> list[views.EvidenceView]:
    return [views.evidence_view(record, body=False) for record in ask.trader.store.all(EvidenceRecord)]


async def one_evidence(ask: Ask) -> views.EvidenceView:
    record = ask.trader.store.get(EvidenceRecord, ask.path["name"])
    if record is None:
        raise ClientError("there is no such evidence", code="evidence.unknown", fix="list the evidence")
    return views.evidence_view(record, body=True)


async def packets(ask: Ask) -> list[views.PacketView]:
    made = [(swap, await packet_of(desk, swap)) for desk, swap in ask.trader.running()]
    return [
        views.PacketView(swap.match_id.hex(), swap.role, packet.revision, packet.delivered, packet.body.hex())
        for swap, packet in made
        if packet is not None
    ]


async def proof(ask: Ask) -> list[views.ProofView]:
    match_id = ask.path["match_id"]
    found = [swap for swap in ask.trader.swaps() if swap.match_id.hex().startswith(match_id)]
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
    side, rate = Side[ask.query.get("side", "buy").upper()], int(ask.query.get("rate", "0"))
    return ask.trader.venue(ask.host).largest(ask.path["market"], side, rate)


# Trading -----------------------------------------------------------------------------------------------------


async def post_bond(ask: Ask) -> views.BondView:
    wanted = ask.body
    return views.bond_view(ask.trader, await ask.trader.register(wanted.asset, wanted.tier, wanted.host))


async def redeem_code(ask: Ask) -> views.TierView:
    held = ask.trader.venue(ask.body.host).bonds
    given = await held.redeem_code(bytes.fromhex(ask.body.code))
    return views.TierView(held.tier, given)


async def place_order(ask: Ask) -> views.OrderView:
    wanted: views.PlaceOrder = ask.body
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
    return views.order_view(order)


async def place_orders(ask: Ask) -> list[views.Outcome]:
    rows: list[views.PlaceOrder] = ask.body
    if any(row.type != "limit" for row in rows) or len({row.host for row in rows}) > 1:
        raise ClientError("several orders at once are limit orders at one server", code="control.request")
    results = await ask.trader.venue(rows[0].host if rows else "").limits([_limit_ask(row) for row in rows])
    return [_outcome(result) for result in results]


async def cancel_order(ask: Ask) -> views.OrderView:
    venue = ask.trader.venue(ask.host)
    return views.order_view(await venue.orders.cancel(bytes.fromhex(ask.path["order_id"])))


async def place_condition(ask: Ask) -> views.ConditionView:
    wanted: views.PlaceCondition = ask.body
    record = await ask.trader.venue(wanted.host).stop_limit(
        wanted.name,
        wanted.market,
        Side[wanted.side.upper()],
        wanted.quantity,
        wanted.stop,
        wanted.rate,
        rest_rate=wanted.rest_rate,
    )
    return views.condition_view(record)


async def cancel_condition(ask: Ask) -> views.ConditionView:
    return views.condition_view(await ask.trader.venue(ask.host).conditions.cancel(ask.path["name"]))


# What only the owner may -----------------------------------------------------------------------------------------


async def keys(ask: Ask) -> list[views.KeyView]:
    return [views.KeyView(key.name, list(key.scopes), key.made) for key in ask.trader.keyring.all()]


async def create_key(ask: Ask) -> views.KeyView:
    text = ask.trader.keyring.create(ask.body.name, ask.body.scopes)
    return views.KeyView(ask.body.name, ask.body.scopes, ask.trader.clock.now_ms(), text)


async def revoke_key(ask: Ask) -> views.Accepted:
    ask.trader.keyring.revoke(ask.path["name"])
    return views.Accepted()


def _limit_ask(wanted: views.PlaceOrder) -> LimitAsk:
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
    return views.Outcome(views.order_view(result))


def _of_wallet(route: OwnerRoute) -> Operation:
    """What the owner of a wallet does; what pays out needs the scope for it, what changes something that of trading."""

    async def endpoint(ask: Ask) -> Any:
        if route.withdraws and not ask.trader.config.control.allow_withdraw:
            raise ForbiddenError("withdrawing is off", fix="set allow_withdraw = true under [control]")
        return await route.answer(Asked(ask.trader, ask.path["symbol"], ask.raw))

    name = route.answer.__name__
    endpoint.__name__ = f"wallet_{name}"
    scope: Scope = "withdraw" if route.withdraws else "read" if route.method == "GET" else "trade"
    answer = get_type_hints(route.answer)["return"]
    method: Method = "GET" if route.method == "GET" else "POST"
    return Operation(method, route.path, scope, endpoint, answer, f"The wallet: {name.replace('_', ' ')}")


_BIN, _COUNT = ("bin", "Such as 5m, 1h or 24h."), ("count", "How many at most.")
_SIDE, _RATE = ("side", "buy or sell"), ("rate", "The message-rate.")

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/status", "read", status, views.StatusView, "Servers, accounts, until when it is safe to close"),
    Operation(
        "GET", "/account/explain", "read", explain, views.ExplanationView, "Every point of our score", query=(HOST,)
    ),
    Operation("GET", "/wallets", "read", wallets, list[views.WalletView], "Every atom, by what it is good for"),
    Operation("GET", "/bonds", "read", bonds, list[views.BondView], "Every bond"),
    Operation(
        "POST", "/bonds", "trade", post_bond, views.BondView, "Post a bond, keep its tier", views.PostBondRequest
    ),
    Operation("POST", "/bonds/code", "trade", redeem_code, views.TierView, "Use a prepaid code", views.RedeemCode),
    Operation("GET", "/markets", "read", markets, list[views.MarketView], "Every market of every server"),
    Operation("GET", "/markets/{market}/book", "read", book, views.BookView, "A book", query=(HOST,)),
    Operation("GET", "/markets/{market}/epochs", "read", epochs, list[views.EpochView], "Epochs seen", query=(HOST,)),
    Operation(
        "GET",
        "/markets/{market}/candles",
        "read",
        candles,
        list[views.CandleView],
        "Candles, oldest first",
        query=(HOST, _BIN, _COUNT),
    ),
    Operation(
        "GET",
        "/markets/{market}/largest",
        "read",
        largest,
        MaxOrder,
        "The largest limit order possible now",
        query=(HOST, _SIDE, _RATE),
    ),
    Operation("GET", "/orders", "read", orders, list[views.OrderView], "Every order, oldest first"),
    Operation("POST", "/orders", "trade", place_order, views.OrderView, "Place an order", views.PlaceOrder),
    Operation(
        "POST", "/orders/several", "trade", place_orders, list[views.Outcome], "Place orders", list[views.PlaceOrder]
    ),
    Operation("POST", "/orders/estimate", "read", estimate, Estimate, "What an order may cost", views.PlaceOrder),
    Operation("DELETE", "/orders/{order_id}", "trade", cancel_order, views.OrderView, "Cancel", query=(HOST,)),
    Operation("GET", "/conditions", "read", conditions, list[views.ConditionView], "Orders that wait for a price"),
    Operation("POST", "/conditions", "trade", place_condition, views.ConditionView, "Stop-limit", views.PlaceCondition),
    Operation(
        "DELETE", "/conditions/{name}", "trade", cancel_condition, views.ConditionView, "Give it up", query=(HOST,)
    ),
    Operation("GET", "/swaps", "read", swaps, list[views.SwapView], "Every match and how far it is"),
    Operation("GET", "/evidence", "read", evidence, list[views.EvidenceView], "Servers that broke the rules"),
    Operation("GET", "/evidence/{name:path}", "read", one_evidence, views.EvidenceView, "What proves it"),
    Operation("GET", "/packets", "owner", packets, list[views.PacketView], "What a watchtower is to hold"),
    Operation("GET", "/keys", "owner", keys, list[views.KeyView], "Keys of this interface"),
    Operation("POST", "/keys", "owner", create_key, views.KeyView, "Make a key", views.NewKey),
    Operation("DELETE", "/keys/{name}", "owner", revoke_key, views.Accepted, "Revoke a key"),
    Operation(
        "GET", "/swaps/{match_id}/proof", "read", proof, list[views.ProofView], "Proofs that stand without a server"
    ),
    *(_of_wallet(route) for route in WALLET_ROUTES),
)
