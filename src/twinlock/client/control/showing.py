"""From what the trader keeps to what the control interface shows of it."""

from __future__ import annotations

import msgspec

from twinlock.client.bonds import Prepaid
from twinlock.client.conditional import ConditionRecord
from twinlock.client.control import views
from twinlock.client.desk import CoinSide
from twinlock.client.epochs import EpochRecord
from twinlock.client.store.base import LIVE, Record
from twinlock.client.store.records import AccountRecord, BondRecord, EvidenceRecord, OrderRecord, SwapRecord
from twinlock.client.trader import Trader
from twinlock.client.venue import Venue
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.messages.book import Candles
from twinlock.protocol.messages.config import Market
from twinlock.protocol.messages.explain import Explanation
from twinlock.protocol.orders import OrderType, Side, TimeInForce
from twinlock.protocol.swap import act_by


def condition_view(record: ConditionRecord) -> views.ConditionView:
    return views.ConditionView(
        record.host,
        record.name,
        record.market,
        Side(record.side).name.lower(),
        record.quantity,
        record.stop,
        record.rate,
        record.rest_rate,
        record.options.post_only,
        record.options.expiry,
        record.options.max_matches,
        record.status,
        record.reason,
        record.made_ms,
        _cursor(record),
    )


def evidence_view(record: EvidenceRecord, *, body: bool) -> views.EvidenceView:
    shown = msgspec.json.decode(record.body) if body else None
    return views.EvidenceView(record.name, record.host, record.at, record.accusation, shown)


def epoch_view(record: EpochRecord) -> views.EpochView:
    return views.EpochView(**{name: getattr(record, name) for name in views.EpochView.__struct_fields__})


def candle_views(host: str, market: str, candles: Candles) -> list[views.CandleView]:
    columns = (
        candles.start_stamps,
        candles.end_stamps,
        candles.match_volumes,
        candles.quote_volumes,
        candles.high_rates,
        candles.low_rates,
        candles.start_rates,
        candles.end_rates,
    )
    return [views.CandleView(host, market, *row) for row in zip(*columns, strict=True)]


def status_view(trader: Trader) -> views.StatusView:
    running = sum(not swap.outcome for _, swap in trader.running())
    venues = [_venue_view(trader, venue) for venue in trader.venues.values()]
    return views.StatusView(str(trader.config.network), venues, running, trader.safe_until())


def _venue_view(trader: Trader, venue: Venue) -> views.VenueView:
    desk = venue.desk
    known = desk.account or trader.store.get(AccountRecord, desk.host)  # stored, where nobody has connected yet
    account = known.account_id.hex() if known and known.exists else ""
    return views.VenueView(desk.host, desk.session.ready.is_set(), account, venue.bonds.tier)


def wallet_view(side: CoinSide) -> views.WalletView:
    balance, reach = side.wallet.balance(), side.wallet.reach
    return views.WalletView(
        side.coin.symbol,
        side.coin.conversion_factor,
        balance.available,
        balance.locked,
        balance.in_swap,
        balance.bonded,
        balance.immature,
        balance.unconfirmed,
        balance.outside,
        balance.total,
        reach.birthday,
        reach.older,
        reach.first_block,
        side.wallet.scanned,
    )


def bond_view(trader: Trader, bond: BondRecord) -> views.BondView:
    side = trader.venue(bond.host).desk.coin(bond.asset_id)
    coin, asset = side.family.coin_id_text(bond.coin_id), side.coin.symbol
    return views.BondView(bond.host, asset, bond.asset_id, coin, bond.amount, bond.strength, bond.lock_time, bond.state)


def prepaid_view(host: str, prepaid: Prepaid) -> views.BondView:
    return views.BondView(host, "", PREPAID_ASSET_ID, "", 0, prepaid.strength, prepaid.expiry, "prepaid")


def market_views(venue: Venue) -> list[views.MarketView]:
    return [_market_view(venue, market) for market in venue.desk.config.markets] if venue.desk.config else []


def _market_view(venue: Venue, market: Market) -> views.MarketView:
    base, quote = venue.desk.asset(market.base), venue.desk.asset(market.quote)
    spot = venue.spots.get((market.base, market.quote))
    return views.MarketView(
        host=venue.desk.host,
        name=market.name,
        base=base.symbol,
        quote=quote.symbol,
        lot_size=market.lot_size,
        rate_step=market.rate_step,
        epoch_ms=market.epoch_ms,
        last_rate=spot.rate if spot else 0,
        base_factor=base.unit_info.conventional.conversion_factor,
        quote_factor=quote.unit_info.conventional.conversion_factor,
    )


async def book_view(venue: Venue, market: str) -> views.BookView:
    mirror = await venue.follow(market)
    own = {order.order_id for order in venue.orders.active()}
    buys, sells = (
        [views.BookRow(order.id.hex(), order.remaining, order.rate, order.id in own) for order in side]
        for side in (mirror.book.buys, mirror.book.sells)
    )
    return views.BookView(market, buys, sells)


def order_view(order: OrderRecord) -> views.OrderView:
    return views.OrderView(
        host=order.host,
        id=order.order_id.hex(),
        tag=order.tag,
        market=order.market,
        type=OrderType(order.type).name.lower(),
        side=Side(order.side).name.lower() if order.side else "",
        quantity=order.quantity,
        rate=order.rate,
        force=TimeInForce(order.force).name.lower() if order.force else "",
        post_only=order.options.post_only,
        expiry=order.options.expiry,
        max_matches=order.options.max_matches,
        filled=order.filled,
        status=order.status,
        time=order.tserver or order.tclient,
        cursor=_cursor(order),
    )


def swap_view(trader: Trader, record: SwapRecord) -> views.SwapView:
    desk, swap = trader.venue(record.host).desk, record.swap
    own, other = swap.legs[record.party].coin_id, swap.legs[record.party.other].coin_id
    return views.SwapView(
        host=record.host,
        match_id=record.match_id.hex(),
        order_id=record.order_id.hex(),
        market=record.market,
        role=record.role,
        quantity=record.quantity,
        rate=record.rate,
        status=swap.status.name.lower(),
        own_coin=desk.coin(record.own_asset).family.coin_id_text(own) if own else "",
        other_coin=desk.coin(record.other_asset).family.coin_id_text(other) if other else "",
        outcome=record.outcome,
        time=swap.terms.made_ms,
        safe_until=None if record.outcome else act_by(swap, record.party),
        cursor=_cursor(record),
    )


def _cursor(record: Record) -> str:
    return "" if LIVE in record.marks else "{}.{}".format(*record.place)


def explanation_view(told: Explanation) -> views.ExplanationView:
    """A checked explanation."""
    outcomes = [
        views.OutcomeView(
            name=record.name,
            score=record.score,
            counts=record.counts,
            kind=record.kind,
            link=record.link.hex(),
            market=record.market,
            epoch=record.epoch,
            orders=[order.hex() for order in record.orders],
            stamp=record.stamp,
            signature=record.sig.hex(),
        )
        for record in told.outcomes
    ]
    standing = told.reputation
    return views.ExplanationView(
        score=standing.score,
        penalties=standing.penalties,
        bonded_tier=standing.bonded_tier,
        penalty_threshold=told.penalty_threshold,
        cancel_score=told.cancel_score,
        outcomes=outcomes,
    )
