"""What anybody may ask, logged in or not, over WebSocket or HTTP: configuration, prices, candles, books."""

from __future__ import annotations

from collections.abc import Mapping

from twinlock.chain.coins import Coin
from twinlock.chain.keys import PrivateKey
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import API_VERSION, BOND_VERSION, CANDLE_BINS, MAX_SCORE
from twinlock.protocol.ledger import Entry
from twinlock.protocol.messages import config as wire
from twinlock.protocol.messages.book import (
    BookSubscription,
    BookUnsubscription,
    Candles,
    CandlesRequest,
    SnapshotSubscription,
    Spot,
)
from twinlock.protocol.messages.orders import OPTION_NAMES
from twinlock.protocol.wire import Hex
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.comms.outgoing import Spliced
from twinlock.server.config import ServerSection
from twinlock.server.historian import Historian
from twinlock.server.market.manager import MarketManager
from twinlock.server.market.snapshots import Snapshots


class DataDesk:
    """Answers the public routes.

    markets: by (base, quote). assets: by asset ID, in the operator's order.
    """

    def __init__(
        self,
        hub: Hub,
        markets: Mapping[tuple[int, int], MarketManager],
        assets: Mapping[int, AssetBackend],
        historian: Historian,
        snapshots: Snapshots,
        settings: ServerSection,
        expiry_s: int,
        key: PrivateKey,
    ) -> None:
        self._markets = markets
        self._by_name = {market.terms.name: market for market in markets.values()}
        self._assets = assets
        self._historian = historian
        self._snapshots = snapshots
        self._settings = settings
        self._expiry_s = expiry_s
        self._key = key
        hub.serve(routes.CONFIG, self._config)
        hub.serve(routes.HEALTHY, self._healthy)
        hub.serve(routes.SPOTS, self._spots)
        hub.serve(routes.CANDLES, self._candles)
        hub.serve(routes.FEE_RATE, self._fee_rate)
        hub.serve(routes.PRICE_FEED, self._price_feed)
        hub.serve(routes.ORDERBOOK, self._orderbook)
        hub.serve(routes.UNSUB_ORDERBOOK, self._unsubscribe)
        hub.serve(routes.SUBSCRIBE_MM_SNAPSHOTS, self._mm_snapshots)

    def config(self) -> wire.Config:
        """The offer of this exchange (section 3.2)."""
        settings = self._settings
        return wire.Config(
            api_version=API_VERSION,
            public_key=Hex(self._key.public),
            cancel_max=settings.cancel_threshold,
            broadcast_timeout_ms=settings.broadcast_timeout_ms,
            assets=[_asset(asset) for asset in self._assets.values()],
            markets=[_market(market) for market in self._markets.values()],
            bin_sizes=list(CANDLE_BINS),
            bond_assets={
                asset.coin.symbol: wire.BondAsset(
                    version=BOND_VERSION,
                    id=number,
                    confs=asset.terms.bond_confs,
                    amount=asset.terms.bond_amount,
                )
                for number, asset in self._assets.items()
                if asset.terms.bond_amount
            },
            bond_expiry_s=self._expiry_s,
            penalty_threshold=settings.penalty_threshold,
            max_score=MAX_SCORE,
            order_options=list(OPTION_NAMES),
        )

    def healthy(self) -> bool:
        """All chains are in view."""
        return all(asset.synced for asset in self._assets.values())

    def markets(self) -> list[MarketManager]:
        """All markets, in the operator's order."""
        return list(self._markets.values())

    def coin(self, asset_id: int) -> Coin:
        """The coin of an asset of this exchange."""
        return self._assets[asset_id].coin

    def spots(self) -> list[Spot]:
        """The last price of every market."""
        return [self._historian.spot(market.terms) for market in self._markets.values()]

    def candles(self, base: int, quote: int, bin_size: str, count: int) -> Candles:
        """Raises RpcError 38 or 54."""
        return self._historian.candles(self.market(base, quote).terms, bin_size, count)

    async def book(self, base: int, quote: int) -> Spliced:
        """A snapshot without a subscription, encoded. Raises RpcError 38."""
        return await self.market(base, quote).spliced()

    async def ledger(self, base: int, quote: int, first: int, count: int) -> list[Entry]:
        """Entries of a market's epoch ledger from a number on. Raises RpcError 38."""
        return await self._historian.ledger(self.market(base, quote).terms.name, first, count)

    def market(self, base: int, quote: int) -> MarketManager:
        """Raises RpcError 38."""
        market = self._markets.get((base, quote))
        if market is None:
            raise RpcError(ErrorCode.UNKNOWN_MARKET, f"no market of {base} and {quote}", fix="ask for config")
        return market

    def asset_id(self, symbol: str) -> int:
        """The ID of the asset with that symbol. Raises RpcError 38."""
        return self.asset(symbol).coin.asset_id

    def asset(self, symbol: str) -> AssetBackend:
        """The asset with that symbol. Raises RpcError 38."""
        for asset in self._assets.values():
            if asset.coin.symbol == symbol.lower():
                return asset
        raise RpcError(ErrorCode.UNKNOWN_MARKET, f"no asset {symbol[:16]!r}", fix="ask for config")

    async def _config(self, _: Call[None]) -> wire.Config:
        return self.config()

    async def _healthy(self, _: Call[None]) -> bool:
        return self.healthy()

    async def _spots(self, _: Call[None]) -> list[Spot]:
        return self.spots()

    async def _candles(self, call: Call[CandlesRequest]) -> Candles:
        request = call.payload
        return self.candles(request.base, request.quote, request.bin_size, request.count)

    async def _fee_rate(self, call: Call[int]) -> int:
        asset = self._assets.get(call.payload)
        if asset is None:
            raise RpcError(ErrorCode.INVALID_REQUEST, f"no asset {call.payload}", fix="ask for config")
        return asset.fee_rate

    async def _price_feed(self, call: Call[None]) -> dict[str, Spot]:
        self._historian.price_feed.add(call.link)
        # Clients read the object's members by name; the reference answers none, ours are the last prices.
        return {market.terms.name: self._historian.spot(market.terms) for market in self._markets.values()}

    async def _orderbook(self, call: Call[BookSubscription]) -> Spliced:
        return await self.market(call.payload.base, call.payload.quote).subscribe(call.link, ledger=call.payload.ledger)

    async def _unsubscribe(self, call: Call[BookUnsubscription]) -> bool:
        market = self._named(call.payload.market)
        if call.link not in market.public.subscribers:
            raise RpcError(ErrorCode.NOT_SUBSCRIBED, f"not subscribed to {market.terms.name}")
        market.public.subscribers.discard(call.link)
        market.public.ledger_subscribers.discard(call.link)
        return True

    async def _mm_snapshots(self, call: Call[SnapshotSubscription]) -> bool:
        channel = self._snapshots.subscribers[self._named(call.payload.market).terms.name]
        if call.payload.unsubscribe:
            channel.discard(call.link)
        else:
            channel.add(call.link)
        return True

    def _named(self, name: str) -> MarketManager:
        market = self._by_name.get(name)
        if market is None:
            raise RpcError(ErrorCode.UNKNOWN_MARKET, f"no market {name[:32]!r}", fix="ask for config")
        return market


def _asset(asset: AssetBackend) -> wire.Asset:
    coin = asset.coin
    return wire.Asset(
        symbol=coin.symbol,
        id=coin.asset_id,
        version=coin.asset_version,
        max_fee_rate=asset.terms.max_fee_rate,
        swap_conf=asset.terms.swap_conf,
        unit_info=wire.UnitInfo(
            atomic_unit=coin.atomic_unit,
            conventional=wire.Denomination(unit=coin.unit, conversion_factor=coin.conversion_factor),
            denominations=[wire.Denomination(unit=unit, conversion_factor=atoms) for unit, atoms in coin.denominations],
            fee_rate_denom=coin.fee_rate_denom,
        ),
    )


def _market(market: MarketManager) -> wire.Market:
    terms = market.terms
    return wire.Market(
        name=terms.name,
        base=terms.base,
        quote=terms.quote,
        epoch_ms=terms.epoch_ms,
        lot_size=terms.lot_size,
        rate_step=terms.rate_step,
        buy_buffer=terms.buy_buffer,
        parcel_size=terms.parcel_size,
        status=market.schedule.status(),
    )
